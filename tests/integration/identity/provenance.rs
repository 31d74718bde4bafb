//! `contact show` and `contact history`: the source of each value, and which values were superseded.

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::Executor as _;

use super::{EMAIL, PHONE, by_both, by_email, by_phone, history, kinds, show};
use crate::support::{app::TestApp, event::Event, test};

const SOURCE: &str = "/companies/acme/assistants/sales";

async fn table(app: &TestApp, command: &str, id: &str) -> String {
    let ended = app.cli(&["contact", command, "--company", "acme", id]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

#[apply(test)]
async fn each_value_names_its_event(app: &TestApp) {
    app.run(&[]).await;
    let renamed = by_both().with("/data/trigger/name", "confirm_lead".into());
    let moved = Event::lead("Ada").id("moved").phone(PHONE).email("new@x.example");
    let moved = moved.time("2026-01-04T00:00:00Z").argument("identity", "529.982.247-25");
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), renamed, moved]).await;
    let shown = show(app, &ids[1]).await;
    let provenance = &shown["provenance"];
    for (field, event, trigger, time) in [
        ("name", "moved", "register_lead", "2026-01-04T00:00:00Z"),
        ("email", "moved", "register_lead", "2026-01-04T00:00:00Z"),
        ("city", "by both", "confirm_lead", "2026-01-03T00:00:00Z"),
    ] {
        let expected = json!({"time": time, "trigger": trigger, "eventId": event, "eventSource": SOURCE,
                              "step": 1, "unverified": false});
        assert_eq!(provenance[field], expected, "{field}");
    }
    let keys = json!([
        {"kind": "email", "value": EMAIL, "former": true},
        {"kind": "email", "value": "new@x.example", "former": false},
        {"kind": "phone", "value": PHONE, "former": false},
    ]);
    assert_eq!(shown["identifiers"], keys);
    assert_eq!((&shown["mergedContactIds"], &shown["separations"]), (&json!([ids[1]]), &json!([])));
    assert_eq!(shown["merged"][0]["contactId"], json!(ids[1]));
    assert!(shown["merged"][0]["mergedAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(shown["contact"]["identity"], "***-25");

    let text = table(app, "show", &ids[1]).await;
    for part in ["confirm_lead", "by both", "former", "MERGED CONTACT", &ids[1], "***-25", SOURCE] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let all = [text, table(app, "history", &ids[0]).await, shown.to_string()].concat();
    assert!(!all.contains("529.982") && !all.contains("KEPT APART"), "{all}");
}

#[apply(test)]
async fn history_names_superseding_events(app: &TestApp) {
    app.run(&[]).await;
    // The middle one comes last.
    let late = Event::lead("Late").id("late").phone(PHONE).argument("city", "Paris");
    let late = late.argument("street", "Rue de Rome").time("2026-01-02T12:00:00Z");
    let ids = app.broker.publish_in_turn(&[by_phone(), by_both(), late]).await;
    let entries = history(app, &ids[0]).await;
    assert_eq!(kinds(&entries), ["event", "event", "event"]);
    let ordered: Vec<&Value> = entries.iter().map(|entry| &entry["eventId"]).collect();
    assert_eq!(ordered, ["by phone", "late", "by both"], "in the order of the events' own times");
    let late = &entries[1];
    assert_eq!(late["accepted"], json!(["city", "name", "phone", "street"]));
    assert_eq!(late["changed"], json!(["street"]));
    assert_eq!(late["superseded"], json!(["city", "name", "phone"]));
    let by = json!({"eventId": "by both", "eventSource": SOURCE});
    assert_eq!(late["supersededBy"], json!({"city": by, "name": by, "phone": by}));
    assert_eq!((&late["operation"], &late["contactId"]), (&json!("updated"), &json!(ids[0])));
    assert_eq!((&entries[2]["superseded"], &entries[2]["supersededBy"]), (&json!([]), &json!({})));
    let text = table(app, "history", &ids[0]).await;
    for part in ["KIND", "SUPERSEDED", "late", "register_lead", "city, name, phone"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("Paris") && !text.contains(PHONE), "fields, not their values\n{text}");
    app.pool.execute("DELETE FROM trigger_events WHERE event_id = 'late'").await.unwrap();
    assert_eq!(history(app, &ids[0]).await, [entries[0].clone(), entries[2].clone()]);
}

#[apply(test)]
async fn values_that_failed_to_parse_are_marked(app: &TestApp) {
    app.run(&[]).await;
    let lead = by_phone().argument("country", "Neverland").argument("birthday", "20/05/1990");
    let ids = app.broker.publish_in_turn(&[lead]).await;
    let shown = show(app, &ids[0]).await;
    for (field, value, unverified) in [("country", "Neverland", true), ("birthday", "1990-05-20", false)] {
        assert_eq!(shown["contact"][field], value);
        assert_eq!(shown["provenance"][field]["unverified"], unverified, "{field}");
    }
    let text = table(app, "show", &ids[0]).await;
    let marked: Vec<&str> = text.lines().filter(|line| line.contains("unverified")).collect();
    assert!(matches!(marked.as_slice(), [line] if line.starts_with("country")), "{text}");
}

/// The rows that an unmerge leaves: a link, and one of its sides on each contact.
#[apply(test)]
async fn show_and_history_list_separations(app: &TestApp) {
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email()]).await;
    let link = "INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, operator, happened_at)
        VALUES ('acme', '6f1c0000-0000-4000-8000-000000000001', 'unmerged', $1::uuid, $2::uuid, 'grace', '2026-02-03T04:05:06Z')";
    sqlx::query(link).bind(&ids[0]).bind(&ids[1]).execute(&app.pool).await.unwrap();
    let sides = "UPDATE contacts SET separations = ARRAY['6f1c0000-0000-4000-8000-000000000001/'
        || CASE WHEN contact_id = $1::uuid THEN 'a' ELSE 'b' END]";
    sqlx::query(sides).bind(&ids[0]).execute(&app.pool).await.unwrap();
    for (id, other) in [(&ids[0], &ids[1]), (&ids[1], &ids[0])] {
        let expected = json!([{"contactId": other, "since": "2026-02-03T04:05:06Z", "operator": "grace"}]);
        assert_eq!(show(app, id).await["separations"], expected);
        let text = table(app, "show", id).await;
        assert!(text.contains("KEPT APART FROM") && text.contains("grace"), "{text}");
        let entries = history(app, id).await;
        assert_eq!(kinds(&entries), ["event", "unmerged"]);
        let unmerged = json!({"kind": "unmerged", "time": "2026-02-03T04:05:06Z", "contactId": ids[0],
                            "otherContactId": ids[1], "operator": "grace"});
        assert_eq!(entries[1], unmerged);
    }
    // No event merges contacts that an operator unmerged, and the history says so.
    let heard = app.broker.publish_in_turn(&[by_both()]).await;
    assert_eq!(heard[0], ids[0]);
    let entries = history(app, &ids[1]).await;
    assert_eq!(kinds(&entries), ["event", "unmerged", "conflict"]);
    assert_eq!(entries[2]["rule"], "separated");
    let upserted = app.broker.upserted(&by_both()).await;
    let rejected = json!([{"field": "email", "reason": "contacts_kept_apart"}]);
    assert_eq!(upserted.at("/data/rejected"), &rejected);
}

#[apply(test)]
async fn erased_contact_is_not_shown(app: &TestApp) {
    let id = "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11";
    let erased = "INSERT INTO contact_erasures (company_id, contact_id, erased_at, operator)
        VALUES ('acme', $1::uuid, '2026-02-03T04:05:06Z', 'grace')";
    sqlx::query(erased).bind(id).execute(&app.pool).await.unwrap();
    for command in ["show", "history"] {
        let ended = app.cli(&["contact", command, "--company", "acme", id, "-o", "json"]).await;
        let error = "error: the person behind this contact was erased at 2026-02-03T04:05:06Z\n";
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(1), "", error));
        let other = app.cli(&["contact", command, "--company", "globex", id]).await;
        assert_eq!(other.stderr, "error: there is no such contact\n");
    }
}
