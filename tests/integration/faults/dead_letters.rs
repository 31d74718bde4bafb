//! Somebody keeps the dead letters locked that messages have already: others go on without them.

use macro_rules_attribute::apply;
use sqlx::{Postgres, Transaction};

use super::not_ready;
use crate::support::{app::TestApp, event::Event, eventually, process::Process, test};

/// The rules of its trigger refuse it.
fn refused(id: &str) -> Event {
    Event::lead("Ada").id(id).argument("interest", 7)
}

async fn lock(app: &TestApp) -> Transaction<'static, Postgres> {
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM dead_letters FOR UPDATE").execute(&mut *lock).await.unwrap();
    lock
}

/// Publishes these events, one transaction for each, and then one that is applied. Waits until it is, and so many messages
/// are left to their dead letters as these are.
async fn others_go_on(app: &TestApp, process: &Process, events: &[Event], count: u32) {
    for event in events {
        app.broker.publish(event).await;
        app.queues_are_empty().await;
    }
    app.broker.publish(&Event::lead("Grace").email("grace@navy.example")).await;
    app.wait_for_rows("contacts", 1).await;
    let left_out = async || {
        let log = process.log();
        let counts = log
            .split("did not count ")
            .skip(1)
            .filter_map(|text| text.split(' ').next()?.parse::<u32>().ok());
        (counts.sum::<u32>() == count).then_some(())
    };
    eventually("they are acknowledged", left_out).await;
}

#[apply(test)]
async fn locked_dead_letters_of_messages_that_come_again_stop_nobody(app: &TestApp) {
    let process = app.run(&[]).await;
    let events = ["1", "2", "3"].map(refused);
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 3).await;
    let lock = lock(app).await;
    others_go_on(app, &process, &events, 3).await;
    lock.rollback().await.unwrap();
    app.assert_settled().await;
    assert_eq!(app.rows("dead_letters WHERE state = 'open' AND attempts = 1").await, 3);
}

#[apply(test)]
async fn locked_dead_letters_of_replays_stop_nobody(app: &TestApp) {
    let process = app.run(&[]).await;
    app.broker.publish_all(&["1", "2", "3"].map(refused)).await;
    app.wait_for_rows("dead_letters", 3).await;
    process.sigterm();
    process.ended().await;
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    let lock = lock(app).await;
    let process = app.run(&[]).await;
    others_go_on(app, &process, &[], 3).await;
    lock.rollback().await.unwrap();
    assert_eq!(app.rows("dead_letters WHERE state = 'replaying'").await, 3);
    // They can be replayed again.
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    app.wait_for_rows("dead_letters WHERE state = 'open'", 3).await;
}

/// The transaction that applies the event would resolve it.
#[apply(test)]
async fn locked_dead_letter_of_an_event_that_can_be_applied_now_stops_nobody(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    let event = Event::lead("Ada");
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.stop().await;
    app.set("contacts.on_unidentified", "create");
    let lock = lock(app).await;
    let process = app.run(&[]).await;
    others_go_on(app, &process, &[event], 1).await;
    lock.rollback().await.unwrap();
    assert_eq!((app.rows("contacts").await, app.rows("dead_letters WHERE state = 'open'").await), (1, 1));
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 1).await;
    assert_eq!(app.rows("contacts").await, 2);
}

#[apply(test)]
async fn locked_dead_letter_does_not_stop_the_collector(app: &TestApp) {
    app.run(&[]).await;
    let again = refused("1").bytes();
    app.broker.publish_dead_letter(&again).await;
    app.wait_for_rows("dead_letters", 1).await;
    let lock = lock(app).await;
    for body in [again, refused("2").bytes()] {
        app.broker.publish_dead_letter(&body).await;
    }
    app.wait_for_rows("dead_letters", 2).await;
    lock.rollback().await.unwrap();
    app.assert_settled().await;
}

#[apply(test)]
async fn locked_dead_letter_of_the_webhook_queue_does_not_stop_the_collector(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_dead_webhook(b"1").await;
    app.wait_for_rows("dead_letters WHERE stage = 'webhook'", 1).await;
    let lock = lock(app).await;
    for body in [b"1", b"2"] {
        app.broker.publish_dead_webhook(body).await;
    }
    app.wait_for_rows("dead_letters WHERE stage = 'webhook'", 2).await;
    lock.rollback().await.unwrap();
    app.assert_settled().await;
}

/// One takes too long to store, and so does each batch with it.
#[apply(test)]
async fn dead_letter_that_is_slow_to_store_delays_no_other(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    app.broker.declare().await;
    for body in ["1", "2", "slow", "3", "4"] {
        app.broker.publish_dead_letter(body.as_bytes()).await;
    }
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(10); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON dead_letters FOR EACH ROW WHEN (NEW.body = 'slow') EXECUTE FUNCTION slow()";
    app.cli(&["migrate"]).await;
    sqlx::raw_sql(slow).execute(&app.pool).await.unwrap();
    let process = app.spawn(&["run", "--role", "dead-letter", "--role", "console"]);
    app.wait_for_rows("dead_letters", 4).await;
    not_ready(&process, "longer than postgres.statement_timeout").await;
    sqlx::query("DROP TRIGGER slow ON dead_letters").execute(&app.pool).await.unwrap();
    app.wait_for_rows("dead_letters", 5).await;
    process.ready().await;
    app.run(&["upsert", "webhook"]).await;
}
