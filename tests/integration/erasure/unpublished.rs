//! Erasure of events that are committed and not published.

use contact_relay::{
    domain::{chain::outgoing::OutgoingEvent, trace_context::TraceContext},
    postgres::effects::events,
};
use macro_rules_attribute::apply;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EMAIL, assert_no_trace, contact_id, dump, erase};
use crate::support::{app::TestApp, event::Event, test};

/// An event that a process has committed and not published.
pub(super) fn unpublished(kind: &str, subject: Option<&String>, body: &str) -> OutgoingEvent {
    OutgoingEvent {
        company: "acme".to_owned(),
        id: Uuid::now_v7(),
        kind: kind.to_owned(),
        routing_key: kind.to_owned(),
        source: "/x".to_owned(),
        subject: subject.cloned(),
        time: OffsetDateTime::now_utc(),
        correlation_id: "x".to_owned(),
        trace: TraceContext::default(),
        reply_to: None,
        body: body.as_bytes().to_vec(),
    }
}

/// Inserts events as one batch of another process, which keeps it.
pub(super) async fn insert(app: &TestApp, events: &[OutgoingEvent]) {
    let mut conn = app.pool.acquire().await.unwrap();
    let (batch, owner) = (Uuid::now_v7(), Some(Uuid::now_v7()));
    events::insert(&mut conn, batch, owner, events.to_vec()).await.unwrap();
}

#[apply(test)]
async fn erasure_drops_unpublished_events_about_the_contact(app: &TestApp) {
    let service = app.run(&[]).await;
    for (name, email) in [("Ada", EMAIL), ("Grace", "grace@navy.example")] {
        app.broker.publish(&Event::lead(name).email(email)).await;
    }
    let id = contact_id(app, "acme", EMAIL).await;
    app.broker.hear(2).await;
    app.wait_for_unpublished(0).await;
    let other = contact_id(app, "acme", "grace@navy.example").await;
    let about_her = format!(r#"{{"email": "{EMAIL}"}}"#);
    let rows = [
        &[(Some(&id), "{}"), (None, &about_her), (Some(&other), "{}"), (None, "{}")][..],
        // It goes with its last event.
        &[(Some(&id), "{}")],
    ];
    // More than a page, before and after them.
    let others = async || {
        for _ in 0..25 {
            insert(app, &[unpublished("contact.upserted", Some(&other), "{}")]).await;
        }
    };
    others().await;
    for row in rows {
        let events = row.iter().map(|(subject, body)| unpublished("contact.upserted", *subject, body));
        insert(app, &events.collect::<Vec<_>>()).await;
    }
    others().await;
    let report = erase(app, &id).await;
    assert_eq!(report["removed"]["outboxMessages"], 3);
    app.wait_for_unpublished(52).await;
    assert_eq!(app.rows("effects").await, 51);
    assert_no_trace(&dump(app).await.0);
    assert!(service.log().contains("took over 1 messages"), "contact.erased is published by the sweep");
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
}

/// It may have what must go.
#[apply(test)]
async fn erasure_does_not_pass_over_an_unreadable_row(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    let id = contact_id(app, "acme", EMAIL).await;
    app.broker.hear(1).await;
    app.wait_for_unpublished(0).await;
    insert(app, &[unpublished("contact.upserted", Some(&id), "{}")]).await;
    sqlx::query("UPDATE effects SET body = '\\x00'").execute(&app.pool).await.unwrap();
    let erase = ["contact", "erase", "--company", "acme", id.as_str(), "--yes", "--operator", "grace"];
    let refused = app.cli(&erase).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("(publish) of table effects cannot be read"), "{}", refused.stderr);
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
    let erased = app.cli(&erase).await;
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
}
