//! The alert rules in `deploy/prometheus` are those of the runbook.

use std::{fmt::Write as _, fs};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/alerts.yml");

const HEAD: &str = "\
# The alerts of docs/runbook.md as rules for Prometheus: `promtool check rules alerts.yml`.
# Generated from there; a test compares them. REWRITE_DOCS=1 cargo test --lib alert_rules rewrites this file.

groups:
  - name: contact-relay
    rules:
";

/// The cells of the rows of the table of alerts.
fn alerts() -> Vec<Vec<String>> {
    let section = RUNBOOK.split("\n## ").find(|section| section.starts_with("Alerts")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.skip(1)
        .map(|row| row.replace("\\|", "\0").split(" | ").map(|cell| cell.replace('\0', "|")).collect())
        .collect()
}

/// The text of Markdown: without code marks and with links as their text.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let (label, after) = link.split_once("](").unwrap();
        text.push_str(before);
        text.push_str(label);
        rest = after.split_once(')').unwrap().1;
    }
    text.push_str(rest);
    text.replace('`', "")
}

/// The name of an alert, such as `ContactRelayEventsWait`.
fn name(alert: &str) -> String {
    let capitals = alert.split(' ').map(|word| word[..1].to_uppercase() + &word[1..]);
    ["ContactRelay".to_owned()].into_iter().chain(capitals).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn alert_rules_are_those_of_the_runbook() {
    let mut rules = HEAD.to_owned();
    for row in alerts() {
        let [alert, condition, time, means, action] = row.as_slice() else { panic!("{row:?}") };
        let condition = condition.strip_prefix('`').and_then(|code| code.strip_suffix('`')).unwrap();
        let time = if time == "0" { "0m".to_owned() } else { time.replace(' ', "") };
        let _ = writeln!(
            rules,
            "      - alert: {}\n        expr: {}\n        for: {time}\n        annotations:\n          summary: {}\n          \
             description: {}\n          action: {}",
            name(alert),
            quoted(condition),
            quoted(alert),
            quoted(&plain(means)),
            quoted(&plain(action)),
        );
    }
    if std::env::var_os("REWRITE_DOCS").is_some() {
        fs::write(RULES, &rules).unwrap();
    }
    let written = fs::read_to_string(RULES).unwrap_or_default();
    assert!(written == rules, "out of date: REWRITE_DOCS=1 cargo test --lib alert_rules");
}
