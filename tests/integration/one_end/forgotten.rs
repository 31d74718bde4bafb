//! A refusal leaves the ledger with its last dead letter.

use std::pin::pin;

use contact_relay::postgres::dead_letters;
use macro_rules_attribute::apply;
use time::OffsetDateTime;

use super::APPLIED;
use crate::support::{app::TestApp, event::Event, gate::Gate, test};

#[apply(test)]
async fn ledger_forgets_a_refusal_with_its_dead_letters(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    let service = app.run(&["upsert"]).await;
    let event = Event::lead("Ada");
    let kept = Event::lead("Bob");
    app.broker.publish_all(&[event, kept.clone(), kept.argument("city", "London")]).await;
    app.wait_for_rows("dead_letters", 3).await;
    app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    service.sigterm();
    service.ended().await;
    // One of the two dead letters of Bob's event is open.
    let old = "UPDATE dead_letters SET settled_at = now() - interval '100 days'";
    sqlx::query(old).execute(&app.pool).await.unwrap();
    let open = "UPDATE dead_letters SET state = 'open', settled_at = NULL WHERE body LIKE '%London%'";
    sqlx::query(open).execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.wait_for_rows("applied_events", 1).await;
    assert_eq!(app.rows("applied_events JOIN dead_letters USING (company_id, event_key)").await, 1);
}

/// Each of two transactions deletes one of the two dead letters of an event.
#[apply(test)]
async fn ledger_forgets_a_refusal_whose_dead_letters_are_deleted_at_once(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&["upsert"]).await;
    let event = Event::lead("Ada");
    app.broker.publish_all(&[event.clone(), event.argument("city", "London")]).await;
    app.wait_for_rows("dead_letters", 2).await;
    app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    app.stop().await;
    let gate = Gate::before_commit(app, "DELETE ON dead_letters", "true").await;
    let tomorrow = OffsetDateTime::now_utc() + time::Duration::DAY;
    let delete = async |portion| {
        let mut conn = app.pool.acquire().await.unwrap();
        dead_letters::delete_settled(&mut conn, tomorrow, portion).await.unwrap()
    };
    let second = async {
        gate.is_reached_by(1).await;
        let mut deleted = pin!(delete(2));
        tokio::select! {
            deleted = &mut deleted => {
                gate.open().await;
                deleted
            }
            () = gate.is_reached_by(2) => {
                gate.open().await;
                deleted.await
            }
        }
    };
    let (first, second) = tokio::join!(delete(1), second);
    assert_eq!(first + second + delete(2).await, 2);
    assert_eq!((app.rows("dead_letters").await, app.rows("applied_events").await), (0, 0));
    app.run(&[]).await;
}

/// Its other body was discarded long ago.
#[apply(test)]
async fn discarded_body_is_resolved_although_another_dead_letter_of_the_event_has_left(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&["upsert"]).await;
    let first = Event::lead("Ada");
    let second = first.clone().argument("city", "London");
    app.broker.publish_all(&[first, second.clone()]).await;
    app.wait_for_rows("dead_letters", 2).await;
    app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    app.stop().await;
    let old =
        "UPDATE dead_letters SET settled_at = now() - interval '100 days' WHERE body NOT LIKE '%London%'";
    assert_eq!(sqlx::query(old).execute(&app.pool).await.unwrap().rows_affected(), 1);
    app.set("contacts.on_unidentified", "create");
    app.run(&[]).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.broker.publish(&second).await;
    app.wait_for_rows("contacts", 1).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!((app.rows(APPLIED).await, app.rows("applied_events").await), (1, 1));
}
