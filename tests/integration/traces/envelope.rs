//! The trace in the envelope of an event (CloudEvents, distributed tracing extension), and what is kept of a trace.

use macro_rules_attribute::apply;

use super::{PARENT, TRACE, collector::Collector, ids, lead, publish};
use crate::support::{app::TestApp, event::Event, test};

/// Another trace, and a span of it.
const BEGAN: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const FIRST: &str = "00f067aa0ba902b7";

/// The event with a trace of its own.
fn traced(event: Event, flags: &str) -> Event {
    event
        .with("/traceparent", format!("00-{BEGAN}-{FIRST}-{flags}").into())
        .with("/tracestate", "congo=t61rcWkgMzE".into())
}

/// The id of the trace of each step in the ledger, by event.
async fn ledger(app: &TestApp) -> Vec<(String, Option<String>)> {
    let rows = "SELECT event_id, replace(trace_id::text, '-', '') FROM trigger_events ORDER BY event_id";
    sqlx::query_as(rows).fetch_all(&app.pool).await.unwrap()
}

#[apply(test)]
async fn trace_of_the_envelope_is_continued(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    let event = traced(lead("ada").id("e1").webhook(&app.receiver.url("/ok")), "01");
    app.broker.publish(&event).await;
    let attempt = collector.span("webhook attempt").await;
    let upsert = collector.span("upsert").await;
    assert_eq!((upsert.trace.as_str(), upsert.parent.as_str()), (BEGAN, FIRST));
    assert_eq!((attempt.trace.as_str(), &attempt.parent), (BEGAN, &upsert.id));
    let webhooks = app.webhooks(1).await;
    assert_eq!(webhooks[0].header("tracestate"), Some("congo=t61rcWkgMzE"));
    assert_eq!(ids(webhooks[0].header("traceparent").unwrap()).0, BEGAN);
    assert_eq!(ledger(app).await, [("e1".to_owned(), Some(BEGAN.to_owned()))]);
    let found =
        app.json(&["contact", "find", "--company", "acme", "--email", "ada@analytical.example"]).await;
    let id = found[0]["id"].as_str().unwrap_or_else(|| panic!("{found}"));
    let history = app.json(&["contact", "history", "--company", "acme", id]).await;
    assert_eq!(history[0]["traceId"], BEGAN, "{history}");
}

/// The headers name the last one who passed the event on, and so the cause of its processing.
#[apply(test)]
async fn trace_of_the_headers_comes_before_that_of_the_envelope(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    publish(app, &traced(lead("ada").id("e1"), "00"), "01").await;
    let upsert = collector.span("upsert").await;
    assert_eq!((upsert.trace.as_str(), upsert.parent.as_str()), (TRACE, PARENT));
    assert_eq!(ledger(app).await, [("e1".to_owned(), Some(TRACE.to_owned()))]);
}

/// A proxy may add the extension, and a publisher that tries again may begin another trace.
#[apply(test)]
async fn event_that_comes_again_with_another_trace_is_the_same_event(app: &TestApp) {
    app.run(&[]).await;
    let event = lead("ada").id("e1");
    app.broker.publish(&event).await;
    app.wait_for_rows("applied_events", 1).await;
    app.broker.publish(&traced(event.clone(), "01")).await;
    app.broker.publish(&event.with("/traceparent", 5.into())).await;
    app.broker.publish(&traced(lead("grace").id("e2"), "01")).await;
    app.wait_for_rows("applied_events", 2).await;
    app.assert_settled().await;
    assert_eq!(app.rows("dead_letters").await, 0);
    // Without traces of its own, the service keeps those that it is given.
    assert_eq!(ledger(app).await, [("e1".to_owned(), None), ("e2".to_owned(), Some(BEGAN.to_owned()))]);
}

#[apply(test)]
async fn dead_letters_of_both_stages_keep_their_trace(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&traced(Event::lead("Ada").phone("12"), "00")).await;
    publish(app, &lead("grace").webhook(&app.receiver.url("/status/404")), "00").await;
    app.wait_for_rows("dead_letters", 2).await;
    for dead in app.dead_letters().await {
        let shown = app.json(&["dead-letter", "show", &dead.id.to_string()]).await;
        let expected = if dead.stage == "upsert" { BEGAN } else { TRACE };
        assert_eq!(shown["traceId"], expected, "{shown}");
    }
}
