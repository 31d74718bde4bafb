//! Erasure by a person at a terminal, who is asked first.

use macro_rules_attribute::apply;

use super::{EMAIL, assert_no_trace, contact_id, dump, many::interrupted};
use crate::support::{app::TestApp, event::Event, process::Finished, test};

async fn erase(app: &TestApp, id: &str, answer: &str) -> Finished {
    app.cli_on_terminal(&["contact", "erase", "--company", "acme", id, "--operator", "grace"], answer).await
}

#[apply(test)]
async fn erasure_asks_on_a_terminal(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    let kept = erase(app, &id, "n\n").await;
    assert_eq!((kept.code, app.rows("contacts").await), (Some(1), 1), "{}", kept.stdout);
    assert!(kept.stdout.contains("would erase contact") && kept.stdout.contains("nothing was changed"));
    let erased = erase(app, &id, "y\n").await;
    assert_eq!((erased.code, app.rows("contacts").await), (Some(0), 0), "{}", erased.stdout);
    assert!(erased.stdout.contains("erase this person permanently?"), "{}", erased.stdout);
    app.broker.hear(2).await;
    // There is nothing left to ask.
    let again = erase(app, &id, "").await;
    assert_eq!(again.code, Some(0), "{}", again.stdout);
    assert!(again.stdout.contains("was already erased") && !again.stdout.contains("permanently?"));
    assert_no_trace(&dump(app).await.0);
}

#[apply(test)]
async fn interrupted_erasure_is_continued_on_a_terminal(app: &TestApp) {
    app.run(&[]).await;
    let id = interrupted(app).await;
    let left = erase(app, &id, "n\n").await;
    assert_eq!((left.code, app.rows("erasures").await), (Some(1), 1), "{}", left.stdout);
    assert!(left.stdout.contains("would finish the erasure"), "{}", left.stdout);
    let finished = erase(app, &id, "y\n").await;
    assert_eq!((finished.code, app.rows("erasures").await), (Some(0), 0), "{}", finished.stdout);
    app.broker.hear(2).await;
    assert_no_trace(&dump(app).await.0);
}
