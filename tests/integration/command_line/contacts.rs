//! `contact find|show|history`. The identity document is masked everywhere.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::assert_failed;
use crate::support::{app::TestApp, event::Event, test};

async fn the_contact(app: &TestApp, key: &[&str]) -> Value {
    let found = app.json(&[&["contact", "find", "--company", "acme"], key].concat()).await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    found[0].clone()
}

#[apply(test)]
async fn find_and_show_print_the_contact(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").phone("(11) 98765-4321").email("Ada@Analytical.example");
    let event = event.argument("identity", "529.982.247-25");
    app.broker.publish(&event).await;
    app.broker.hear(1).await;
    let contact = the_contact(app, &["--phone", "+55 11 98765 4321"]).await;
    for key in [
        ["--phone", "11 987654321"],
        ["--phone", "<tel:+5511987654321|(11) 98765-4321>"],
        ["--phone", "'(11) 98765-4321"],
        ["--email", " ADA@analytical.example "],
        ["--email", "<mailto:ada@analytical.example|Ada@Analytical.example>"],
    ] {
        assert_eq!(the_contact(app, &key).await, contact, "{key:?}");
    }
    let members = (&contact["name"], &contact["phone"], &contact["identity"], &contact["version"]);
    assert_eq!(members, (&json!("Ada"), &json!("+5511987654321"), &json!("***-25"), &json!(1)));
    let typed = app.cli_with_input(
        &["contact", "find", "--company", "acme", "--email", "-"],
        b"ada@analytical.example\n",
    );
    assert_eq!(typed.await.code, Some(0));
    let id = contact["id"].as_str().unwrap();
    let shown = app.json(&["contact", "show", "--company", "acme", id]).await;
    assert_eq!(shown["contact"], contact);
    assert_eq!(shown["provenance"]["email"]["eventId"], event.event_id());
    assert_eq!(shown["identifiers"].as_array().unwrap().len(), 2);
    for command in ["show", "history"] {
        for format in ["table", "json", "ndjson"] {
            let ended = app.cli(&["contact", command, "--company", "acme", id, "-o", format]).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{command} {format}");
            assert!(!ended.stdout.contains("529.982"), "{}", ended.stdout);
            assert!(format != "ndjson" || ended.stdout.lines().count() == 1);
        }
        let other = app.cli(&["contact", command, "--company", "other", id]).await;
        assert_failed(&other, 1, "there is no such contact");
        let unknown = ["contact", command, "--company", "acme", "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11"];
        assert_failed(&app.cli(&unknown).await, 1, "there is no such contact");
    }
    let two = ["contact", "find", "--company", "acme", "--email", "[ada@a.example](mailto:bob@b.example)"];
    assert_failed(&app.cli(&two).await, 2, "the label of the link and its target differ");
    let other = ["contact", "find", "--company", "other", "--email", "ada@analytical.example"];
    assert_failed(&app.cli(&other).await, 1, "there is no such contact");
}

#[apply(test)]
async fn history_lists_events_by_time_and_names_superseded_fields(app: &TestApp) {
    app.run(&[]).await;
    let lead = |name: &str, time: &str| Event::lead(name).email("ada@analytical.example").time(time);
    let first = lead("Ada Byron", "2026-01-01T00:00:00Z").argument("city", "London");
    let second = lead("Ada Lovelace", "2026-02-01T00:00:00Z").phone("nonsense");
    app.broker.publish(&second).await;
    app.broker.hear(1).await;
    app.broker.publish(&first).await;
    app.broker.hear(2).await;
    let contact = the_contact(app, &["--email", "ada@analytical.example"]).await;
    assert_eq!((&contact["name"], &contact["city"]), (&json!("Ada Lovelace"), &json!("London")));
    let id = contact["id"].as_str().unwrap();
    let history = app.json(&["contact", "history", "--company", "acme", id]).await;
    let rows = history.as_array().unwrap();
    let events: Vec<&Value> = rows.iter().map(|row| &row["eventId"]).collect();
    assert_eq!(events, [first.event_id(), second.event_id()], "oldest event first");
    assert_eq!((&rows[0]["operation"], &rows[1]["operation"]), (&json!("updated"), &json!("created")));
    assert_eq!(rows[0]["superseded"], json!(["name", "email"]));
    assert_eq!((&rows[1]["superseded"], &rows[1]["rejected"][0]["field"]), (&json!([]), &json!("phone")));
    assert!(!history.to_string().contains("Lovelace"), "a history names fields, not their values");
}
