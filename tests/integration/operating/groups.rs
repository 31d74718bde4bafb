//! Groups of dead letters with the same cause, their notes, and the filters of listings.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{assert_refused, audited, parsed, refused};
use crate::support::{app::TestApp, event::Event, test};

async fn groups(app: &TestApp, options: &[&str]) -> Vec<Value> {
    app.json(&[&["dead-letter", "groups"], options].concat()).await.as_array().expect("a list").clone()
}

/// Two causes in worker 1, one of which two companies have, and two endpoints that fail, one of them twice.
async fn six(app: &TestApp) {
    app.run(&[]).await;
    let webhook = |id: &str, path: &str| Event::bare().id(id).webhook(&app.receiver.url(path));
    let events = [
        refused("Ada"),
        refused("Bob").company("b"),
        Event::lead("Ada").argument("interest", 7),
        webhook("1", "/status/404"),
        webhook("2", "/status/404"),
        webhook("3", "/status/400"),
    ];
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 6).await;
}

#[apply(test)]
async fn groups_count_what_has_the_same_cause(app: &TestApp) {
    six(app).await;
    let all = groups(app, &[]).await;
    let mut counts: Vec<(&str, i64)> =
        all.iter().map(|row| (row["reason"].as_str().unwrap(), row["count"].as_i64().unwrap())).collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [
            ("arguments_invalid", 1),
            ("identifier_invalid", 2),
            ("webhook_rejected", 1),
            ("webhook_rejected", 2)
        ]
    );
    let times: Vec<&str> = all.iter().map(|row| row["lastSeenAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    for row in &all {
        // The dead letters of a group are those with its signature.
        let signature = row["signature"].as_str().unwrap();
        let listed = app.json(&["dead-letter", "list", "--signature", signature]).await;
        assert_eq!(
            listed.as_array().unwrap().len(),
            usize::try_from(row["count"].as_i64().unwrap()).unwrap()
        );
        let seen = |member: &str| {
            listed
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row[member].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(row["firstSeenAt"].as_str(), seen("firstSeenAt").iter().min().map(String::as_str));
        assert_eq!(row["lastSeenAt"].as_str(), seen("lastSeenAt").iter().max().map(String::as_str));
    }
}

#[apply(test)]
async fn groups_are_filtered_by_what_they_have_in_common(app: &TestApp) {
    six(app).await;
    let all = groups(app, &[]).await;
    let webhook = all.iter().find(|row| row["count"] == 2 && row["stage"] == "webhook").unwrap();
    let endpoint = webhook["endpointId"].as_str().unwrap();
    for (options, expected) in [
        (vec!["--company", "b"], 1),
        (vec!["--company", "nobody"], 0),
        (vec!["--stage", "webhook"], 2),
        (vec!["--reason", "arguments_invalid"], 1),
        (vec!["--trigger", "register_lead"], 4),
        (vec!["--endpoint", endpoint], 1),
        (vec!["--text", "ANSWERED 404"], 1),
        (vec!["--text", "nowhere"], 0),
        (vec!["--since", "1h"], 4),
        (vec!["--until", "1h"], 0),
        (vec!["--stage", "webhook", "--limit", "1"], 1),
    ] {
        assert_eq!(groups(app, &options).await.len(), expected, "{options:?}");
    }
    // A settled dead letter does not count.
    app.json(&["dead-letter", "discard", "--reason", "identifier_invalid", "--yes"]).await;
    assert_eq!(groups(app, &[]).await.len(), 3);
    for (option, value) in [("--state", "open"), ("--event", "1")] {
        assert_refused(&app.cli(&["dead-letter", "groups", option, value]).await, 2, option);
    }
}

#[apply(test)]
async fn groups_come_in_pages(app: &TestApp) {
    app.run(&[]).await;
    let events: Vec<Event> =
        ["a", "b", "c"].map(|name| refused("Ada").with("/data/trigger/name", name.into())).to_vec();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 3).await;
    let (all, mut seen, mut after) = (groups(app, &[]).await, Vec::new(), Vec::new());
    for _ in 0..3 {
        let options = [
            vec!["dead-letter", "groups", "--limit", "1", "-o", "json"],
            after.iter().map(String::as_str).collect(),
        ];
        let page = app.cli(&options.concat()).await;
        seen.extend(parsed(&page).as_array().unwrap().clone());
        let cursor = page.stderr.split_once("--after ").map(|(_, cursor)| cursor.trim().to_owned());
        after = cursor.map_or_else(Vec::new, |cursor| vec!["--after".to_owned(), cursor]);
    }
    assert_eq!((seen, after), (all, vec![]));
}

#[apply(test)]
async fn texts_in_filters_have_no_special_meaning(app: &TestApp) {
    app.run(&[]).await;
    let odd = r#"100%_of 'it'; "x" \ --"#;
    app.broker.publish_all(&[refused("Ada").with("/data/trigger/name", odd.into()), refused("Bob")]).await;
    app.wait_for_rows("dead_letters", 2).await;
    for (option, text, expected) in [
        ("--trigger", odd, 1),
        ("--trigger", "100%", 0),
        ("--trigger", "%", 0),
        ("--text", odd, 1),
        ("--text", "100%_OF 'IT'", 1),
        ("--text", "%", 1),
        ("--text", "_of", 1),
        ("--text", "\\", 1),
        ("--text", "100__of", 0),
        ("--text", "' OR 1=1 --", 0),
        ("--text", "REGISTER_LEAD", 1),
        ("--event", "%", 0),
        ("--company", "acm_", 0),
        ("--company", "'; DROP TABLE dead_letters; --", 0),
        ("--endpoint", "00000000-0000-0000-0000-000000000000", 0),
    ] {
        for command in ["list", "groups"] {
            if (command, option) == ("groups", "--event") {
                continue;
            }
            let rows = app.json(&["dead-letter", command, option, text]).await;
            assert_eq!(rows.as_array().unwrap().len(), expected, "{command} {option} {text}");
        }
        let plan = app.json(&["dead-letter", "discard", option, text, "--dry-run"]).await;
        assert_eq!(plan["count"], expected, "{option} {text}");
    }
    let (long, short) = ("x".repeat(10_000), "x".repeat(200));
    assert_eq!(app.json(&["dead-letter", "list", "--text", &short]).await, json!([]));
    assert_eq!(app.json(&["dead-letter", "list", "--trigger", &long]).await, json!([]));
    for (option, bad) in [
        ("--text", long.as_str()),
        ("--text", ""),
        ("--text", "a\nb"),
        ("--signature", "x"),
        ("--signature", "8d0c"),
        ("--endpoint", "4e4f"),
        ("--after", "x"),
        ("--after", &long),
        ("--limit", "0"),
        ("--limit", "99999999999"),
        ("--until", "tomorrow"),
    ] {
        assert_refused(&app.cli(&["dead-letter", "list", option, bad]).await, 2, option);
    }
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 2);
}

#[apply(test)]
async fn listing_comes_in_pages_of_all_states(app: &TestApp) {
    six(app).await;
    let ids: Vec<String> = app.dead_letters().await.iter().take(2).map(|dead| dead.id.to_string()).collect();
    app.json(&["dead-letter", "discard", &ids[0], &ids[1], "--yes"]).await;
    let states = ["--state", "open", "--state", "discarded"];
    let all = app.json(&[&["dead-letter", "list"], states.as_slice()].concat()).await;
    let (all, mut seen, mut after) = (all.as_array().unwrap().clone(), Vec::new(), Vec::new());
    loop {
        let options = [&["dead-letter", "list", "--limit", "2", "-o", "json"], states.as_slice()].concat();
        let page = app.cli(&[options, after.iter().map(String::as_str).collect()].concat()).await;
        seen.extend(parsed(&page).as_array().unwrap().clone());
        let Some((_, cursor)) = page.stderr.split_once("--after ") else { break };
        after = vec!["--after".to_owned(), cursor.trim().to_owned()];
    }
    assert_eq!((seen.len(), &seen), (6, &all));
}

#[apply(test)]
async fn note_stays_with_its_group(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&refused("Ada")).await;
    app.the_dead_letter("open", |dead| dead.state == "open").await;
    let signature = groups(app, &[]).await[0]["signature"].as_str().unwrap().to_owned();
    let text = "provider sends 'short' numbers; <b>%s</b>\nask them";
    app.json(&["dead-letter", "note", &signature, text, "--operator", "ada"]).await;
    let note = groups(app, &[]).await[0]["note"].clone();
    assert_eq!((&note["text"], &note["writtenBy"]), (&json!(text), &json!("ada")));
    // Another dead letter of the group has it as well, and it outlives them.
    app.json(&["dead-letter", "discard", "--all", "--yes"]).await;
    app.broker.publish(&refused("Bob")).await;
    app.wait_for_rows("dead_letters", 2).await;
    assert_eq!(groups(app, &[]).await[0]["note"]["text"], text);
    app.json(&["dead-letter", "note", &signature, "fixed", "--operator", "bob"]).await;
    assert_eq!(groups(app, &[]).await[0]["note"]["text"], "fixed");
    app.json(&["dead-letter", "note", &signature, "--remove"]).await;
    assert_eq!(groups(app, &[]).await[0]["note"], Value::Null);
    let recorded = audited(app, &["--object", &signature]).await;
    assert_eq!(recorded.len(), 3);
    assert_eq!(
        (&recorded[0]["before"], &recorded[0]["after"]),
        (&json!({"note": true}), &json!({"note": false}))
    );
    let unknown = "0".repeat(32);
    assert_refused(&app.cli(&["dead-letter", "note", &unknown, "x"]).await, 1, "no such group");
    let long = "x".repeat(2_001);
    for (signature, text) in [
        ("nonsense", "x"),
        (signature.as_str(), ""),
        (signature.as_str(), "a\u{1b}b"),
        (signature.as_str(), &long),
    ] {
        assert_eq!(
            app.cli(&["dead-letter", "note", signature, text]).await.code,
            Some(2),
            "{signature} {text:.9}"
        );
    }
    assert_eq!(app.cli(&["dead-letter", "note", &signature]).await.code, Some(2));
    assert_eq!(app.rows("dead_letter_notes").await, 0);
}
