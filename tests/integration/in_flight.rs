//! Events of people who come back at once: they are applied right whoever gets them, and one process never loses a race
//! against itself.

use macro_rules_attribute::apply;
use serde_json::json;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use crate::support::{app::TestApp, event::Event, eventually, test};

const PEOPLE: usize = 1000;

const ADA: &str = "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11";

/// No other test has this address, so that the log of Postgres can be searched for it.
const MEANWHILE: &str = "meanwhile@x.example";

/// Two events of each person, 4 messages apart: by email, and later by email and phone.
fn events() -> Vec<Event> {
    let event = |number: usize| {
        let (person, again) = (number / 8 * 4 + number % 4, number % 8 >= 4);
        let event =
            Event::lead(if again { "second" } else { "first" }).email(&format!("p{person}@x.example"));
        if again {
            event.phone(&format!("+55119{:08}", 80_000_000 + person)).time("2026-01-02T00:00:00Z")
        } else {
            event.time("2026-01-01T00:00:00Z")
        }
    };
    (0..2 * PEOPLE).map(event).collect()
}

async fn consumed(app: &TestApp) {
    eventually("the queue is empty", async || (app.broker.depth("trigger-fired").await == 0).then_some(()))
        .await;
}

async fn everybody_is_right(app: &TestApp) {
    let people = i64::try_from(PEOPLE).unwrap();
    app.wait_for_rows("trigger_events", 2 * people).await;
    consumed(app).await;
    let right = "contacts WHERE name = 'second' AND phones = ARRAY[phone] AND emails = ARRAY[email]";
    assert_eq!(app.rows(right).await, people);
    assert_eq!(app.rows("contacts").await, people);
    assert_eq!(app.rows("contact_identifiers").await, 2 * people);
    assert_eq!(app.rows("applied_events").await, 2 * people);
    assert_eq!(app.rows("dead_letters").await, 0);
}

#[apply(test)]
async fn one_process_rolls_no_batch_back(app: &TestApp) {
    app.set("upsert.batch_size", "50");
    app.broker.declare().await;
    app.broker.publish_all(&events()).await;
    let service = app.run(&["upsert"]).await;
    everybody_is_right(app).await;
    assert_eq!(app.rows("contacts WHERE version = 2").await, i64::try_from(PEOPLE).unwrap());
    service.sigterm();
    assert!(service.ended().await.success());
    // A session reports its statistics before it disappears.
    let sessions =
        "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'contact-relay%'";
    app.wait_for_rows(sessions, 0).await;
    let rolled_back = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(app.count(rolled_back).await, 0);
}

#[apply(test)]
async fn two_processes_race_and_end_right(app: &TestApp) {
    app.set("upsert.batch_size", "50");
    app.run(&["upsert"]).await;
    app.run(&["upsert"]).await;
    app.broker.publish_all(&events()).await;
    everybody_is_right(app).await;
    app.run(&["webhook"]).await;
}

#[apply(test)]
async fn event_of_a_person_in_flight_waits_and_its_neighbors_do_not(app: &TestApp) {
    app.run(&["upsert"]).await;
    let ada = |id: &str| Event::lead("Ada").id(id).email("ada@x.example").argument("city", id);
    app.broker.publish_in_turn(&[ada("first").time("2026-01-01T00:00:00Z")]).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    app.broker.publish(&ada("second").time("2026-01-02T00:00:00Z")).await;
    app.wait_for_blocked_sessions(1).await;
    let grace = Event::lead("Grace").email("grace@x.example");
    app.broker.publish_all(&[ada("third").time("2026-01-03T00:00:00Z"), grace.clone()]).await;
    let heard = app.broker.upserted(&grace).await;
    assert_eq!(heard.at("/data/operation"), "created");
    assert!(app.blocked_sessions().await <= 1, "the third event is in no transaction");
    assert_eq!(app.rows("contacts WHERE city = 'first'").await, 1);
    lock.rollback().await.unwrap();
    app.wait_for_rows("contacts WHERE city = 'third' AND version = 3", 1).await;
    app.run(&["webhook"]).await;
}

/// Messages behind an unsettled one are not acknowledged, so a killed process' messages come back; they are applied once.
#[apply(test)]
async fn kill_while_one_transaction_waits_loses_nothing(app: &TestApp) {
    let service = app.run(&["upsert"]).await;
    let lead = |name: &str| Event::lead(name).id(name).email(&format!("{name}@x.example"));
    app.broker.publish_in_turn(&[lead("ada")]).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    app.broker.publish(&lead("ada").id("again").argument("city", "London")).await;
    app.wait_for_blocked_sessions(1).await;
    let others: Vec<Event> = (0..20).map(|number| lead(&format!("n{number}"))).collect();
    app.broker.publish_all(&others).await;
    app.wait_for_rows("contacts", 21).await;
    service.kill9().await;
    lock.rollback().await.unwrap();
    eventually("all have come back", async || (app.broker.depth("trigger-fired").await == 21).then_some(()))
        .await;
    app.run(&["upsert", "webhook"]).await;
    app.wait_for_rows("contacts WHERE city = 'London'", 1).await;
    consumed(app).await;
    assert_eq!((app.rows("contacts").await, app.rows("applied_events").await), (21, 22));
    assert_eq!(app.rows("contacts WHERE version > 1").await, 1);
}

/// Another transaction that is about to add a contact of [`MEANWHILE`].
async fn other_adds_ada(app: &TestApp) -> Transaction<'static, Postgres> {
    let mut other = app.pool.begin().await.unwrap();
    for addition in [
        format!(
            "INSERT INTO contacts (company_id, contact_id, version, provenance, emails, created_at, updated_at)
             VALUES ('acme', '{ADA}', 1, '{{}}', ARRAY['{MEANWHILE}'], now(), now())"
        ),
        format!("INSERT INTO contact_identifiers VALUES ('acme', 'email', '{MEANWHILE}', '{ADA}')"),
    ] {
        sqlx::query(AssertSqlSafe(addition)).execute(&mut *other).await.unwrap();
    }
    other
}

/// The statement that adds a new person in one round trip has no transaction that could be rolled back.
#[apply(test)]
async fn person_whom_another_transaction_adds_meanwhile_is_updated(app: &TestApp) {
    app.run(&["upsert"]).await;
    let other = other_adds_ada(app).await;
    let event = Event::lead("Ada").email(MEANWHILE);
    app.broker.publish(&event).await;
    app.wait_for_blocked_sessions(1).await;
    other.commit().await.unwrap();
    let heard = app.broker.upserted(&event).await;
    assert_eq!((heard.at("/data/operation"), heard.at("/data/contact/id")), (&json!("updated"), &json!(ADA)));
    assert_eq!(app.rows("contacts WHERE name = 'Ada' AND version = 2").await, 1);
    for (table, rows) in
        [("contacts", 1), ("contact_identifiers", 1), ("trigger_events", 1), ("applied_events", 1)]
    {
        assert_eq!(app.rows(table).await, rows, "{table}");
    }
    assert_eq!(app.rows("dead_letters").await, 0);
    assert!(!app.postgres_log().await.contains(MEANWHILE), "the log of Postgres names a person");
    app.run(&["webhook"]).await;
}

#[apply(test)]
async fn person_whom_another_transaction_does_not_add_after_all_is_created(app: &TestApp) {
    app.run(&["upsert"]).await;
    let other = other_adds_ada(app).await;
    let event = Event::lead("Ada").email(MEANWHILE);
    app.broker.publish(&event).await;
    app.wait_for_blocked_sessions(1).await;
    other.rollback().await.unwrap();
    assert_eq!(app.broker.upserted(&event).await.at("/data/operation"), "created");
    assert_eq!((app.rows("contacts").await, app.rows("applied_events").await), (1, 1));
    app.run(&["webhook"]).await;
}
