//! `publish` and `tail`.

use std::fs;

use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::assert_failed;
use crate::support::{app::TestApp, event::Event, test};

fn lines(bodies: &[Vec<u8>]) -> Vec<u8> {
    bodies.join(b"\n".as_slice())
}

#[apply(test)]
async fn publish_sends_good_lines_and_reports_bad_ones(app: &TestApp) {
    app.run(&[]).await;
    let good =
        [Event::lead("Ada").email("ada@analytical.example"), Event::lead("Grace").email("g@navy.example")];
    let [ada, grace] = good.map(|event| event.bytes());
    let bad =
        [b"Zaphod".to_vec(), b"[1]".to_vec(), b"{\"name\":\"Zaphod".to_vec(), b"{\"a\":\"\xff\"}".to_vec()];
    let windows = [ada.clone(), b"\r".to_vec(), Vec::new()].concat();
    let input = lines(&[
        windows,
        bad[0].clone(),
        b"  ".to_vec(),
        bad[1].clone(),
        bad[2].clone(),
        bad[3].clone(),
        grace,
    ]);
    let partly = app.cli_with_input(&["publish", "-"], &input).await;
    assert_eq!((partly.code, partly.stdout.as_str()), (Some(3), "sent 2, failed 4\n"));
    for line in ["line 2: ", "line 4: ", "line 5: ", "line 6: "] {
        assert!(partly.stderr.contains(line), "{line}: {}", partly.stderr);
    }
    assert!(!partly.stderr.contains("Zaphod"), "{}", partly.stderr);
    app.wait_for_rows("contacts", 2).await;
    let failed = app.cli_with_input(&["publish", "-", "-o", "json"], &lines(&bad)).await;
    let summary: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!((failed.code, summary), (Some(1), json!({"sent": 0, "failed": 4})));
    for nothing in [b"".as_slice(), b"\n \n"] {
        let done = app.cli_with_input(&["publish", "-"], nothing).await;
        assert_eq!(
            (done.code, done.stdout.as_str(), done.stderr.as_str()),
            (Some(0), "sent 0, failed 0\n", "")
        );
    }
    assert_eq!(app.dead_letters().await, []);
}

/// A byte order mark at the start of each file that was joined, CRLF, and UTF-16 as Windows PowerShell's `>` writes it.
#[apply(test)]
async fn publish_reads_files_of_other_programs(app: &TestApp) {
    app.run(&[]).await;
    let events = [("ada", "a"), ("grace", "g"), ("zoé", "z")]
        .map(|(name, at)| Event::lead(name).email(&format!("{at}@navy.example")));
    let [ada, grace, zoe] = events.map(|event| String::from_utf8(event.bytes()).unwrap());
    let joined = format!("\u{feff}{ada}\r\n\u{feff}{grace}\r\n\u{feff}\r\n");
    let utf16: Vec<u8> = format!("\u{feff}{zoe}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, sent) in [(joined.into_bytes(), 2), (utf16, 1)] {
        let file = NamedTempFile::new().unwrap();
        fs::write(&file, bytes).unwrap();
        let done = app.cli(&["publish", file.path().to_str().unwrap()]).await;
        assert_eq!(
            (done.code, done.stdout),
            (Some(0), format!("sent {sent}, failed 0\n")),
            "{}",
            done.stderr
        );
    }
    app.wait_for_rows("contacts WHERE name IN ('ada', 'grace', 'zoé')", 3).await;
    assert_eq!(app.dead_letters().await, []);
}

/// A copy that was cut in the middle of a character.
#[apply(test)]
async fn publish_sends_the_whole_lines_of_a_broken_file(app: &TestApp) {
    app.run(&[]).await;
    let event = String::from_utf8(Event::lead("Ada").email("a@navy.example").bytes()).unwrap();
    let text = format!("\u{feff}{event}\r\n{event}");
    let mut bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.pop();
    let cut = app.cli_with_input(&["publish", "-"], &bytes).await;
    assert_eq!((cut.code, cut.stdout.as_str()), (Some(3), "sent 1, failed 1\n"), "{}", cut.stderr);
    assert!(cut.stderr.contains("line 2: not sent: not UTF-8"), "{}", cut.stderr);
    app.wait_for_rows("contacts", 1).await;
}

#[apply(test)]
async fn event_may_be_spelled_as_other_languages_do(app: &TestApp) {
    app.run(&[]).await;
    let event = |at: usize| Event::lead("Ada").email(&format!("{at}@navy.example"));
    let arguments = |at: usize| format!(r#"{{"name": "Ada", "email": "{at}@navy.example"}}"#);
    let sent = app.receiver.url("/sent");
    let webhook =
        json!({"type": "WEBHOOK", "url": sent, "method": "", "headers": {"X-Lead": "$name"}, "name": null});
    let not_a_number = event(7).with("/data/clientData", json!({"score": 0.125}));
    let plain = |event: &Event| String::from_utf8(event.bytes()).unwrap();
    let events = [
        plain(&event(1).with("/specversion", 1.0.into())),
        plain(&event(2).with("/time", "2026-11-22 10:00:00+0000".into())),
        plain(&event(3).with("/data/arguments", arguments(3).into())),
        plain(&event(4).with("/data/session", "".into()).with("/data/images", json!([null]))),
        plain(&event(5).with("/data/trigger/actions/0/phone", Value::Null)),
        plain(&event(6).action(webhook)),
        plain(&not_a_number).replacen("0.125", "NaN", 1),
    ];
    let input: Vec<Vec<u8>> = events.iter().map(|event| event.clone().into_bytes()).collect();
    let done = app.cli_with_input(&["publish", "-"], &lines(&input)).await;
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "sent 7, failed 0\n"), "{}", done.stderr);
    app.wait_for_rows("contacts WHERE name = 'Ada'", 7).await;
    assert_eq!(app.webhooks(1).await.remove(0).header("x-lead"), Some("Ada"));
    assert_eq!(app.dead_letters().await, []);
}

#[apply(test)]
async fn publish_sends_every_line_of_a_file(app: &TestApp) {
    app.broker.declare().await;
    let events: Vec<Vec<u8>> = (0..1_200).map(|n| Event::lead("Ada").id(&format!("{n}")).bytes()).collect();
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, lines(&events)).unwrap();
    let done = app.cli(&["publish", file.path().to_str().unwrap(), "-o", "ndjson"]).await;
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "{\"sent\":1200,\"failed\":0}\n"));
    assert_eq!(done.stderr, "", "no progress bar without a terminal");
    assert_eq!(app.broker.depth("trigger-fired").await, 1_200);
    let message = app.broker.take("trigger-fired").await;
    let properties = &message.properties;
    assert_eq!(message.data, events[0]);
    assert_eq!((properties.delivery_mode(), message.routing_key.as_str()), (&Some(2), "trigger.fired"));
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "0");
    app.broker.purge("trigger-fired").await;
}

#[apply(test)]
async fn publish_fails_without_a_queue_or_exchange(app: &TestApp) {
    let input = Event::lead("Ada").bytes();
    // The platform has declared the exchange, but no queue is bound.
    let unrouted = app.cli_with_input(&["publish", "-"], &input).await;
    assert_eq!((unrouted.code, unrouted.stdout.as_str()), (Some(1), "sent 0, failed 1\n"));
    assert!(unrouted.stderr.contains("line 1: no queue"), "{}", unrouted.stderr);
    let namespace = format!("{}.other", app.setting("amqp.namespace"));
    app.set("amqp.namespace", &namespace);
    for arguments in [["publish", "-"].as_slice(), &["tail"]] {
        assert_failed(&app.cli_with_input(arguments, &input).await, 1, "there is no exchange");
    }
}

#[apply(test)]
async fn closed_output_does_not_change_the_exit_code(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").phone("12")).await;
    let dead = app.wait_for_dead_letter().await.id.to_string();
    for arguments in [
        ["config", "example"].as_slice(),
        &["config", "show"],
        &["--help"],
        &["dead-letter", "list"],
        &["dead-letter", "list", "-o", "ndjson"],
        &["dead-letter", "show", &dead],
        &["dead-letter", "replay", &dead, "--yes"],
    ] {
        let ended = app.cli_unheard(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    app.the_dead_letter("replayed", |dead| dead.replays == 1 && dead.state == "open").await;
    // The exit code still reports the outcome.
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, lines(&[Event::lead("Ada").bytes(), b"nonsense".to_vec()])).unwrap();
    assert_eq!(app.cli_unheard(&["publish", file.path().to_str().unwrap()]).await.code, Some(3));
    app.wait_for_rows("contacts", 1).await;
}

#[apply(test)]
async fn tail_stops_after_n_events(app: &TestApp) {
    let event = json!({"type": "contact.merged", "time": "t", "z": 1, "a": "\u{1b}[2J"}).to_string();
    for (format, expected) in [("ndjson", 2), ("table", 3), ("json", 14)] {
        let arguments = ["tail", "--key", "contact.merged", "-n", "2", "-o", format];
        let tail = app.cli(&arguments);
        tokio::pin!(tail);
        // `tail` misses what is published before it subscribes, so publishing continues.
        let ended = loop {
            tokio::select! {
                ended = &mut tail => break ended,
                () = app.broker.publish_bytes("contact.merged", event.as_bytes(), BasicProperties::default()) => {}
            }
        };
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{format}");
        assert_eq!(ended.stdout.lines().count(), expected, "{format}: {}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
        if format == "ndjson" {
            assert!(ended.stdout.lines().all(|line| line == event), "{}", ended.stdout);
        }
        if format == "json" {
            let list: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
            assert!(list.len() == 2 && list.iter().all(|one| one["z"] == 1), "{}", ended.stdout);
        }
    }
    let none = app.cli(&["tail", "-n", "0"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""));
    assert_eq!(app.cli(&["tail", "-n", "0", "-o", "json"]).await.stdout, "[]\n");
    app.broker.purge("test-subscriber").await;
}
