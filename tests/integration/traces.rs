//! Traces over OTLP, as a collector receives them.

mod collector;
mod envelope;
mod requests;

use lapin::types::{AMQPValue, FieldTable};
use macro_rules_attribute::apply;

use self::collector::{Collector, Span};
use crate::support::{app::TestApp, event::Event, eventually, http::Ask, process::Process, test};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn lead(name: &str) -> Event {
    Event::lead(name).email(&format!("{name}@analytical.example"))
}

/// Publishes the event with a `traceparent` of these flags.
async fn publish(app: &TestApp, event: &Event, flags: &str) {
    let mut headers = FieldTable::default();
    let traceparent = format!("00-{TRACE}-{PARENT}-{flags}");
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    let properties = event.properties().with_headers(headers);
    app.broker.publish_bytes("trigger.fired", &event.bytes(), properties).await;
}

/// The ids of a trace and a span, from a `traceparent`.
fn ids(traceparent: &str) -> (String, String) {
    let parts: Vec<&str> = traceparent.split('-').collect();
    (parts[1].to_owned(), parts[2].to_owned())
}

async fn logs(process: &Process, text: &str) {
    eventually(&format!("the log says {text}"), async || process.log().contains(text).then_some(())).await;
}

#[apply(test)]
async fn one_trace_links_trigger_upsert_publish_and_attempts(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    let event = lead("ada").webhook(&app.receiver.url("/status/503/1"));
    publish(app, &event, "01").await;
    let attempts = collector.spans("webhook attempt", 2).await;
    let upsert = collector.span("upsert").await;
    assert_eq!((upsert.trace.as_str(), upsert.parent.as_str()), (TRACE, PARENT));
    assert_eq!((upsert.text("company.id"), upsert.error()), ("acme".into(), None));
    let publish = collector.span("publish contact.upserted").await;
    for span in attempts.iter().chain([&publish]) {
        assert_eq!((&span.trace, &span.parent), (&upsert.trace, &upsert.id), "{span:?}");
    }
    let outcomes: Vec<_> =
        attempts.iter().map(|span| (span.text("http.response.status_code"), span.error())).collect();
    assert_eq!(outcomes, [("503".to_owned(), Some("http_status".to_owned())), ("200".to_owned(), None)]);
    let batch = collector.span("upsert batch").await;
    assert_eq!(batch.links, [(upsert.trace.clone(), upsert.id.clone())]);
    assert!(batch.trace != upsert.trace && batch.parent.is_empty(), "{batch:?}");
    let heard = app.broker.upserted(&event).await.header("traceparent").unwrap();
    assert_eq!(ids(&heard), (TRACE.to_owned(), publish.id));
    let sent: Vec<_> =
        app.webhooks(2).await.iter().map(|one| ids(one.header("traceparent").unwrap())).collect();
    let expected: Vec<_> = attempts.iter().map(|span| (TRACE.to_owned(), span.id.clone())).collect();
    assert_eq!(sent, expected, "each attempt is the parent of what the receiver does");
}

#[apply(test)]
async fn replays_have_a_span_in_the_trace_of_their_event(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    let refused = Event::lead("Ada").phone("12");
    publish(app, &refused, "01").await;
    // These come without a trace.
    app.broker.publish(&lead("grace").webhook(&app.receiver.url("/status/404/1"))).await;
    app.broker.publish_bytes("trigger.fired", b"no JSON", refused.properties()).await;
    app.wait_for_rows("dead_letters", 3).await;
    collector.spans("upsert", 3).await;
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let operations = app.json(&["operation", "list"]).await;
    let operation = operations[0]["id"].as_str().unwrap();
    let attempts = collector.spans("webhook attempt", 2).await;
    let upserts = collector.spans("upsert", 5).await;
    let replays = collector.spans("replay", 3).await;
    for dead in app.dead_letters().await {
        let id = dead.id.to_string();
        let replay = replays.iter().find(|span| span.text("dead_letter.id") == id).unwrap();
        assert_eq!((replay.text("operation.id").as_str(), replay.error()), (operation, None), "{replay:?}");
        let of_trace: Vec<&Span> = upserts.iter().filter(|span| span.trace == replay.trace).collect();
        if dead.stage == "webhook" {
            let [root] = of_trace.as_slice() else { panic!("{of_trace:?}") };
            assert_eq!((&replay.parent, root.parent.as_str()), (&root.id, ""));
            for attempt in &attempts {
                assert_eq!((&attempt.trace, &attempt.parent), (&root.trace, &root.id));
            }
            continue;
        }
        let [first, again] = of_trace.as_slice() else { panic!("{of_trace:?}") };
        assert_eq!(again.text("dead_letter.id"), id);
        assert_eq!(again.parent, replay.id, "what it does follows from the replay");
        assert_eq!(again.error(), first.error());
        let is_given = dead.reason == "identifier_invalid";
        let parent = if is_given { PARENT } else { "" };
        assert_eq!((first.parent.as_str(), replay.parent.as_str()), (parent, parent));
        assert_eq!(replay.trace == TRACE, is_given);
    }
}

/// Planned over the API, a replay is the work of a process of the service.
#[apply(test)]
async fn replays_by_the_service_have_a_span(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.set("http.tokens", "edna:editor:tok-e");
    let process = app.run(&[]).await;
    publish(app, &Event::lead("Ada").phone("12"), "01").await;
    app.wait_for_rows("dead_letters", 1).await;
    let plan = serde_json::json!({"action": "replay", "filter": {"company": "acme"}});
    let planned = process.ask(Ask::post("/api/v1/operations", &plan).token("tok-e")).await.json();
    let id = planned["id"].as_str().unwrap_or_else(|| panic!("{planned}"));
    let run = Ask::post(&format!("/api/v1/operations/{id}/run"), &serde_json::json!({}));
    let run = process.ask(run.token("tok-e")).await;
    assert_eq!(run.status, 200, "{run:?}");
    let replay = collector.span("replay").await;
    assert_eq!((replay.trace.as_str(), replay.text("operation.id").as_str()), (TRACE, id));
    let again = collector.spans("upsert", 2).await.remove(1);
    assert_eq!(again.parent, replay.id);
}

#[apply(test)]
async fn an_event_without_a_trace_always_gets_the_same_one(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    let event = Event::lead("Ada").phone("12");
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.broker.publish(&event).await;
    let spans = collector.spans("upsert", 2).await;
    assert_eq!(spans[0].trace, spans[1].trace);
    assert_ne!(spans[0].id, spans[1].id);
}

#[apply(test)]
async fn traces_are_sampled_by_their_flag_or_the_ratio(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.set("telemetry.sample_ratio", "0");
    app.run(&[]).await;
    let event = |name: &str| lead(name).webhook(&app.receiver.url(&format!("/{name}")));
    app.broker.publish(&event("without")).await;
    publish(app, &event("unsampled"), "00").await;
    app.webhooks(2).await;
    publish(app, &event("sampled"), "01").await;
    collector.span("webhook attempt").await;
    app.assert_settled().await;
    let spans = collector.all();
    assert_eq!(spans.iter().filter(|span| span.name == "upsert").count(), 1, "{spans:?}");
    assert!(spans.iter().all(|span| span.trace == TRACE || span.name == "upsert batch"), "{spans:?}");
    let headers = app.receiver.requests();
    let unsampled = headers.iter().find(|one| one.path == "/unsampled").unwrap();
    let passed_on = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(unsampled.header("traceparent"), Some(passed_on.as_str()), "passed on as it came");
}

#[apply(test)]
async fn a_collector_that_hangs_stops_nothing(app: &TestApp) {
    let collector = Collector::at(app, "/hang").await;
    let process = app.run(&[]).await;
    app.broker
        .publish_all(&[1, 2, 3].map(|n| lead(&format!("ada-{n}")).webhook(&app.receiver.url("/ok"))))
        .await;
    app.webhooks(3).await;
    app.wait_for_deliveries("delivered", 3).await;
    collector.is_asked().await;
    app.broker.publish(&lead("grace").webhook(&app.receiver.url("/ok"))).await;
    app.webhooks(4).await;
    // It stops in order, and counts what nobody took.
    app.assert_settled().await;
    assert!(
        process.log().contains("spans were exported") || process.log().contains("could not export"),
        "{}",
        process.log()
    );
}

#[apply(test)]
async fn a_collector_that_refuses_is_reported_once(app: &TestApp) {
    let collector = Collector::at(app, "/status/401/2").await;
    let process = app.run(&[]).await;
    for name in ["ada", "grace", "mary"] {
        let before = collector.requests();
        app.broker.publish(&lead(name)).await;
        eventually("the collector is asked", async || (collector.requests() > before).then_some(())).await;
    }
    logs(&process, "the collector takes traces again").await;
    let log = process.log();
    assert_eq!(log.matches("could not export traces").count(), 1, "{log}");
    let metrics = process.get("/metrics").await.unwrap();
    let failed =
        metrics.lines().find_map(|line| line.strip_prefix(r#"contact_relay_spans_total{outcome="failed"} "#));
    assert!(failed.unwrap().parse::<f64>().unwrap() >= 2.0, "{metrics}");
}

#[apply(test)]
async fn messages_that_the_broker_dead_letters_join_their_trace(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    app.stop().await;
    let event = lead("ada");
    let traceparent = AMQPValue::LongString(format!("00-{TRACE}-{PARENT}-01").into());
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), traceparent);
    let properties = event.properties().with_headers(headers).with_expiration("0".into());
    app.broker.publish_bytes("trigger.fired", &event.bytes(), properties).await;
    app.run(&[]).await;
    let span = collector.span("collect dead letter").await;
    assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, PARENT));
    assert_eq!(span.error().as_deref(), Some("broker"));
}

/// The texts in a span: names, and the values of attributes.
fn texts(span: &Span) -> Vec<&str> {
    span.attributes.values().map(String::as_str).chain([span.name.as_str()]).collect()
}

#[apply(test)]
async fn spans_hold_ids_and_closed_lists_only(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.run(&[]).await;
    let url = app.receiver.url("/ok/path-secret?token=$email");
    app.broker.publish(&lead("zaphod").webhook(&url)).await;
    app.broker
        .publish(
            &lead("zaphod").with("/id", "zaphod@id".into()).phone("zaphod").without("/data/arguments/email"),
        )
        .await;
    collector.span("webhook attempt").await;
    collector.spans("upsert", 2).await;
    for span in collector.all() {
        for text in texts(&span) {
            assert!(
                !["zaphod", "secret", "http:", "@", "127.0.0.1"].iter().any(|bad| text.contains(bad)),
                "{span:?}"
            );
        }
    }
}
