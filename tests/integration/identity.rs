//! Identity, seen from outside: conflict policies, guards, independence of order, and provenance.

mod convergence;
mod crowd;
mod guards;
mod policies;
mod provenance;

use serde_json::Value;

use crate::support::{app::TestApp, event::Event, process::Process};

const PHONE: &str = "+5511987654321";
const EMAIL: &str = "ada@x.example";

fn by_phone() -> Event {
    Event::lead("Ada").id("by phone").phone(PHONE).time("2026-01-01T00:00:00Z")
}

fn by_email() -> Event {
    Event::lead("Countess").id("by email").email(EMAIL).time("2026-01-02T00:00:00Z")
}

/// An event that links the two contacts.
fn by_both() -> Event {
    let event = Event::lead("Augusta").id("by both").phone(PHONE).email(EMAIL);
    event.argument("city", "London").time("2026-01-03T00:00:00Z")
}

async fn show(app: &TestApp, id: &str) -> Value {
    app.json(&["contact", "show", "--company", "acme", id]).await
}

async fn history(app: &TestApp, id: &str) -> Vec<Value> {
    let history = app.json(&["contact", "history", "--company", "acme", id]).await;
    history.as_array().expect("a list").clone()
}

fn kinds(history: &[Value]) -> Vec<&str> {
    history.iter().map(|entry| entry["kind"].as_str().expect("a kind")).collect()
}

/// The entries of this kind.
fn of_kind<'a>(history: &'a [Value], kind: &str) -> Vec<&'a Value> {
    history.iter().filter(|entry| entry["kind"] == kind).collect()
}

/// Replays the dead letter.
async fn replay(app: &TestApp, id: &str) {
    let done = app.json(&["dead-letter", "replay", id, "--yes"]).await;
    assert_eq!(done["replayed"], 1);
}

/// Stops the service and starts it with another setting.
async fn restart_with(app: &TestApp, service: Process, key: &str, value: &str) -> Process {
    service.sigterm();
    assert!(service.ended().await.success());
    app.set(key, value);
    app.run(&[]).await
}

/// Checks that each contact's own list of identifiers matches the rows that find it.
async fn assert_keys_agree(app: &TestApp) {
    let wrong = "contacts c CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(value ORDER BY value) FILTER (WHERE kind = 'phone'), '{}') AS phones,
               coalesce(array_agg(value ORDER BY value) FILTER (WHERE kind = 'email'), '{}') AS emails
        FROM contact_identifiers i WHERE i.company_id = c.company_id AND i.contact_id = c.contact_id) k
        WHERE (c.phones, c.emails) IS DISTINCT FROM (k.phones, k.emails)";
    assert_eq!(app.rows(wrong).await, 0, "contacts.phones and .emails are its rows of contact_identifiers");
    let strays = "contact_identifiers i LEFT JOIN contacts c USING (company_id, contact_id)
                  WHERE c.contact_id IS NULL";
    assert_eq!(app.rows(strays).await, 0, "every key has a living owner");
}
