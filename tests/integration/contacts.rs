//! Contacts: identity, merging, and values that no event erases.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, event::Event, only, test};

const PHONE: &str = "+5511987654321";

async fn show(app: &TestApp, id: &str) -> Value {
    app.json(&["contact", "show", "--company", "acme", id]).await
}

#[apply(test)]
async fn event_with_identifiers_of_two_contacts_merges_them(app: &TestApp) {
    app.run(&[]).await;
    let by_phone =
        Event::lead("Ada").phone("(11) 98765-4321").argument("city", "London").time("2026-01-01T00:00:00Z");
    let by_email =
        Event::lead("Countess").email("ADA@x.example").argument("state", "Kent").time("2026-01-02T00:00:00Z");
    let both = Event::bare()
        .action(json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "phone": "phone", "email": "email"}))
        .phone(PHONE)
        .email("ada@x.example")
        .time("2026-01-03T00:00:00Z");
    let ids = app.broker.publish_in_turn(&[by_phone, by_email, both]).await;
    let [older, newer, merged] = ids.as_slice() else { panic!("{ids:?}") };
    assert_ne!(older, newer);
    assert_eq!(older, merged);

    assert_eq!(app.rows("contacts").await, 1);
    let shown = show(app, older).await;
    for (member, value) in [
        ("name", "Countess"),
        ("city", "London"),
        ("state", "Kent"),
        ("phone", PHONE),
        ("email", "ada@x.example"),
    ] {
        assert_eq!(shown.pointer(&format!("/contact/{member}")), Some(&value.into()), "{member}");
    }
    assert_eq!(shown.get("mergedContactIds"), Some(&json!([newer])));
    assert_eq!(&show(app, newer).await, &shown, "the id that was merged away resolves");
    let history = app.json(&["contact", "history", "--company", "acme", newer]).await;
    let kinds: Vec<&Value> = history.as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["event", "event", "event", "merged"], "{history:#}");
    assert_eq!(app.rows("dead_letters").await, 0);
}

/// Four contacts become one, first in pairs. Every published id resolves.
#[apply(test)]
async fn ids_of_repeated_merges_resolve(app: &TestApp) {
    app.run(&[]).await;
    let phone = |number: u32| format!("+55119876543{number}");
    let day = |day: u32| format!("2026-01-0{day}T00:00:00Z");
    let events = [
        Event::lead("A").phone(&phone(21)).time(&day(4)),
        Event::lead("B").email("b@x.example").time(&day(3)),
        Event::lead("C").phone(&phone(22)).time(&day(2)),
        Event::lead("D").email("d@x.example").time(&day(1)),
        Event::lead("AB").phone(&phone(21)).email("b@x.example").time(&day(5)),
        Event::lead("CD").phone(&phone(22)).email("d@x.example").time(&day(6)),
        Event::lead("BC").phone(&phone(22)).email("b@x.example").time(&day(7)),
    ];
    let ids = app.broker.publish_in_turn(&events).await;
    assert_eq!(app.rows("contacts").await, 1);
    let last = ids.last().unwrap();
    let shown = show(app, last).await;
    assert_eq!(shown.pointer("/contact/name"), Some(&"BC".into()));
    for id in &ids {
        assert_eq!(show(app, id).await, shown, "{id}");
    }
    assert_eq!(shown.get("mergedContactIds").and_then(Value::as_array).map(Vec::len), Some(3));
    let strays = "contact_identifiers i LEFT JOIN contacts c USING (company_id, contact_id)
                  WHERE c.contact_id IS NULL";
    assert_eq!(app.rows(strays).await, 0);
    assert_eq!(app.rows("contact_identifiers").await, 4);
}

#[apply(test)]
async fn former_identifiers_still_find_their_contact(app: &TestApp) {
    app.run(&[]).await;
    let events = [
        Event::lead("Ada").phone(PHONE).email("old@x.example").time("2026-01-01T00:00:00Z"),
        Event::lead("Ada").phone(PHONE).email("new@x.example").time("2026-01-02T00:00:00Z"),
        Event::lead("Ada").email("old@x.example").argument("city", "London").time("2025-12-01T00:00:00Z"),
    ];
    let ids = app.broker.publish_in_turn(&events).await;
    assert!(ids.iter().all(|id| Some(id) == ids.first()), "{ids:?}");
    for key in [["--email", "old@x.example"], ["--email", "new@x.example"], ["--phone", "11 98765 4321"]] {
        let found = app.json(&[&["contact", "find", "--company", "acme"][..], &key].concat()).await;
        let contact = only(found.as_array().unwrap());
        assert_eq!(contact.get("email"), Some(&"new@x.example".into()), "{key:?}");
        assert_eq!(contact.get("city"), Some(&"London".into()), "{key:?}");
    }
}

/// The words for nothing are those of the settings.
#[apply(test)]
async fn arguments_of_a_search_are_cleaned_as_those_of_events(app: &TestApp) {
    app.set("placeholders.anywhere", "ainda nada,xyzzy");
    app.run(&[]).await;
    app.broker.publish_in_turn(&[Event::lead("Ada").phone(PHONE).email("ada@x.example")]).await;
    let find =
        async |key: [&str; 2]| app.cli(&[&["contact", "find", "--company", "acme"][..], &key].concat()).await;
    for key in [
        ["--email", "ada@x.example / xyzzy"],
        ["--email", "ainda nada, ada@x.example"],
        ["--email", "[Ada](mailto:ada@x.example)"],
        ["--phone", "(11) 98765-4321; ainda nada"],
        ["--phone", "'+55 (0) 11 98765-4321"],
    ] {
        let found = find(key).await;
        assert!(found.code == Some(0) && found.stdout.contains("Ada"), "{key:?}: {}", found.stderr);
    }
    for (key, expected) in [
        (["--email", "Xyzzy"], "the email counts as no value: a word for no value"),
        (["--phone", "{{lead.phone}}"], "the phone counts as no value: a template or expression"),
        (["--phone", "Mãe: (11) 98765-4321"], "another person's; give the phone alone"),
        (["--email", "Unknown"], "not an email address"),
    ] {
        let refused = find(key).await;
        assert!(refused.code == Some(2) && refused.stderr.contains(expected), "{key:?}: {}", refused.stderr);
    }
    let example = find(["--email", "user@example.com"]).await;
    assert_eq!(example.code, Some(1), "a contact may have one from before: {}", example.stderr);
}

#[apply(test)]
async fn missing_values_erase_nothing(app: &TestApp) {
    app.run(&[]).await;
    let full = Event::lead("Ada")
        .email("ada@x.example")
        .phone(PHONE)
        .argument("city", "London")
        .argument("company", "Analytical")
        .time("2026-01-01T00:00:00Z");
    let mut ids = app.broker.publish_in_turn(&[full]).await;
    let id = ids.remove(0);
    let before = show(app, &id).await;

    let empty = |value: Value| {
        let event = Event::lead("Ada").email("ada@x.example").without("/data/arguments/name");
        ["name", "phone", "city", "company"]
            .into_iter()
            .fold(event, |event, name| event.argument(name, value.clone()))
    };
    let values =
        ["", "   ", "\u{a0}\t\n", "N/A", "null", "undefined", "-", "não informado", "$name", "{{name}}"];
    let mut events: Vec<Event> = values.into_iter().map(|value| empty(value.into())).collect();
    events.push(empty(Value::Null));
    events.push(Event::lead("Ada").email("ada@x.example").without("/data/arguments/name"));
    app.broker.publish_all(&events).await;
    app.wait_for_rows("trigger_events", 13).await;

    let after = show(app, &id).await;
    for field in ["name", "phone", "city", "company", "email", "version"] {
        let pointer = format!("/contact/{field}");
        assert_eq!(after.pointer(&pointer), before.pointer(&pointer), "{field}");
    }
    assert_eq!(app.rows("contacts").await, 1);
    assert_eq!(app.rows("trigger_events WHERE operation = 'unchanged'").await, 12);
    assert_eq!(app.rows("dead_letters").await, 0);
}

#[apply(test)]
async fn numbers_and_booleans_become_text(app: &TestApp) {
    app.run(&[]).await;
    let typed = [
        ("phone", json!({"type": "integer"}), json!(11_987_654_321_u64), PHONE),
        ("number", json!({"type": "number"}), json!(1578), "1578"),
        ("zipCode", json!({"type": "number"}), json!(1310.0), "1310"),
        ("complement", json!({"type": "number"}), json!(2.5), "2.5"),
        ("position", json!({"type": "boolean"}), json!(true), "true"),
        ("company", json!({"type": "boolean"}), json!(true), "true"),
        ("identity", json!({"type": "integer"}), json!(7), "7"),
    ];
    let event = typed.iter().fold(Event::lead("Ada"), |event, (field, schema, value, _)| {
        event
            .with(&format!("/data/trigger/parameters/properties/{field}"), schema.clone())
            .argument(field, value.clone())
    });
    app.broker.publish_in_turn(&[event]).await;
    for (field, .., text) in &typed {
        let column = if *field == "zipCode" { "zip_code" } else { field };
        let query = sqlx::AssertSqlSafe(format!("SELECT {column} FROM contacts"));
        let stored: Option<String> = sqlx::query_scalar(query).fetch_one(&app.pool).await.unwrap();
        assert_eq!(stored.as_deref(), Some(*text), "{field}");
    }
}

#[apply(test)]
async fn unmapped_parameter_is_not_stored(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").argument("interest", "growth").argument("undeclared", "growth");
    app.broker.publish_in_turn(&[event]).await;
    let stored: String =
        sqlx::query_scalar("SELECT row_to_json(c)::text FROM contacts c").fetch_one(&app.pool).await.unwrap();
    assert!(!stored.contains("growth"), "{stored}");
}

#[apply(test)]
async fn events_without_identifiers_create_a_contact_each(app: &TestApp) {
    app.run(&[]).await;
    let events = [Event::lead("Ada"), Event::lead("Ada"), Event::lead("Ada").phone("N/A").email(" ")];
    let mut ids = app.broker.publish_in_turn(&events).await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(app.rows("contacts").await, 3);
    assert!(app.broker.heard().await.iter().all(|heard| heard.at("/data/operation") == "created"));
}

#[apply(test)]
async fn events_without_identifiers_can_be_rejected(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    let hook = app.receiver.url("/");
    let events =
        [Event::lead("Ada").webhook(&hook), Event::lead("Grace").email("grace@navy.example").webhook(&hook)];
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.webhooks(1).await;
    let listed = app.json(&["dead-letter", "list"]).await;
    let dead = only(listed.as_array().unwrap());
    assert_eq!(dead.get("reason"), Some(&"identifier_invalid".into()), "{dead:#}");
    assert_eq!(app.rows("contacts").await, 1);
    let heard = only(app.broker.hear(1).await);
    assert_eq!(heard.at("/data/contact/email"), "grace@navy.example");
    assert_eq!(app.receiver.requests().len(), 1);
}

/// Two companies with the same people and the same event ids.
#[apply(test)]
async fn companies_stay_apart(app: &TestApp) {
    app.run(&[]).await;
    let history = |company: &str| {
        let lead = |name: &str| Event::lead(&format!("{name} of {company}")).company(company);
        [
            lead("Ada").id("1").phone(PHONE).webhook(&app.receiver.url(&format!("/{company}"))),
            lead("Ada").id("2").email("ada@x.example"),
            lead("Ada").id("3").phone(PHONE).email("ada@x.example"),
            lead("Grace").id("4").email("grace@x.example"),
        ]
    };
    app.broker.publish_all(&[history("acme"), history("globex")].concat()).await;
    // Only acme receives more events; globex must not change.
    app.wait_for_rows("trigger_events", 8).await;
    let before = app.json(&["contact", "find", "--company", "globex", "--phone", PHONE]).await;
    let more = Event::lead("Ada of acme").company("acme").phone(PHONE).email("grace@x.example");
    app.broker.publish(&more).await;
    app.wait_for_rows("contacts WHERE company_id = 'acme'", 1).await;
    assert_eq!(app.json(&["contact", "find", "--company", "globex", "--phone", PHONE]).await, before);
    assert_eq!(app.rows("contacts WHERE company_id = 'globex'").await, 2);
    assert_eq!(app.rows("contacts WHERE name NOT LIKE '% of ' || company_id").await, 0);
    assert_eq!(app.rows("contact_identifiers WHERE company_id = 'globex'").await, 3);

    let id = only(before.as_array().unwrap()).get("id").and_then(Value::as_str).unwrap();
    let stranger = app.cli(&["contact", "show", "--company", "acme", id]).await;
    assert_eq!(stranger.code, Some(1), "{}", stranger.stdout);
    let webhooks = app.webhooks(2).await;
    for webhook in webhooks {
        let company = webhook.path.trim_start_matches('/').to_owned();
        assert_eq!(webhook.json().unwrap().pointer("/data/contact/companyId"), Some(&company.into()));
    }
}

/// An extension behind a switchboard: it finds its contact by exactly this number and never merges.
#[apply(test)]
async fn weak_phone_merges_nobody(app: &TestApp) {
    app.run(&[]).await;
    let desk = "(11) 3333-4444 ramal 12";
    let ids = app
        .broker
        .publish_in_turn(&[
            Event::lead("Ada").phone(desk).time("2026-01-01T00:00:00Z"),
            Event::lead("Bob").phone(desk).email("bob@x.example").time("2026-01-02T00:00:00Z"),
            Event::lead("Ada L").phone("+551133334444;ext=12").time("2026-01-03T00:00:00Z"),
            Event::lead("Firm").phone("(11) 3333-4444").time("2026-01-04T00:00:00Z"),
        ])
        .await;
    let [ada, bob, again, firm] = ids.as_slice() else { panic!("{ids:?}") };
    assert!(ada == again && ada != bob && ada != firm && bob != firm, "{ids:?}");
    for (number, expected) in [(desk, vec![ada, bob]), ("11 3333 4444", vec![firm])] {
        let found = app.json(&["contact", "find", "--company", "acme", "--phone", number]).await;
        let mut found: Vec<_> =
            found.as_array().unwrap().iter().map(|contact| contact["id"].as_str().unwrap()).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = expected.into_iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{number}");
    }
}
