//! Somebody keeps rows locked for as long as it takes: only the messages that need them wait, in order, and nothing is lost.

use macro_rules_attribute::apply;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use super::not_ready;
use crate::support::{app::TestApp, event::Event, eventually, test};

/// Without the events that were refused.
const APPLIED: &str = "applied_events WHERE meaning IS NOT NULL";

/// Messages about other people, half of them of another company.
fn neighbors(count: usize) -> Vec<Event> {
    let event = |number: usize| {
        let company = if number.is_multiple_of(2) { "acme" } else { "globex" };
        Event::lead("Grace").company(company).email(&format!("grace-{number}@x.example"))
    };
    (0..count).map(event).collect()
}

fn ada(number: usize, city: &str, day: usize) -> Event {
    let event = Event::lead("Ada").id(&format!("{city}-{number}")).email(&format!("ada-{number}@x.example"));
    event.argument("city", city).time(&format!("2026-01-0{day}T00:00:00Z"))
}

async fn lock(app: &TestApp, rows: &str) -> Transaction<'static, Postgres> {
    let mut lock = app.pool.begin().await.unwrap();
    let statement = format!("SELECT FROM {rows} FOR UPDATE");
    let locked = sqlx::query(AssertSqlSafe(statement)).execute(&mut *lock).await.unwrap();
    assert!(locked.rows_affected() > 0, "{rows}");
    lock
}

/// Waits until these many neighbors are applied, while the test keeps what it has locked. Without parking, they wait until
/// the first message that needs it is given up, which takes half a minute.
async fn neighbors_go_on(app: &TestApp, neighbors: i64) {
    let neighbors_done = "contacts WHERE name = 'Grace'";
    eventually("neighbors are applied", async || {
        let (dead, done) =
            (app.rows("dead_letters WHERE reason = 'crash_loop'").await, app.rows(neighbors_done).await);
        assert!(dead == 0 || done > 100, "{done} neighbors were applied before a message was given up");
        (done == neighbors).then_some(())
    })
    .await;
}

/// Replays what a slow machine has given up meanwhile.
async fn everything_is_applied(app: &TestApp, events: i64) {
    eventually("everything is applied", async || {
        let open = app.rows("dead_letters WHERE state = 'open'").await;
        if open > 0 {
            let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
            assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        }
        (app.rows(APPLIED).await == events).then_some(())
    })
    .await;
}

/// Each person has two more events while their rows are locked.
async fn locked_people_wait(app: &TestApp, count: usize, others: usize) -> Transaction<'static, Postgres> {
    let people = i64::try_from(count).unwrap();
    app.broker.publish_all(&(0..count).map(|number| ada(number, "first", 1)).collect::<Vec<_>>()).await;
    app.wait_for_rows("contacts", people).await;
    let lock = lock(app, "contacts WHERE name = 'Ada'").await;
    let (mut events, mut others) = (Vec::new(), neighbors(others));
    // Apart from each other, so that they are in different batches.
    for number in 0..count {
        events.extend([ada(number, "second", 2), ada(number, "third", 3)]);
        events.extend(others.drain(..others.len().min(30)));
    }
    events.extend(others);
    app.broker.publish_all(&events).await;
    lock
}

/// Their two events were applied once, and in order.
async fn people_are_right(app: &TestApp, count: usize) {
    let people = i64::try_from(count).unwrap();
    assert_eq!(app.rows("contacts WHERE name = 'Ada' AND version = 3 AND city = 'third'").await, people);
    if app.rows("dead_letters").await == 0 {
        assert_eq!(app.rows("trigger_events WHERE event_id LIKE 'second-%' AND version = 2").await, people);
        assert_eq!(app.rows("trigger_events WHERE event_id LIKE 'third-%' AND version = 3").await, people);
    }
}

#[apply(test)]
async fn two_locked_people_stop_nobody(app: &TestApp) {
    app.set("upsert.batch_size", "20");
    let process = app.run(&[]).await;
    let lock = locked_people_wait(app, 2, 2000).await;
    neighbors_go_on(app, 2000).await;
    lock.rollback().await.unwrap();
    // In batches with what has waited.
    app.broker.publish_all(&neighbors(2200).split_off(2000)).await;
    everything_is_applied(app, 2206).await;
    people_are_right(app, 2).await;
    assert!(!process.log().contains("upsert-1 lost the broker"), "a message was acknowledged twice");
}

/// What waits for the locks returns to the queue when the process stops, and nothing else does: all others were acknowledged.
#[apply(test)]
async fn neighbors_of_five_locked_people_are_acknowledged(app: &TestApp) {
    app.set("upsert.batch_size", "20");
    let process = app.run(&[]).await;
    let lock = locked_people_wait(app, 5, 2000).await;
    neighbors_go_on(app, 2000).await;
    process.sigterm();
    assert!(process.ended().await.success());
    let given_up = app.rows("dead_letters").await;
    let waiting = i64::from(app.broker.depth("trigger-fired").await);
    assert_eq!(waiting + given_up, 10);
    lock.rollback().await.unwrap();
    app.run(&[]).await;
    everything_is_applied(app, 2015).await;
    people_are_right(app, 5).await;
}

#[apply(test)]
async fn kill_while_messages_are_parked_loses_nothing(app: &TestApp) {
    app.set("upsert.batch_size", "4");
    let process = app.run(&[]).await;
    let lock = locked_people_wait(app, 3, 200).await;
    neighbors_go_on(app, 200).await;
    process.kill9().await;
    lock.rollback().await.unwrap();
    app.run(&[]).await;
    everything_is_applied(app, 209).await;
    people_are_right(app, 3).await;
}

/// As by a long transaction that changes all people of a company: no batch is halved for each of them.
#[apply(test)]
async fn locked_people_of_a_company_are_found_at_once(app: &TestApp) {
    app.set("upsert.batch_size", "20");
    app.set("log.filter", "info,contact_relay::workers::upsert=debug");
    let process = app.run(&[]).await;
    app.broker.publish_all(&(0..20).map(|number| ada(number, "first", 1)).collect::<Vec<_>>()).await;
    app.wait_for_rows("contacts", 20).await;
    let lock = lock(app, "contacts").await;
    let (mut events, others) = (Vec::new(), neighbors(200));
    for (number, ten) in others.chunks(10).enumerate() {
        events.push(ada(number, "second", 2));
        events.extend_from_slice(ten);
    }
    app.broker.publish_all(&events).await;
    neighbors_go_on(app, 200).await;
    assert!(!process.log().contains("decision=Halve"), "{}", process.log());
    lock.rollback().await.unwrap();
    everything_is_applied(app, 240).await;
    assert_eq!(app.rows("contacts WHERE name = 'Ada' AND version = 2 AND city = 'second'").await, 20);
}

/// Its lane has a rate limit, so a transaction that makes a delivery due needs the row.
#[apply(test)]
async fn locked_endpoint_stops_only_what_is_sent_to_it(app: &TestApp) {
    let url = app.receiver.url("/limited");
    app.set("upsert.batch_size", "20");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "100/s" }}]"#));
    app.run(&[]).await;
    app.broker.publish(&ada(0, "first", 1).webhook(&url)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let lock = lock(app, "webhook_endpoints").await;
    let to_it = |number: usize| Event::lead("Bob").email(&format!("bob-{number}@x.example")).webhook(&url);
    let mut events: Vec<_> = (0..10).map(to_it).collect();
    events.extend(neighbors(1000));
    // Nobody's row is locked but the endpoint's.
    events.push(ada(0, "second", 2));
    app.broker.publish_all(&events).await;
    neighbors_go_on(app, 1000).await;
    app.wait_for_rows("contacts WHERE city = 'second'", 1).await;
    assert_eq!(app.rows("contacts WHERE name = 'Bob'").await, 0);
    lock.rollback().await.unwrap();
    everything_is_applied(app, 1012).await;
    app.wait_for_deliveries("delivered", 11).await;
}

/// They are reopened, which nobody can do while they are locked.
#[apply(test)]
async fn locked_dead_letters_that_were_discarded_stop_nobody(app: &TestApp) {
    app.set("upsert.batch_size", "4");
    let process = app.run(&[]).await;
    let refused = |id: &str| Event::lead("Ada").id(id).argument("interest", 7);
    let events = ["1", "2", "3"].map(refused);
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 3).await;
    app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    let lock = lock(app, "dead_letters").await;
    for (event, others) in events.iter().zip(neighbors(300).chunks(100)) {
        app.broker.publish(event).await;
        app.broker.publish_all(others).await;
    }
    app.wait_for_rows("contacts", 300).await;
    not_ready(&process, "somebody keeps a row locked").await;
    lock.rollback().await.unwrap();
    app.wait_for_rows("dead_letters WHERE state = 'open' AND attempts = 2", 3).await;
    process.ready().await;
}

/// More than the collector takes at once.
#[apply(test)]
async fn locked_dead_letter_that_was_discarded_does_not_stop_the_collector(app: &TestApp) {
    app.set("dead_letter.batch_size", "2");
    app.run(&[]).await;
    app.broker.publish_dead_letter(b"again").await;
    app.wait_for_rows("dead_letters", 1).await;
    app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    let lock = lock(app, "dead_letters").await;
    app.broker.publish_dead_letter(b"again").await;
    for _ in 0..20 {
        app.broker.publish_dead_letter(Uuid::now_v7().to_string().as_bytes()).await;
    }
    app.wait_for_rows("dead_letters", 21).await;
    lock.rollback().await.unwrap();
    app.wait_for_rows("dead_letters WHERE state = 'open' AND attempts = 2", 1).await;
}

/// The database refuses what the message says about itself.
#[apply(test)]
async fn dead_letter_that_the_database_refuses_is_stored_without_its_context(app: &TestApp) {
    app.set("dead_letter.batch_size", "2");
    app.cli(&["migrate"]).await;
    let refusal = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22021'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON dead_letters FOR EACH ROW WHEN (NEW.event_id = 'refused')
             EXECUTE FUNCTION refuse()";
    sqlx::raw_sql(refusal).execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.broker.publish_dead_letter(&Event::lead("Ada").id("refused").bytes()).await;
    for _ in 0..20 {
        app.broker.publish_dead_letter(Uuid::now_v7().to_string().as_bytes()).await;
    }
    app.wait_for_rows("dead_letters", 21).await;
    assert_eq!(app.rows("dead_letters WHERE company_id = 'acme' AND event_id IS NULL").await, 1);
}
