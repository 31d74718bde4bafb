//! Stored rows that keep one message from being applied, or one outcome from being recorded: others go on without it.

use std::time::Instant;

use contact_relay::{
    domain::chain::outgoing::OutgoingEvent,
    postgres::effects::{self, Kind, events},
};
use macro_rules_attribute::apply;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::not_ready;
use crate::{
    effects::event,
    support::{app::TestApp, dead_letters::Dead, event::Event, eventually, only, process::Process, test},
};

const EMAIL: &str = "ada@x.example";

/// Without the events that were refused.
const APPLIED: &str = "applied_events WHERE meaning IS NOT NULL";

fn ada(id: &str) -> Event {
    Event::lead("Ada").id(id).email(EMAIL)
}

fn neighbors(count: usize) -> Vec<Event> {
    (0..count).map(|number| Event::lead("Grace").email(&format!("grace-{number}@x.example"))).collect()
}

async fn execute(app: &TestApp, statement: &str) -> u64 {
    // Statements consist of constants.
    sqlx::query(AssertSqlSafe(statement)).execute(&app.pool).await.unwrap().rows_affected()
}

/// The `log.filter` that [`refusals`] needs.
const FILTER: &str = "info,contact_relay::workers::upsert=debug";

/// How often the database refused to apply something.
fn refusals(process: &Process) -> usize {
    process.log().matches("the database refused a portion").count()
}

/// Waits until one message is given up for this reason and `contacts` exist.
async fn given_up(app: &TestApp, process: &Process, why: &str, contacts: i64) -> Dead {
    let dead = app.the_dead_letter("given up", |dead| dead.reason == "crash_loop").await;
    assert!(dead.message.contains(why), "{}", dead.message);
    app.wait_for_rows("contacts", contacts).await;
    app.queues_are_empty().await;
    not_ready(process, "gave up on a message").await;
    dead
}

/// Replays what was given up, after its cause is gone.
async fn recovers(app: &TestApp) {
    replay(app).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 1).await;
}

async fn replay(app: &TestApp) {
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
}

/// As after a backup of some tables only. A new contact cannot have the identifier, and nobody has it.
#[apply(test)]
async fn identifier_without_a_contact_stops_nobody(app: &TestApp) {
    let process = app.run(&[]).await;
    execute(
        app,
        &format!("INSERT INTO contact_identifiers VALUES ('acme', 'email', '{EMAIL}', gen_random_uuid())"),
    )
    .await;
    app.broker.publish_all(&[vec![ada("1")], neighbors(20)].concat()).await;
    given_up(app, &process, "a new identifier has a contact already", 20).await;
    execute(app, &format!("DELETE FROM contact_identifiers WHERE value = '{EMAIL}'")).await;
    recovers(app).await;
    assert_eq!(app.rows("contacts").await, 21);
}

#[apply(test)]
async fn unreadable_contact_stops_nobody(app: &TestApp) {
    let process = app.run(&[]).await;
    let contact = only(app.broker.publish_in_turn(&[ada("1")]).await);
    execute(app, "UPDATE contacts SET provenance = '{' || provenance").await;
    app.broker.publish_all(&[vec![ada("2")], neighbors(20)].concat()).await;
    let why = format!("contact {contact} of company acme cannot be read");
    given_up(app, &process, &why, 21).await;
    execute(app, "UPDATE contacts SET provenance = substr(provenance, 2) WHERE provenance LIKE '{{%'").await;
    recovers(app).await;
    assert_eq!(app.rows(APPLIED).await, 22);
}

/// In each batch something else is applied, and that proves that the database works.
#[apply(test)]
async fn many_unreadable_contacts_stop_nobody(app: &TestApp) {
    app.set("upsert.batch_size", "4");
    app.run(&[]).await;
    let people = neighbors(24);
    app.broker.publish_in_turn(&people).await;
    execute(app, "UPDATE contacts SET provenance = '{' || provenance").await;
    let again: Vec<_> = people.into_iter().map(|event| event.id(&Uuid::now_v7().to_string())).collect();
    let other = |n: usize| Event::lead("Bob").email(&format!("bob-{n}@x.example"));
    let mixed = again.chunks(3).enumerate().flat_map(|(n, three)| [three, &[other(n)]].concat());
    app.broker.publish_all(&mixed.collect::<Vec<_>>()).await;
    app.wait_for_rows("contacts", 32).await;
    app.wait_for_rows("dead_letters WHERE reason = 'crash_loop'", 24).await;
    app.queues_are_empty().await;
    execute(app, "UPDATE contacts SET provenance = substr(provenance, 2) WHERE provenance LIKE '{{%'").await;
    replay(app).await;
    app.wait_for_rows(APPLIED, 56).await;
}

/// More than the broker hands out at once, so that nothing else can be applied between them.
fn flood() -> Vec<Event> {
    let again = (0..40).map(|number| ada(&format!("again-{number}")));
    again.chain(neighbors(1)).collect()
}

/// They share a key, so they are given up like one.
#[apply(test)]
async fn flood_about_one_unreadable_contact_stops_nobody(app: &TestApp) {
    app.set("upsert.batch_size", "4");
    app.run(&[]).await;
    app.broker.publish_in_turn(&[ada("1")]).await;
    execute(app, "UPDATE contacts SET provenance = '{' || provenance").await;
    app.broker.publish_all(&flood()).await;
    app.wait_for_rows("contacts", 2).await;
    app.wait_for_rows("dead_letters WHERE reason = 'crash_loop'", 40).await;
    app.queues_are_empty().await;
    execute(app, "UPDATE contacts SET provenance = substr(provenance, 2) WHERE provenance LIKE '{{%'").await;
    replay(app).await;
    app.wait_for_rows(APPLIED, 42).await;
}

/// The first one waits for half a minute. If the others did, they would take five.
#[apply(test)]
async fn flood_about_one_locked_contact_stops_nobody(app: &TestApp) {
    app.set("upsert.batch_size", "4");
    app.set("log.filter", FILTER);
    let process = app.run(&[]).await;
    app.broker.publish_in_turn(&[ada("1")]).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    app.broker.publish_all(&flood()).await;
    app.wait_for_rows("contacts", 2).await;
    app.wait_for_rows("dead_letters WHERE reason = 'crash_loop'", 40).await;
    // Twelve tries of those that were in the first batch, and three of each of the others.
    let refusals = refusals(&process);
    assert!(refusals < 4 * 12 + 36 * 3 + 10, "{refusals}");
    lock.rollback().await.unwrap();
    replay(app).await;
    app.wait_for_rows(APPLIED, 42).await;
}

/// Makes inserting a contact too slow, if its name is like this.
async fn slow_down(app: &TestApp, name: &str) {
    app.set("postgres.statement_timeout", "1s");
    let statements = format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(10); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON contacts FOR EACH ROW WHEN (NEW.name LIKE '{name}') EXECUTE FUNCTION slow()"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&app.pool).await.unwrap();
}

#[apply(test)]
async fn slow_database_makes_no_dead_letter(app: &TestApp) {
    slow_down(app, "%").await;
    app.set("log.filter", FILTER);
    let process = app.run(&[]).await;
    app.broker.publish_all(&neighbors(1)).await;
    // After the twelfth try it would be set aside, if others were accepted.
    let tried = async || (refusals(&process) > 13).then_some(());
    eventually("it was tried more than thirteen times", tried).await;
    not_ready(&process, "longer than postgres.statement_timeout").await;
    assert_eq!(app.rows("dead_letters").await, 0);
    execute(app, "DROP TRIGGER slow ON contacts").await;
    app.wait_for_rows("contacts", 1).await;
    process.ready().await;
}

#[apply(test)]
async fn message_that_is_slow_alone_stops_nobody(app: &TestApp) {
    slow_down(app, "Ada").await;
    let process = app.run(&[]).await;
    app.broker.publish_all(&[vec![ada("1")], neighbors(20)].concat()).await;
    given_up(app, &process, "longer than postgres.statement_timeout", 20).await;
    execute(app, "DROP TRIGGER slow ON contacts").await;
    recovers(app).await;
    assert_eq!(app.rows("contacts").await, 21);
}

/// The neighbors are more than the broker hands out at once.
#[apply(test)]
async fn locked_contact_stops_nobody(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    app.set("upsert.batch_size", "4");
    let process = app.run(&[]).await;
    app.broker.publish_in_turn(&[ada("1")]).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    app.broker.publish_all(&[vec![ada("2")], neighbors(100)].concat()).await;
    given_up(app, &process, "somebody keeps a row locked", 101).await;
    lock.rollback().await.unwrap();
    recovers(app).await;
    assert_eq!(app.rows(APPLIED).await, 102);
}

/// The contact has to be locked before the event can be found applied.
#[apply(test)]
async fn redelivered_event_whose_contact_is_locked_is_no_dead_letter(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    let process = app.run(&[]).await;
    let ada = ada("1");
    app.broker.publish_in_turn(std::slice::from_ref(&ada)).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    app.broker.publish_all(&[vec![ada.clone(), ada], neighbors(20)].concat()).await;
    app.wait_for_rows("contacts", 21).await;
    let ended = async || (process.log().matches("its event has already ended").count() == 2).then_some(());
    eventually("both copies are given up", ended).await;
    assert_eq!((app.rows("dead_letters").await, app.rows("applied_events").await), (0, 21));
    process.ready().await;
    lock.rollback().await.unwrap();
}

/// As by a migration.
#[apply(test)]
async fn locked_table_makes_no_dead_letter(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    app.set("log.filter", FILTER);
    let process = app.run(&[]).await;
    let locks = ["LOCK TABLE contacts IN SHARE MODE", "LOCK TABLE suppressions"];
    for (statement, people) in locks.into_iter().zip(neighbors(4).chunks(2)) {
        let (before, contacts) = (refusals(&process), app.rows("contacts").await);
        let mut lock = app.pool.begin().await.unwrap();
        sqlx::query(statement).execute(&mut *lock).await.unwrap();
        app.broker.publish_all(people).await;
        let tried = async || (refusals(&process) > before + 8).then_some(());
        eventually("each was tried more than three times", tried).await;
        not_ready(&process, "a table is locked").await;
        assert_eq!(app.rows("dead_letters").await, 0, "{statement}");
        lock.rollback().await.unwrap();
        app.wait_for_rows("contacts", contacts + 2).await;
        process.ready().await;
    }
}

/// As if the rows had been written by another version.
#[apply(test)]
async fn messages_wait_if_no_contact_can_be_read(app: &TestApp) {
    app.set("log.filter", FILTER);
    let process = app.run(&[]).await;
    let people = neighbors(6);
    app.broker.publish_in_turn(&people).await;
    execute(app, "UPDATE contacts SET provenance = '{' || provenance").await;
    let began = Instant::now();
    let again = |event: Event| event.id(&Uuid::now_v7().to_string());
    app.broker.publish_all(&people.into_iter().map(again).collect::<Vec<_>>()).await;
    app.wait_for_at_least(2, "dead_letters").await;
    let before = refusals(&process);
    eventually("the others are tried again", async || (refusals(&process) > before + 20).then_some(())).await;
    let dead = app.rows("dead_letters").await;
    // One a minute may follow.
    let most = 2 + began.elapsed().as_secs().div_ceil(60);
    assert!(dead.cast_unsigned() <= most, "{dead}");
    not_ready(&process, "cannot be read").await;
    execute(app, "UPDATE contacts SET provenance = substr(provenance, 2)").await;
    // The ledger knows those that were given up as well.
    app.wait_for_rows("applied_events", 12).await;
    let dead = app.rows("dead_letters").await;
    assert_eq!(app.rows(APPLIED).await, 12 - dead);
    replay(app).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", dead).await;
    assert_eq!(app.rows(APPLIED).await, 12);
}

#[apply(test)]
async fn unreadable_requests_stop_no_outcome(app: &TestApp) {
    let process = app.run(&[]).await;
    app.broker.publish(&ada("1").webhook(&app.receiver.url("/held"))).await;
    app.webhooks(1).await;
    // As if an erasure had removed another request of the batch.
    let changed =
        execute(app, "UPDATE effects SET body = '\\x00', items = items + 1 WHERE kind = 'send'").await;
    assert_eq!(changed, 1);
    app.receiver.release();
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_unsent(0).await;
    assert!(process.log().contains("could not read batch"), "{}", process.log());
}

#[apply(test)]
async fn unreadable_row_of_effects_does_not_fail_others(app: &TestApp) {
    let mut conn = app.pool.acquire().await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let events = vec![event("contact.upserted.created"), event("contact.upserted.updated")];
        let (batch, owner) = (Uuid::now_v7(), Some(Uuid::now_v7()));
        keys.push(only(events::insert(&mut conn, batch, owner, events).await.unwrap()));
    }
    let [broken, sound] = keys.try_into().unwrap();
    let published = only(sound.events.first()).id;
    let destroy = sqlx::query("UPDATE effects SET body = '\\x00' WHERE batch = $1").bind(broken.key.batch);
    destroy.execute(&mut *conn).await.unwrap();
    let keys = [broken.key, sound.key];
    let retained = effects::retain(&mut conn, &keys, |_, event: &OutgoingEvent| event.id != published);
    let retained = retained.await.unwrap();
    assert_eq!((retained.removed, retained.unreadable), (1, keys[..1].to_vec()));
    assert_eq!(app.unpublished().await, 3);
    execute(app, "DELETE FROM effects").await;
}

/// As by an operator who looks at it. Of two rows that are done, and of two that are put back.
#[apply(test)]
async fn locked_row_of_effects_is_left_to_be_settled_later(app: &TestApp) {
    let (mut conn, owner) = (app.pool.acquire().await.unwrap(), Uuid::now_v7());
    let mut keys = Vec::new();
    for _ in 0..4 {
        let events = vec![event("contact.upserted.created")];
        let inserted = events::insert(&mut conn, Uuid::now_v7(), Some(owner), events).await.unwrap();
        keys.push(only(inserted).key);
    }
    let mut lock = app.pool.begin().await.unwrap();
    for key in [&keys[0], &keys[2]] {
        let row = sqlx::query("SELECT FROM effects WHERE batch = $1 FOR UPDATE").bind(key.batch);
        row.execute(&mut *lock).await.unwrap();
    }
    let left = effects::delete(&mut conn, Kind::Publish, owner, &keys[..2]).await.unwrap();
    assert_eq!(left, keys[..1]);
    let left = effects::lock(&mut conn, Kind::Publish, owner, &keys[2..]).await.unwrap();
    assert_eq!(left, keys[2..3]);
    assert_eq!(app.unpublished().await, 3);
    let other = effects::delete(&mut conn, Kind::Publish, Uuid::now_v7(), &keys).await.unwrap();
    assert_eq!(other, [], "a row of another process is not waited for");
    lock.rollback().await.unwrap();
    let left = effects::delete(&mut conn, Kind::Publish, owner, &keys).await.unwrap();
    assert_eq!((left, app.unpublished().await), (vec![], 0));
}

/// Nothing is loaded for a lane while its row is locked, and others go on.
#[apply(test)]
async fn locked_endpoint_stops_no_other(app: &TestApp) {
    let (slow, ok) = (app.receiver.url("/slow"), app.receiver.url("/ok"));
    let rates = format!(r#"[{{ url = "{slow}", rate = "1/s" }}, {{ url = "{ok}", rate = "100/s" }}]"#);
    app.set("webhook.endpoints", &rates);
    let process = app.run(&[]).await;
    let send = |count: usize, url: &str| {
        neighbors(count).into_iter().map(|event| event.id(&Uuid::now_v7().to_string()).webhook(url)).collect()
    };
    let events: Vec<Event> = send(1, &ok);
    app.broker.publish_all(&events).await;
    app.wait_for_deliveries("delivered", 1).await;
    let events: Vec<Event> = send(100, &slow);
    app.broker.publish_all(&events).await;
    // A transaction that makes a delivery due needs the row.
    app.wait_for_rows("webhook_deliveries WHERE url LIKE '%/slow'", 100).await;
    app.wait_for_at_least(2, "webhook_deliveries WHERE state = 'delivered'").await;
    let mut lock = app.pool.begin().await.unwrap();
    let row = "SELECT FROM webhook_endpoints WHERE url LIKE '%/slow' FOR UPDATE";
    assert_eq!(sqlx::query(row).execute(&mut *lock).await.unwrap().rows_affected(), 1);
    let events: Vec<Event> = send(50, &ok);
    app.broker.publish_all(&events).await;
    app.wait_for_at_least(51, "webhook_deliveries WHERE state = 'delivered' AND url LIKE '%/ok'").await;
    assert!(!process.log().contains("waiting for the database"), "{}", process.log());
    lock.rollback().await.unwrap();
    let delivered = app.rows("webhook_deliveries WHERE state = 'delivered'").await;
    app.wait_for_at_least(delivered + 2, "webhook_deliveries WHERE state = 'delivered'").await;
}

/// An attempt is stored that the delivery does not know of.
#[apply(test)]
async fn outcome_that_contradicts_a_row_keeps_no_other_from_being_recorded(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    let process = app.run(&[]).await;
    app.broker.publish(&ada("1").webhook(&app.receiver.url("/status/503/1"))).await;
    app.wait_for_rows("webhook_attempts", 1).await;
    execute(
        app,
        "INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms, outcome)
         SELECT company_id, created_at, delivery_id, 2, started_at, duration_ms, outcome FROM webhook_attempts",
    )
    .await;
    let resent = app.cli(&["delivery", "resend", "--state", "pending", "--yes"]).await;
    assert_eq!(resent.code, Some(0), "{}", resent.stderr);
    app.webhooks(2).await;
    let url = app.receiver.url("/ok");
    let others: Vec<Event> = neighbors(20).into_iter().map(|event| event.webhook(&url)).collect();
    app.broker.publish_all(&others).await;
    app.wait_for_deliveries("delivered", 20).await;
    assert_eq!(app.deliveries("pending").await, 1);
    not_ready(&process, "webhook-outcomes").await;
    execute(app, "DELETE FROM webhook_attempts WHERE attempt = 2").await;
    app.wait_for_deliveries("delivered", 21).await;
    process.ready().await;
    assert_eq!(app.receiver.requests().len(), 22, "nothing is sent twice");
}
