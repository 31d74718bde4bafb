//! Personal data and secrets appear in no log line, health report or process list, under any filter and in any
//! failure.

mod operators;

use std::fs;

use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::json;

use crate::support::{app::TestApp, event::Event, eventually, test};

/// Logs everything, including libraries by their module names.
const FILTER: &str = "trace,lapin=trace,lapin::channel=trace,lapin::io_loop=trace,lapin::returned_messages=trace,\
                      sqlx::query=trace,hyper_util::client=trace,rustls::client=trace,contact_relay=trace";

/// Parts of the personal data and secrets in these events and settings. Nothing else contains them.
const MARKERS: [&str; 12] = [
    "Zaphod",
    "987651234",
    "heart-of-gold",
    "31415926535",
    "interest-marker",
    "client-marker",
    "Bearer-marker",
    "path-marker",
    "password-marker",
    "token-marker",
    "c2lnbmluZy1tYXJrZXItc2lnbmluZy1tYXJrZXI",
    "header-marker",
];

fn leaked(text: &str) -> Vec<&'static str> {
    MARKERS.into_iter().filter(|marker| text.contains(marker)).collect()
}

fn set_up(app: &TestApp, format: &str) {
    app.set("log.filter", FILTER);
    app.set("log.format", format);
    app.set("http.tokens", "ci:operator:token-marker");
    app.set("webhook.signing_secrets", "whsec_c2lnbmluZy1tYXJrZXItc2lnbmluZy1tYXJrZXI=");
    let url = app.setting("postgres.url").replace("postgres@", "postgres:password-marker@");
    app.set("postgres.url", &url);
}

fn event(app: &TestApp) -> Event {
    let url = app.receiver.url("/ok/path-marker?name=$name");
    Event::lead("Zaphod")
        .phone("+55 11 987651234")
        .email("zb@heart-of-gold.example")
        .argument("identity", "31415926535")
        .argument("interest", "interest-marker")
        .with("/data/clientData", json!({"plan": "client-marker"}))
        .action(json!({"type": "WEBHOOK", "url": url, "headers": [{"key": "Authorization", "value": "Bearer-marker"}]}))
}

/// Causes each success and each failure once.
async fn everything(app: &TestApp) {
    let event = event(app);
    let properties = event.properties().with_headers(
        [("x-note".into(), lapin::types::AMQPValue::LongString("header-marker".into()))]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
            .into(),
    );
    app.broker.publish_bytes("trigger.fired", &event.bytes(), properties).await;
    let again = |id: &str| event.clone().id(id);
    let webhook = |path: &str| {
        let url = app.receiver.url(&format!("{path}/path-marker/$email"));
        again(path).webhook(&url)
    };
    app.broker
        .publish_all(&[
            again(event.event_id()).argument("name", "Zaphod B."),
            again("phone").phone("987651234 at night").without("/data/arguments/email"),
            again("schema").with("/data/trigger/parameters/properties/interest", json!({"enum": ["x"]})),
            again("line break").argument("name", "Zaphod\nx").webhook("https://$name.heart-of-gold.example/"),
            again("blocked").webhook("https://10.1.2.3/path-marker?$name"),
            again("refused").webhook("http://127.0.0.1:1/path-marker/$name"),
            again("unknown host").webhook("https://path-marker.invalid/$name"),
            webhook("/status/404"),
            webhook("/status/503"),
            webhook("/redirect"),
        ])
        .await;
    app.broker.publish_bytes("trigger.fired", b"Zaphod is no JSON", BasicProperties::default()).await;
    let expires = event.properties().with_expiration("0".into());
    app.broker.publish_bytes("trigger.fired", &again("expires").bytes(), expires).await;
    app.webhooks(1).await;
    app.wait_for_deliveries("pending", 0).await;
    eventually("all kinds are there", async || {
        let reasons = "SELECT count(DISTINCT reason) FROM dead_letters";
        (app.count(reasons).await >= 8).then_some(())
    })
    .await;
}

/// The command lines of all processes, except those that end meanwhile.
fn process_list() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect::<Vec<_>>().join("\n")
}

async fn assert_logs_are_clean(app: &TestApp, format: &str) {
    set_up(app, format);
    let service = app.run(&[]).await;
    everything(app).await;
    for path in ["/readyz", "/healthz", "/Zaphod", "/metrics"] {
        let answer = service.get(path).await.unwrap_or_default();
        assert_eq!(leaked(&answer), [""; 0], "{path} says {answer}");
        assert!(path != "/metrics" || answer.contains("contact_relay_events_total"), "{answer}");
    }
    assert_eq!(leaked(&process_list()), [""; 0]);
    let log = service.log();
    assert!(log.contains("DEBUG"), "the filter is not in effect: {log}");
    let bad: Vec<&str> = log.lines().filter(|line| !leaked(line).is_empty()).collect();
    assert!(bad.is_empty(), "{} lines, the first: {}", bad.len(), bad[0]);
    if format == "json" {
        let bad = log.lines().find(|line| serde_json::from_str::<serde_json::Value>(line).is_err());
        assert_eq!(bad, None, "not JSON");
    }
    let messages = app.dead_letters().await.into_iter().map(|dead| dead.message).collect::<Vec<_>>();
    assert_eq!(leaked(&messages.join("\n")), [""; 0], "{messages:?}");
}

#[apply(test)]
async fn text_logs_hold_no_personal_data(app: &TestApp) {
    assert_logs_are_clean(app, "text").await;
}

#[apply(test)]
async fn json_logs_hold_no_personal_data(app: &TestApp) {
    assert_logs_are_clean(app, "json").await;
}

#[apply(test)]
async fn commands_log_no_personal_data(app: &TestApp) {
    set_up(app, "text");
    app.broker.declare().await;
    let lines = [event(app).bytes(), b"{Zaphod".to_vec(), b"Zaphod".to_vec()].join(b"\n".as_slice());
    let published = app.cli_with_input(&["publish", "-"], &lines).await;
    assert_eq!((published.code, leaked(&published.stderr)), (Some(3), vec![]), "{}", published.stderr);
    app.run(&[]).await;
    app.webhooks(1).await;
    app.broker.publish(&event(app).phone("Zaphod").without("/data/arguments/email")).await;
    app.wait_for_dead_letter().await;
    for arguments in [
        ["dead-letter", "list", "--all-is-none"].as_slice(),
        &["dead-letter", "list"],
        &["dead-letter", "replay", "--all", "--yes"],
        &["config", "show"],
        &["config", "check"],
        &["migrate", "--check"],
    ] {
        let ended = app.cli(arguments).await;
        let text = ended.stdout + &ended.stderr;
        assert_eq!(leaked(&text), [""; 0], "{arguments:?}: {text}");
    }
    let found =
        app.cli_with_input(&["contact", "find", "--company", "acme", "--phone", "-"], b"+5511987651234\n");
    let found = found.await;
    assert_eq!((found.code, leaked(&found.stderr)), (Some(0), vec![]));
    assert!(found.stdout.contains("Zaphod") && !found.stdout.contains("31415926535"), "{}", found.stdout);
}
