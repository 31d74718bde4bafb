//! All metrics together: their series, and the page that describes them.

use std::{collections::BTreeSet, fs};

use super::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

/// The series of a text, with their labels.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn metrics_page_is_generated_from_the_code() {
    let document = Metrics::new().document();
    if std::env::var_os("REWRITE_DOCS").is_some() {
        fs::write(PAGE, &document).unwrap();
    }
    let page = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(page == document, "docs/metrics.md is out of date: REWRITE_DOCS=1 cargo test --lib metrics");
}

#[test]
fn page_names_each_metric() {
    let metrics = Metrics::new();
    let (text, document) = (metrics.write(Format::Prometheus), metrics.document());
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in names {
        let kind = if name.ends_with("_info") { "info" } else { kind };
        assert!(document.contains(&format!("| `{name}` | {kind} |")), "{name} is not on the page");
    }
}

#[test]
fn all_series_exist_from_the_start() {
    let metrics = Metrics::new();
    let before = series(&metrics.write(Format::OpenMetrics));
    assert!(before.contains(r#"contact_relay_events_total{stage="upsert",outcome="applied"}"#), "{before:?}");
    metrics.events.add(Ending::Applied, 7);
    metrics.confirms.observe((), 0.2);
    metrics.attempts.add((Class::Dns, Status::None), 1);
    metrics.room_used.watch(Room::Outbox, || Some(1.0));
    metrics.settled.add((Stage::Webhook, Reason::WebhookExhausted, Settled::Discarded), 1);
    let text = metrics.write(Format::OpenMetrics);
    assert_eq!(series(&text), before);
    for sample in [
        r#"contact_relay_events_total{stage="upsert",outcome="applied"} 7"#,
        r#"contact_relay_publish_confirm_seconds_bucket{le="0.1"} 0"#,
        r#"contact_relay_publish_confirm_seconds_bucket{le="0.25"} 1"#,
        "contact_relay_publish_confirm_seconds_count 1",
        r#"contact_relay_webhook_attempts_total{class="dns",status="none"} 1"#,
        r#"contact_relay_room_used_bytes{room="outbox"} 1.0"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "no {sample} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}
