//! What operators do to dead letters, and the record of it.

mod audit;
mod edit;
mod groups;
mod restore;
mod transfer;

use serde_json::Value;

use crate::support::{app::TestApp, dead_letters::Dead, event::Event, process::Finished};

/// An event whose only identifier is no phone number.
fn refused(name: &str) -> Event {
    Event::lead(name).phone("12")
}

/// Runs the service and waits for the dead letter of this event, which is refused.
async fn dead_letter_of(app: &TestApp, event: &Event) -> Dead {
    app.run(&[]).await;
    app.broker.publish(event).await;
    app.the_dead_letter("open", |dead| dead.state == "open").await
}

/// The rows that `audit list` shows, newest first.
async fn audited(app: &TestApp, options: &[&str]) -> Vec<Value> {
    let rows = app.json(&[&["audit", "list"], options].concat()).await;
    rows.as_array().expect("a list").clone()
}

/// What standard output has.
fn parsed(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|_| panic!("{}{}", finished.stdout, finished.stderr))
}

/// It failed, and said why.
fn assert_refused(finished: &Finished, code: i32, says: &str) {
    assert_eq!(finished.code, Some(code), "{}{}", finished.stdout, finished.stderr);
    assert!(finished.stderr.contains(says), "expected \"{says}\": {}", finished.stderr);
}
