//! Each event is applied once, however often, where and in which order it is delivered.

use std::collections::{BTreeMap, BTreeSet};

use macro_rules_attribute::apply;
use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::datetime};

use crate::support::{app::TestApp, dice::Dice, event::Event, only, test};

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

/// Checks that everything happened exactly once.
async fn assert_once(app: &TestApp) {
    let webhook = only(app.webhooks(1).await);
    let upserted = only(app.broker.hear(1).await);
    assert_eq!(webhook.json().unwrap(), upserted.body);
    app.wait_for_deliveries("delivered", 1).await;
    // All copies are settled before the count.
    app.assert_settled().await;
    assert_eq!(app.broker.heard().await.len(), 1, "events");
    assert_eq!(app.receiver.requests().len(), 1, "requests");
    for table in ["contacts", "applied_events", "trigger_events", "all_webhook_attempts"] {
        assert_eq!(app.rows(table).await, 1, "{table}");
    }
    assert_eq!(app.count("SELECT version FROM contacts").await, 1);
    assert_eq!(app.unpublished().await, 0);
    assert_eq!(app.rows("dead_letters").await, 0);
}

fn lead(app: &TestApp) -> Event {
    Event::lead("Ada").email("ada@x.example").webhook(&app.receiver.url("/"))
}

#[apply(test)]
async fn fifty_copies_over_two_processes_are_applied_once(app: &TestApp) {
    // One at a time, so that the copies are spread over all consumers.
    app.set("upsert.batch_size", "1");
    app.run(&[]).await;
    app.run(&[]).await;
    app.broker.publish_all(&vec![lead(app); 50]).await;
    assert_once(app).await;
}

#[apply(test)]
async fn fifty_copies_in_one_batch_are_applied_once(app: &TestApp) {
    app.broker.declare().await;
    app.broker.publish_all(&vec![lead(app); 50]).await;
    app.run(&[]).await;
    assert_once(app).await;
}

#[apply(test)]
async fn copy_after_a_restart_is_not_applied(app: &TestApp) {
    let event = lead(app);
    app.run(&[]).await;
    app.broker.publish(&event).await;
    app.webhooks(1).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.stop().await;
    app.broker.publish(&event).await;
    app.run(&[]).await;
    assert_once(app).await;
}

/// The event in other bytes: pretty-printed, with the members of every object in reverse, with escapes, and with a
/// byte order mark.
fn other_bytes(event: &Event) -> Vec<Vec<u8>> {
    let value = event.value("");
    let bytes = event.bytes();
    let escaped = String::from_utf8(bytes.clone()).unwrap().replace("Ada", r"\u0041da").replace('/', r"\/");
    vec![
        serde_json::to_vec_pretty(value).unwrap(),
        reversed(value).to_string().into_bytes(),
        escaped.into_bytes(),
        ["\u{feff}".as_bytes(), &bytes].concat(),
    ]
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect())
        }
        leaf => leaf.clone(),
    }
}

#[apply(test)]
async fn event_in_other_bytes_is_the_same_event(app: &TestApp) {
    let event = lead(app);
    let others = other_bytes(&event);
    assert!(others.iter().all(|other| *other != event.bytes()));
    // Before it is applied, in one batch.
    app.broker.declare().await;
    for body in &others {
        app.broker.publish_bytes("trigger.fired", body, event.properties()).await;
    }
    app.run(&[]).await;
    app.webhooks(1).await;
    // And after.
    for body in others.iter().chain([&event.bytes()]) {
        app.broker.publish_bytes("trigger.fired", body, event.properties()).await;
    }
    assert_once(app).await;
}

/// The history may leave, the proof never does.
#[apply(test)]
async fn copy_of_an_event_whose_history_has_left_is_not_applied(app: &TestApp) {
    let event = lead(app);
    app.run(&[]).await;
    app.broker.publish(&event).await;
    app.webhooks(1).await;
    app.wait_for_deliveries("delivered", 1).await;
    sqlx::query("TRUNCATE trigger_events").execute(&app.pool).await.unwrap();
    let next = event.clone().id("next").argument("city", "London");
    app.broker.publish_all(&[event.clone(), event.clone(), next, event]).await;
    app.wait_for_rows("contacts WHERE city = 'London'", 1).await;
    app.assert_settled().await;
    assert_eq!(app.count("SELECT version FROM contacts").await, 2);
    assert_eq!((app.rows("applied_events").await, app.rows("trigger_events").await), (2, 1));
    assert_eq!((app.broker.heard().await.len(), app.receiver.requests().len()), (2, 2));
}

const PEOPLE: usize = 7;
const EVENTS: usize = 420;

/// The n-th event of the crowd: one of a few people, known by phone, by email, or by both.
fn of_a_crowd(n: usize, hook: &str) -> Event {
    let (person, round) = (n % PEOPLE, n / PEOPLE);
    let time = START + Duration::seconds(i64::try_from(n).unwrap());
    let event =
        Event::lead(&format!("name {n}")).id(&format!("event-{n}")).time(&time.format(&Rfc3339).unwrap());
    let event = event.webhook(hook).argument("city", format!("city of {person}"));
    let (phone, email) = (format!("+551198765430{person}"), format!("person{person}@x.example"));
    match round % 3 {
        0 => event.phone(&phone),
        1 => event.email(&email),
        _ => event.phone(&phone).email(&email),
    }
}

#[apply(test)]
async fn two_processes_create_each_contact_once(app: &TestApp) {
    // Small batches: many transactions that meet.
    app.set("upsert.batch_size", "5");
    let hook = app.receiver.url("/");
    app.run(&[]).await;
    app.run(&[]).await;
    // 421 is prime, so this visits each event once, far from their order in time.
    let events: Vec<Event> = (1..=EVENTS).map(|n| of_a_crowd(n * 211 % 421 - 1, &hook)).collect();
    app.broker.publish_all(&events).await;
    app.count_becomes("SELECT count(DISTINCT event_id) FROM trigger_events", 420).await;
    app.wait_for_deliveries("delivered", 420).await;
    app.wait_for_unpublished(0).await;

    assert_eq!(app.rows("trigger_events").await, 420);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_each_person_is_one_contact(app).await;
    assert_versions_count_changes(app).await;
    assert_all_published_once(app).await;
}

async fn assert_each_person_is_one_contact(app: &TestApp) {
    let people = "SELECT c.city, c.name, c.phone, c.email, count(i.value)
                  FROM contacts c JOIN contact_identifiers i USING (company_id, contact_id)
                  GROUP BY c.company_id, c.contact_id ORDER BY c.city";
    let people: Vec<(String, String, String, String, i64)> =
        sqlx::query_as(people).fetch_all(&app.pool).await.unwrap();
    let expected = (0..PEOPLE).map(|person| {
        // The last round has the latest events.
        let last = EVENTS - PEOPLE + person;
        let (phone, email) = (format!("+551198765430{person}"), format!("person{person}@x.example"));
        (format!("city of {person}"), format!("name {last}"), phone, email, 2)
    });
    assert_eq!(people, expected.collect::<Vec<_>>());
    assert_eq!(app.rows("contacts").await, 7);
    let unresolved = "trigger_events e
        LEFT JOIN contact_aliases a ON a.company_id = e.company_id AND a.alias_id = e.contact_id
        LEFT JOIN contacts c ON c.company_id = e.company_id AND c.contact_id = coalesce(a.contact_id, e.contact_id)
        WHERE c.contact_id IS NULL";
    assert_eq!(app.rows(unresolved).await, 0, "every contact id in the ledger resolves");
}

/// Checks that each contact was created once, and that each change is one version without a gap.
async fn assert_versions_count_changes(app: &TestApp) {
    let wrong = "(
        SELECT contact_id FROM trigger_events GROUP BY contact_id
        HAVING count(*) FILTER (WHERE operation = 'created') <> 1
            OR count(*) FILTER (WHERE operation <> 'unchanged') <> max(version)
            OR count(DISTINCT version) <> max(version)) wrong";
    assert_eq!(app.rows(wrong).await, 0);
    let behind = "contacts c WHERE c.version <>
        (SELECT max(e.version) FROM trigger_events e WHERE e.contact_id = c.contact_id)";
    assert_eq!(app.rows(behind).await, 0);
}

async fn assert_all_published_once(app: &TestApp) {
    let heard = app.broker.heard().await;
    let upserted: Vec<_> = heard.iter().filter(|heard| heard.at("/type") == "contact.upserted").collect();
    let ids: BTreeSet<String> = upserted.iter().map(|heard| heard.at("/id").to_string()).collect();
    assert_eq!((upserted.len(), ids.len()), (EVENTS, EVENTS));
    // Both publications of a version show the same contact.
    let mut versions: BTreeMap<(String, i64), Value> = BTreeMap::new();
    for heard in upserted {
        let mut contact = heard.at("/data/contact").clone();
        let members = contact.as_object_mut().unwrap();
        // An event that changes no value may still move these.
        members.retain(|name, _| !["createdAt", "updatedAt"].contains(&name.as_str()));
        let version = members.get("version").and_then(Value::as_i64).unwrap();
        let before =
            versions.entry((heard.at("/subject").to_string(), version)).or_insert_with(|| contact.clone());
        assert_eq!(*before, contact);
    }
    let requests = app.receiver.requests();
    let ids: BTreeSet<_> = requests.iter().map(|request| request.header("webhook-id").unwrap()).collect();
    assert_eq!((requests.len(), ids.len()), (EVENTS, EVENTS));
}

/// Events about a few contacts that merge over time.
fn history(dice: &mut Dice) -> Vec<Event> {
    let event = |n: usize| {
        // Some have the same time: then the ids decide.
        let time = START + Duration::minutes(i64::try_from(dice.roll(25)).unwrap());
        let mut event = Event::lead(&format!("name {n}"))
            .id(&format!("event-{n:02}"))
            .time(&time.format(&Rfc3339).unwrap());
        let (phone, email) = (dice.roll(7), dice.roll(7));
        let keys = dice.roll(6);
        if keys != 1 {
            event = event.phone(&format!("+551198765430{phone}"));
        }
        if keys < 2 {
            event = event.email(&format!("person{email}@x.example"));
        }
        for field in ["city", "company", "position", "number"] {
            if dice.roll(3) == 0 {
                event = event.argument(field, format!("{field} {n}"));
            }
        }
        event
    };
    (0..40).map(event).collect()
}

#[apply(test)]
async fn any_order_ends_in_the_same_contacts(app: &TestApp) {
    // One at a time, so that they are applied in the order of publication.
    app.set("upsert.batch_size", "1");
    app.set("upsert.consumers", "1");
    app.run(&[]).await;
    let mut dice = Dice(7);
    let history = history(&mut dice);
    let in_order = |company: &str, events: &[Event]| -> Vec<Event> {
        events.iter().map(|event| event.clone().company(company)).collect()
    };
    let mut shuffled = history.clone();
    app.broker.publish_all(&in_order("company-0", &shuffled)).await;
    shuffled.reverse();
    app.broker.publish_all(&in_order("company-1", &shuffled)).await;
    for company in ["company-2", "company-3", "company-4"] {
        dice.shuffle(&mut shuffled);
        app.broker.publish_all(&in_order(company, &shuffled)).await;
    }
    app.wait_for_rows("trigger_events", 200).await;
    app.stop().await;
    // The last company receives everything twice, in batches and in yet another order.
    dice.shuffle(&mut shuffled);
    let twice =
        [in_order("company-5", &shuffled), in_order("company-0", &shuffled), in_order("company-5", &history)];
    app.broker.publish_all(&twice.concat()).await;
    app.set("upsert.batch_size", "16");
    app.set("upsert.consumers", "2");
    app.run(&[]).await;
    app.wait_for_rows("trigger_events", 240).await;
    app.assert_settled().await;

    let companies = rows_by_company(app).await;
    assert_eq!(companies.len(), 6);
    let (_, expected) = companies.first_key_value().unwrap();
    assert!((2..7).contains(&expected.len()), "people were found to be the same: {expected:#?}");
    for (company, rows) in &companies {
        assert_eq!(rows, expected, "{company}");
    }
    assert_eq!(app.rows("dead_letters").await, 0);
}

/// The contacts of each company, all but ids and versions.
async fn rows_by_company(app: &TestApp) -> BTreeMap<String, Vec<Value>> {
    let rows =
        "SELECT company_id, to_jsonb(c) - ARRAY['company_id', 'contact_id', 'version'] || jsonb_build_object(
            'keys', (SELECT jsonb_agg(i.value ORDER BY i.value) FROM contact_identifiers i
                     WHERE i.company_id = c.company_id AND i.contact_id = c.contact_id)) AS row
        FROM contacts c ORDER BY company_id, row";
    let rows: Vec<(String, Value)> = sqlx::query_as(rows).fetch_all(&app.pool).await.unwrap();
    let mut companies: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (company, row) in rows {
        companies.entry(company).or_default().push(row);
    }
    companies
}
