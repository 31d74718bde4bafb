//! Many publishers, several workers, kills, and two companies with the same people.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use macro_rules_attribute::apply;
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::datetime};

use super::assert_keys_agree;
use crate::support::{app::TestApp, event::Event, test};

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const PEOPLE: usize = 20;
const TASKS: usize = 64;
const EVENTS_OF_A_TASK: usize = 10;

/// One of the same few people, by phone, by email, or by both.
fn about(person: usize, keys: usize, id: &str, minute: usize) -> Event {
    let time = START + Duration::minutes(i64::try_from(minute).unwrap());
    let event = Event::lead(&format!("person {person}")).id(id).time(&time.format(&Rfc3339).unwrap());
    let (phone, email) = (format!("+5511987650{person:02}0"), format!("person{person}@x.example"));
    match keys % 3 {
        0 => event.phone(&phone),
        1 => event.email(&email),
        _ => event.phone(&phone).email(&email),
    }
}

/// Publishes the events of one task, one after the other.
async fn publish_as(app: &TestApp, task: usize) {
    for n in 0..EVENTS_OF_A_TASK {
        let serial = task * EVENTS_OF_A_TASK + n;
        // Each round over all people uses another identifier.
        let event = about(serial * 7 % PEOPLE, serial / PEOPLE, &format!("{task}-{n}"), serial % 97);
        app.broker.publish(&event).await;
    }
}

async fn applied(app: &TestApp, count: i64) {
    app.wait_for_at_least(count, "trigger_events").await;
}

#[apply(test)]
async fn concurrent_publishers_and_killed_workers_lose_nothing(app: &TestApp) {
    app.set("upsert.batch_size", "4");
    app.broker.declare().await;
    let worker = || app.spawn(&["run", "--role", "upsert"]);
    let mut workers = [worker(), worker(), worker()];
    let kills = async {
        for (victim, moment) in [(0, 60), (1, 160), (0, 260), (1, 360)] {
            applied(app, moment).await;
            workers[victim].kill9().await;
            workers[victim] = worker();
        }
    };
    tokio::join!(join_all((0..TASKS).map(|task| publish_as(app, task))), kills);
    app.count_becomes("SELECT count(DISTINCT event_id) FROM trigger_events", 640).await;
    app.wait_for_unpublished(0).await;

    assert_eq!(app.rows("trigger_events").await, 640);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(people(app, "acme").await, (0..PEOPLE).map(whole).collect::<Vec<_>>());
    assert_keys_agree(app).await;
    let unresolved = "trigger_events e
        LEFT JOIN contact_aliases a ON a.company_id = e.company_id AND a.alias_id = e.contact_id
        LEFT JOIN contacts c ON c.company_id = e.company_id AND c.contact_id = coalesce(a.contact_id, e.contact_id)
        WHERE c.contact_id IS NULL";
    assert_eq!(app.rows(unresolved).await, 0);
    assert!(app.rows("contact_links WHERE kind = 'merged'").await > 0);
    // The other roles finish the remaining work.
    app.run(&[]).await;
}

/// Name, phones and emails.
type Person = (String, Vec<String>, Vec<String>);

fn whole(person: usize) -> Person {
    let (phone, email) = (format!("+5511987650{person:02}0"), format!("person{person}@x.example"));
    (format!("person {person:02}"), vec![phone], vec![email])
}

/// The contacts of a company, by name, their numbers with two digits.
async fn people(app: &TestApp, company: &str) -> Vec<Person> {
    let people = "SELECT 'person ' || lpad(substr(name, 8), 2, '0') AS person, phones, emails FROM contacts
                  WHERE company_id = $1 ORDER BY person, phones DESC";
    sqlx::query_as(people).bind(company).fetch_all(&app.pool).await.unwrap()
}

/// The same people and event ids, but only one company receives the events that link them.
#[apply(test)]
async fn companies_with_the_same_people_stay_apart(app: &TestApp) {
    app.set("upsert.batch_size", "16");
    app.run(&[]).await;
    app.run(&[]).await;
    let halves = |company: &str| -> Vec<Event> {
        let of_one = |person| [0, 1].map(|keys| about(person, keys, &format!("{person}-{keys}"), keys));
        (0..PEOPLE).flat_map(of_one).map(|event| event.company(company)).collect()
    };
    app.broker.publish_all(&[halves("acme"), halves("globex")].concat()).await;
    app.wait_for_rows("contacts", 80).await;
    let whole_ones = (0..PEOPLE).map(|person| about(person, 2, &format!("{person}-2"), 2));
    app.broker.publish_all(&whole_ones.collect::<Vec<_>>()).await;
    app.wait_for_rows("trigger_events", 100).await;
    app.queues_are_empty().await;

    assert_eq!(people(app, "acme").await, (0..PEOPLE).map(whole).collect::<Vec<_>>());
    let halves = (0..PEOPLE).flat_map(|person| {
        let (name, phones, emails) = whole(person);
        [(name.clone(), phones, vec![]), (name, vec![], emails)]
    });
    assert_eq!(people(app, "globex").await, halves.collect::<Vec<_>>());
    for rows in [
        "contact_aliases WHERE company_id <> 'acme'",
        "contact_links WHERE company_id <> 'acme'",
        "dead_letters",
    ] {
        assert_eq!(app.rows(rows).await, 0, "{rows}");
    }
    assert_keys_agree(app).await;

    // Another company resolves neither the living id nor the merged one.
    let ids = "SELECT contact_id::text FROM contacts WHERE company_id = 'acme' AND name = 'person 7'
               UNION ALL SELECT alias_id::text FROM contact_aliases a JOIN contacts c USING (company_id, contact_id)
               WHERE c.name = 'person 7'";
    let ids: Vec<String> = sqlx::query_scalar(ids).fetch_all(&app.pool).await.unwrap();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 2, "{ids:?}");
    for id in &ids {
        for command in ["show", "history"] {
            let shown = app.json(&["contact", command, "--company", "acme", id]).await;
            assert!(!shown.to_string().contains("globex"), "{shown:#}");
            let stranger = app.cli(&["contact", command, "--company", "globex", id]).await;
            assert_eq!((stranger.code, stranger.stdout.as_str()), (Some(1), ""));
        }
    }
    let theirs = app.json(&["contact", "find", "--company", "globex", "--phone", &whole(7).1[0]]).await;
    let id = theirs[0]["id"].as_str().unwrap();
    let history = app.json(&["contact", "history", "--company", "globex", id]).await;
    let events: Vec<_> = history.as_array().unwrap().iter().map(|entry| &entry["eventId"]).collect();
    assert_eq!(events, [&json!("7-0")]);
}
