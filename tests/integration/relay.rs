//! The relay settles each message by itself: one that a queue does not take holds up nobody.

mod stalled;

use contact_relay::{domain::chain::outgoing::OutgoingEvent, postgres::effects::events};
use macro_rules_attribute::apply;
use sqlx::{AssertSqlSafe, Executor as _};
use uuid::Uuid;

use crate::{
    effects::event,
    support::{app::TestApp, broker::Heard, event::Event, eventually, process::Process, proxy::Proxy, test},
};

/// Messages that wait and belong to no process.
async fn put_back(app: &TestApp) -> i64 {
    let query = "SELECT coalesce(sum(items), 0) FROM effects WHERE owner IS NULL AND due_at > now()";
    sqlx::query_scalar(query).fetch_one(&app.pool).await.unwrap()
}

/// Ends the wait of what was put back.
async fn retry_now(app: &TestApp) {
    sqlx::query("UPDATE effects SET due_at = now()").execute(&app.pool).await.unwrap();
    app.wait_for_unpublished(0).await;
}

#[apply(test)]
async fn message_without_a_confirm_holds_up_nothing_but_itself(app: &TestApp) {
    let proxy = Proxy::before(&app.setting("amqp.url")).await;
    app.set("amqp.url", proxy.url());
    // Confirms of the others arrive sooner.
    app.set("amqp.publish_timeout", "20s");
    app.set("outbox.retry_interval", "1h");
    proxy.withhold_confirms_of("contact.upserted.updated");
    let process = app.run(&[]).await;
    let rows = ["created", "updated", "created"].map(|kind| event(&format!("contact.upserted.{kind}")));
    let rows = rows.to_vec();
    let mut conn = app.pool.acquire().await.unwrap();
    events::insert(&mut conn, Uuid::now_v7(), None, rows).await.unwrap();
    app.broker.hear(3).await;
    eventually("only one waits", async || (put_back(app).await == 1).then_some(())).await;
    // Others pass it, over the same connection.
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    app.broker.hear(4).await;
    app.wait_for_unpublished(1).await;
    assert_eq!(app.broker.heard().await.len(), 4, "nothing is published twice");
    assert!(!process.log().contains("reconnects"), "{}", process.log());
    process.ready().await;
    proxy.let_confirms_pass();
    retry_now(app).await;
    app.broker.hear(5).await;
}

/// The routing key of events whose subscriber has a queue that confirms nothing.
const STUCK: &str = "stuck.queue";

/// A process that publishes such events like all others.
async fn with_stuck_queue(app: &TestApp) -> (Process, Proxy) {
    let proxy = Proxy::before(&app.setting("amqp.url")).await;
    app.set("amqp.url", proxy.url());
    app.set("outbox.retry_interval", "1h");
    // However slowly the proxy reads so many confirms.
    app.set("amqp.heartbeat", "2m");
    app.broker.subscribe_one("stuck", STUCK, "drop-head").await;
    proxy.withhold_confirms_of(STUCK);
    (app.run(&[]).await, proxy)
}

/// Inserts rows with so many such events each.
async fn insert_stuck(app: &TestApp, rows: usize, each: usize) {
    let mut transaction = app.pool.begin().await.unwrap();
    for _ in 0..rows {
        let one = || OutgoingEvent { company: "globex".to_owned(), ..event(STUCK) };
        let events = std::iter::repeat_with(one).take(each).collect();
        events::insert(&mut transaction, Uuid::now_v7(), None, events).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// Ends the test with what nobody confirms.
async fn forget_stuck(app: &TestApp, process: &Process) {
    assert!(!process.log().contains("reconnects"), "{}", process.log());
    process.ready().await;
    process.kill9().await;
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
    app.broker.delete("stuck").await;
    app.run(&[]).await;
}

/// More than a connection may have.
#[apply(test)]
async fn any_number_of_late_messages_holds_up_no_others(app: &TestApp) {
    // How long those take that are sent last.
    app.set("amqp.publish_timeout", "20s");
    let (process, _proxy) = with_stuck_queue(app).await;
    insert_stuck(app, 42, 500).await;
    let all_late = async || {
        insert_stuck(app, 1, 1).await;
        (put_back(app).await >= 21_000).then_some(())
    };
    eventually("they are late, and others are not", all_late).await;
    let last = "SELECT batch FROM effects WHERE company_id = 'globex' AND owner IS NOT NULL ORDER BY batch DESC LIMIT 1";
    let last: Uuid = sqlx::query_scalar(last).fetch_one(&app.pool).await.unwrap();
    app.broker.publish_in_turn(&[Event::lead("Ada").email("ada@x.example")]).await;
    let is_in_flight = format!("effects WHERE batch = '{last}' AND owner IS NOT NULL");
    assert_eq!(app.rows(&is_in_flight).await, 1, "Ada's event has waited for it");
    forget_stuck(app, &process).await;
}

/// It would take longer than the test until they are late.
#[apply(test)]
async fn messages_in_flight_that_use_up_the_memory_hold_up_no_others(app: &TestApp) {
    app.set("amqp.publish_timeout", "10m");
    app.set("outbox.in_flight_bytes", "1048576");
    let (process, _proxy) = with_stuck_queue(app).await;
    insert_stuck(app, 2_000, 1).await;
    // Each takes a KiB.
    app.wait_for_at_least(700, "effects WHERE owner IS NOT NULL").await;
    // The last of them leave room for others, and stay.
    let (mut number, left) = (0, "effects WHERE company_id = 'globex' AND owner IS NULL AND due_at <= now()");
    let none_left = async || {
        number += 1;
        let lead = Event::lead("Ada").email(&format!("ada-{number}@x.example"));
        app.broker.publish_in_turn(&[lead]).await;
        (app.rows(left).await == 0).then_some(())
    };
    eventually("each has had its turn", none_left).await;
    assert!(put_back(app).await >= 1_000, "others are put back for them");
    // What commands commit finds room as well.
    let by_a_command = event("contact.upserted.created");
    let id = by_a_command.id.to_string();
    let mut conn = app.pool.acquire().await.unwrap();
    events::insert(&mut conn, Uuid::now_v7(), None, vec![by_a_command]).await.unwrap();
    let is_heard =
        async || app.broker.heard().await.iter().any(|heard| heard.at("/id") == id.as_str()).then_some(());
    eventually("it is published", is_heard).await;
    forget_stuck(app, &process).await;
}

#[apply(test)]
async fn full_queue_of_a_subscriber_costs_only_its_own_copy(app: &TestApp) {
    app.set("outbox.retry_interval", "1h");
    app.broker.subscribe_one("one-place", "contact.upserted.#", "reject-publish").await;
    let process = app.run(&[]).await;
    for name in ["Ada", "Bob", "Eve"] {
        app.broker.publish(&Event::lead(name).email(&format!("{name}@x.example"))).await;
    }
    app.broker.hear(3).await;
    eventually("two are refused", async || (put_back(app).await == 2).then_some(())).await;
    assert_eq!((app.rows("contacts").await, app.broker.heard().await.len()), (3, 3));
    process.ready().await;
    // Once it takes messages again, it gets its copies.
    app.broker.delete("one-place").await;
    retry_now(app).await;
    app.broker.hear(5).await;
}

#[apply(test)]
async fn what_is_refused_is_tried_ever_more_rarely(app: &TestApp) {
    app.set("outbox.retry_interval", "1s");
    app.broker.subscribe_one("one-place", "contact.upserted.#", "reject-publish").await;
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    app.broker.publish(&Event::lead("Bob").email("bob@x.example")).await;
    eventually("one is refused", async || (put_back(app).await == 1).then_some(())).await;
    let older = "UPDATE effects SET created_at = now() - interval '30 minutes', due_at = now()";
    sqlx::query(older).execute(&app.pool).await.unwrap();
    let later = "effects WHERE owner IS NULL AND due_at > now() + interval '10 minutes'";
    eventually("it waits longer", async || (app.rows(later).await == 1).then_some(())).await;
    app.broker.delete("one-place").await;
    retry_now(app).await;
}

/// From now on, no statement may put back more rows.
async fn limit_rows(app: &TestApp, limit: usize) {
    let create = format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF (SELECT count(*) FROM changed WHERE owner IS NULL) > {limit} THEN RAISE 'too many rows'; END IF;
             RETURN NULL;
         END $$"
    );
    app.pool.execute(AssertSqlSafe(create)).await.unwrap();
}

/// A statement over all rows would have to read all of their bodies in its time.
#[apply(test)]
async fn many_rows_are_put_back_in_portions(app: &TestApp) {
    const ROWS: usize = 60;
    app.set("outbox.retry_interval", "1s");
    let process = app.run(&[]).await;
    limit_rows(app, 0).await;
    let trigger = "CREATE TRIGGER refuse AFTER UPDATE ON effects REFERENCING NEW TABLE AS changed
                   FOR EACH STATEMENT EXECUTE FUNCTION refuse()";
    app.pool.execute(trigger).await.unwrap();
    let mut transaction = app.pool.begin().await.unwrap();
    for _ in 0..ROWS {
        let events = vec![event("contact.upserted.created"), event("nobody.listens")];
        events::insert(&mut transaction, Uuid::now_v7(), None, events).await.unwrap();
    }
    transaction.commit().await.unwrap();
    app.broker.hear(ROWS).await;
    eventually("it cannot put them back", async || process.log().contains("too many rows").then_some(()))
        .await;
    limit_rows(app, 20).await;
    app.wait_for_unpublished(60).await;
    app.broker.subscribe("nobody.listens").await;
    app.wait_for_unpublished(0).await;
    assert_eq!(app.broker.hear(2 * ROWS).await.len(), 2 * ROWS, "nothing is published twice");
}

/// A sweep takes a part of it, and the next one follows at once.
#[apply(test)]
async fn backlog_is_published_without_a_pause(app: &TestApp) {
    const ROWS: usize = 130;
    app.set("outbox.sweep_interval", "1h");
    app.broker.declare().await;
    let mut transaction = app.pool.begin().await.unwrap();
    for _ in 0..ROWS {
        let events = (0..10).map(|_| event("contact.upserted.created")).collect();
        events::insert(&mut transaction, Uuid::now_v7(), None, events).await.unwrap();
    }
    transaction.commit().await.unwrap();
    app.run(&[]).await;
    app.wait_for_unpublished(0).await;
    app.broker.hear(10 * ROWS).await;
}

/// What a publisher sends when it opens its channel: `confirm.select`.
const CONFIRM_SELECT: &[u8] = &[1, 0, 1, 0, 0, 0, 5, 0, 85, 0, 10, 0, 0xCE];

/// A process that has applied `count` events while its relay cannot connect, until the proxy opens.
async fn with_relay_held_up(app: &TestApp, count: usize) -> (Process, Proxy) {
    let proxy = Proxy::before(&app.setting("amqp.url")).await;
    app.set("amqp.url", proxy.url());
    app.set("amqp.connect_timeout", "5s");
    app.set("upsert.batch_size", "50");
    app.broker.declare().await;
    proxy.silence_at(CONFIRM_SELECT);
    let process = app.spawn(&["run"]);
    let people = (0..count).map(|n| Event::lead("Ada").email(&format!("ada-{n}@x.example")));
    app.broker.publish_all(&people.collect::<Vec<_>>()).await;
    app.wait_for_rows("contacts", count.try_into().unwrap()).await;
    (process, proxy)
}

#[apply(test)]
async fn what_workers_hand_over_is_published_before_what_was_left(app: &TestApp) {
    const EACH: usize = 1_100;
    let (process, proxy) = with_relay_held_up(app, EACH).await;
    assert_eq!(app.rows("effects WHERE owner IS NULL").await, 0);
    let mut conn = app.pool.acquire().await.unwrap();
    for _ in 0..EACH / 100 {
        let left = (0..100).map(|_| event("contact.upserted.created")).collect();
        events::insert(&mut conn, Uuid::now_v7(), None, left).await.unwrap();
    }
    proxy.open();
    let heard = app.broker.hear(2 * EACH).await;
    let is_handed_over = |heard: &Heard| heard.at("/type") == "contact.upserted";
    assert!(heard[..EACH].iter().all(is_handed_over));
    process.ready().await;
}

#[apply(test)]
async fn what_finds_no_room_in_memory_waits_in_the_database(app: &TestApp) {
    const COUNT: usize = 1_100;
    app.set("outbox.in_flight_bytes", "1048576");
    let (process, proxy) = with_relay_held_up(app, COUNT).await;
    let owned = "SELECT coalesce(sum(items), 0) FROM effects WHERE owner IS NOT NULL";
    let owned: i64 = sqlx::query_scalar(owned).fetch_one(&app.pool).await.unwrap();
    // Each takes at least a KiB.
    assert!((1..1024).contains(&owned), "{owned}");
    proxy.open();
    app.wait_for_unpublished(0).await;
    assert_eq!(app.broker.hear(COUNT).await.len(), COUNT, "nothing is published twice");
    process.ready().await;
}
