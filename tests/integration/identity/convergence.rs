//! The contacts are a function of the set of events. One worker receives a history in order; two receive it
//! shuffled and duplicated.

use std::collections::BTreeSet;

use macro_rules_attribute::apply;
use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::datetime};

use super::assert_keys_agree;
use crate::support::{app::TestApp, dice::Dice, event::Event, test};

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const PEOPLE: usize = 12;
const EVENTS: usize = 150;

/// Events about twelve people, each with three phones and three emails, named by phone, by email or by both.
/// Many are late, and many have the same time.
fn random_history(dice: &mut Dice) -> Vec<Event> {
    let event = |n: usize| {
        let person = dice.roll(PEOPLE);
        let time = START + Duration::minutes(i64::try_from(dice.roll(40)).unwrap());
        // Ids in random order, because they decide between events of the same time.
        let id = format!("event-{:03}", n * 67 % EVENTS);
        // "None" may be a name or nothing: it gives way to every other name.
        let name = if n.is_multiple_of(4) { "None".to_owned() } else { format!("name {n}") };
        let mut event = Event::lead(&name).id(&id).time(&time.format(&Rfc3339).unwrap());
        let (keys, phone, email) = (dice.roll(5), dice.roll(3), dice.roll(3));
        if keys != 0 {
            event = event.phone(&format!("+55119876{person:02}0{phone}0"));
        }
        if keys < 2 {
            event = event.email(&format!("person{person}.{email}@x.example"));
        }
        for field in ["company", "position", "birthday", "city", "street", "number", "complement"] {
            if dice.roll(3) == 0 {
                let value = match field {
                    "birthday" => format!("1990-05-{:02}", n % 28 + 1),
                    "city" | "street" if n.is_multiple_of(2) => "Nada".to_owned(),
                    _ => format!("{field} {n}"),
                };
                event = event.argument(field, value);
            }
        }
        event
    };
    (0..EVENTS).map(event).collect()
}

fn of(company: &str, events: &[Event]) -> Vec<Event> {
    events.iter().map(|event| event.clone().company(company)).collect()
}

#[apply(test)]
async fn two_workers_with_shuffled_events_end_like_one_worker_in_order(app: &TestApp) {
    let mut dice = Dice(20_260_101);
    let history = random_history(&mut dice);
    let mut in_order = history.clone();
    in_order.sort_by_key(|event| (event.text("/time").to_owned(), event.event_id().to_owned()));
    app.set("upsert.batch_size", "1");
    app.set("upsert.consumers", "1");
    let one = app.run(&[]).await;
    app.broker.publish_all(&of("in order", &in_order)).await;
    app.wait_for_rows("trigger_events", 150).await;
    one.sigterm();
    assert!(one.ended().await.success());

    app.set("upsert.batch_size", "3");
    app.set("upsert.consumers", "2");
    app.run(&[]).await;
    app.run(&[]).await;
    let mut twice = [history.clone(), history].concat();
    dice.shuffle(&mut twice);
    app.broker.publish_all(&of("shuffled", &twice)).await;
    app.wait_for_rows("trigger_events", 300).await;
    app.queues_are_empty().await;
    app.wait_for_unpublished(0).await;

    assert_eq!(app.rows("dead_letters").await, 0);
    assert_keys_agree(app).await;
    let [expected, rows] = [rows(app, "in order").await, rows(app, "shuffled").await];
    assert_eq!(expected.len(), known_people(&in_order), "exactly the linked people are merged");
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert!(app.rows("contact_aliases WHERE company_id = 'shuffled'").await > 5);
    assert_every_published_id_resolves(app, "shuffled").await;
}

/// The number of people: identifiers in one event belong to one person.
fn known_people(events: &[Event]) -> usize {
    let mut people: Vec<BTreeSet<String>> = Vec::new();
    for event in events {
        let keys = ["phone", "email"].into_iter().filter_map(|name| event.argument_text(name));
        let mut one: BTreeSet<String> = keys.map(str::to_owned).collect();
        let (same, others): (Vec<_>, Vec<_>) =
            people.into_iter().partition(|person| !person.is_disjoint(&one));
        one.extend(same.into_iter().flatten());
        people = others;
        people.push(one);
    }
    people.len()
}

/// The contacts of a company, all but id and version, in an order that does not depend on either.
async fn rows(app: &TestApp, company: &str) -> Vec<Value> {
    let rows = "SELECT to_jsonb(c) - ARRAY['company_id', 'contact_id', 'version'] AS row
                FROM contacts c WHERE company_id = $1 ORDER BY row";
    sqlx::query_scalar(rows).bind(company).fetch_all(&app.pool).await.unwrap()
}

/// Every id that was ever published resolves to a living contact.
async fn assert_every_published_id_resolves(app: &TestApp, company: &str) {
    let heard = app.broker.heard().await;
    let upserted = heard.iter().filter(|heard| {
        heard.at("/type") == "contact.upserted" && heard.at("/data/contact/companyId") == company
    });
    let ids: BTreeSet<&str> = upserted.map(|heard| heard.at("/subject").as_str().unwrap()).collect();
    let living: BTreeSet<String> =
        sqlx::query_scalar("SELECT contact_id::text FROM contacts WHERE company_id = $1")
            .bind(company)
            .fetch_all(&app.pool)
            .await
            .unwrap()
            .into_iter()
            .collect();
    assert!(ids.len() > living.len(), "{} ids of {} contacts", ids.len(), living.len());
    let mut shown = BTreeSet::new();
    for id in ids {
        let contact = app.json(&["contact", "show", "--company", company, id]).await;
        shown.insert(contact["contact"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(shown, living, "every id leads to a contact, and every contact was published");
}
