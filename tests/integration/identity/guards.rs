//! No merge joins two CPFs or exceeds the limit of identifiers, and a chain is applied whole or not at all.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{
    EMAIL, PHONE, assert_keys_agree, by_both, by_email, by_phone, history, of_kind, replay, restart_with,
    show,
};
use crate::support::{app::TestApp, event::Event, only, test};

const CPF: &str = "529.982.247-25";
const OTHER_CPF: &str = "111.444.777-35";

/// The one conflict in this contact's history.
async fn the_conflict(app: &TestApp, id: &str) -> Value {
    let entries = history(app, id).await;
    only(of_kind(&entries, "conflict")).clone()
}

#[apply(test)]
async fn contacts_with_different_cpfs_do_not_merge(app: &TestApp) {
    app.run(&[]).await;
    let events = [by_phone().argument("identity", CPF), by_email().argument("identity", OTHER_CPF)];
    let ids = app.broker.publish_in_turn(&events).await;
    app.broker.publish(&by_both()).await;
    let dead = app.the_dead_letter("there", |dead| dead.state == "open").await;
    assert_eq!((dead.reason.as_str(), dead.message.contains("CPFs")), ("contact_conflict", true));
    for id in &ids {
        assert_eq!(the_conflict(app, id).await["rule"], "different_cpf");
        assert_eq!(show(app, id).await["contact"]["version"], 1);
    }
    let shown = app.cli(&["dead-letter", "show", &dead.id.to_string()]).await.stdout;
    // The ids of the contacts are random and may hold any digits.
    let said = ids.iter().fold(dead.message.clone(), |text, id| text.replace(id.as_str(), ""));
    assert!(said.len() < dead.message.len(), "it names the contacts: {shown}");
    assert!(!said.contains("529") && !said.contains("111"), "{shown}");

    // One CPF in two spellings is one person.
    let again = Event::lead("Ada").email("again@x.example").argument("identity", "52998224725");
    let same = Event::lead("Ada").phone(PHONE).email("again@x.example");
    let merged = app.broker.publish_in_turn(&[again, same]).await;
    assert_eq!(merged[1], ids[0]);
    assert_eq!(show(app, &merged[0]).await["mergedContactIds"], json!([merged[0]]));
    assert_eq!(app.rows("contacts").await, 2);
    assert_keys_agree(app).await;
}

/// The contacts' CPFs do not differ, but the event brings another one.
#[apply(test)]
async fn event_with_a_third_cpf_merges_nothing(app: &TestApp) {
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone().argument("identity", CPF), by_email()]).await;
    app.broker.publish(&by_both().argument("identity", OTHER_CPF)).await;
    app.the_dead_letter("there", |dead| dead.reason == "contact_conflict").await;
    assert_eq!(the_conflict(app, &ids[0]).await, the_conflict(app, &ids[1]).await);
    assert_eq!(app.rows("contacts").await, 2);
    // An invalid CPF identifies nobody.
    let unlike = by_both().id("no cpf").argument("identity", "111.444.777-36");
    assert_eq!(app.broker.publish_in_turn(&[unlike]).await[0], ids[0]);
    assert_eq!(app.rows("contacts").await, 1);
}

fn shared_phone(n: usize) -> Event {
    Event::lead("Ada").id(&format!("email {n}")).phone(PHONE).email(&format!("guest{n}@x.example"))
}

#[apply(test)]
async fn sixth_email_is_refused(app: &TestApp) {
    let service = app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&(1..=5).map(shared_phone).collect::<Vec<_>>()).await;
    let before = show(app, &ids[0]).await;
    app.broker.publish(&shared_phone(6)).await;
    let dead = app.the_dead_letter("there", |dead| dead.state == "open").await;
    assert_eq!((dead.reason.as_str(), dead.event_id.as_deref()), ("contact_conflict", Some("email 6")));
    assert!(dead.message.contains("max_identifiers"), "{}", dead.message);
    assert_eq!(show(app, &ids[0]).await, before, "the five emails are unchanged");
    let former = before["identifiers"].as_array().unwrap().iter().filter(|key| key["former"] == true).count();
    assert_eq!(former, 4);
    let conflict = the_conflict(app, &ids[0]).await;
    assert_eq!((&conflict["rule"], &conflict["contactId"]), (&json!("too_many_emails"), &json!(ids[0])));
    assert_eq!(conflict["otherContactId"], conflict["contactId"], "only one contact is concerned");
    let unknown = ["contact", "find", "--company", "acme", "--email", "guest6@x.example"];
    assert_eq!(app.cli(&unknown).await.code, Some(1));
    // An identifier that it already has does not count again.
    assert_eq!(app.broker.publish_in_turn(&[shared_phone(3).id("again")]).await[0], ids[0]);

    restart_with(app, service, "contacts.max_identifiers", "6").await;
    replay(app, &dead.id.to_string()).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!(app.json(&unknown).await[0]["id"], json!(ids[0]));
    assert_keys_agree(app).await;
}

#[apply(test)]
async fn identifier_limit_follows_the_setting(app: &TestApp) {
    app.set("contacts.max_identifiers", "2");
    app.run(&[]).await;
    let phone = |n: u32| format!("+551198765432{n}");
    let of_ada = |n: u32| Event::lead("Ada").email(EMAIL).phone(&phone(n));
    let stranger = Event::lead("Grace").phone(&phone(3));
    let ids = app.broker.publish_in_turn(&[of_ada(1), of_ada(2), stranger]).await;
    assert_eq!(ids[0], ids[1]);
    // Neither a merge nor a new identifier adds a third.
    app.broker.publish_all(&[of_ada(3).id("merge"), of_ada(4).id("new")]).await;
    app.wait_for_dead_letters_because("contact_conflict", 2).await;
    let entries = history(app, &ids[0]).await;
    let conflicts = of_kind(&entries, "conflict");
    assert!(conflicts.iter().all(|conflict| conflict["rule"] == "too_many_phones"), "{conflicts:#?}");
    let mut events: Vec<&str> = conflicts.iter().map(|one| one["eventId"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, ["merge", "new"]);
    assert_eq!(the_conflict(app, &ids[2]).await["eventId"], "merge");
    assert_eq!(app.rows("contacts").await, 2);
    assert_eq!(app.rows("contact_identifiers").await, 4);
    assert_keys_agree(app).await;
}

/// All in one batch, so that the undone event has neighbors that must stay.
#[apply(test)]
async fn chain_with_a_conflict_changes_nothing(app: &TestApp) {
    app.set("contacts.on_conflict", "reject");
    app.broker.declare().await;
    let crm = |fields: &[&str]| {
        let mut action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT"});
        for field in fields {
            action[field] = json!(field);
        }
        action
    };
    let hook = app.receiver.url("/");
    let chain = Event::bare().id("chain").phone(PHONE).email(EMAIL).argument("city", "London");
    let chain = chain.argument("street", "St James's Square").time("2026-01-04T00:00:00Z");
    let chain = chain.action(crm(&["phone", "name", "city"])).webhook(&hook);
    let chain = chain.action(crm(&["phone", "email", "street"]));
    let later = by_phone().id("later").argument("company", "Analytical").time("2026-01-05T00:00:00Z");
    app.broker.publish_all(&[by_phone(), by_email(), chain.clone(), later.clone()]).await;
    app.run(&[]).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.event_id.as_deref(), dead.reason.as_str()), (Some("chain"), "contact_conflict"));
    assert!(dead.message.contains("step 3"), "{}", dead.message);

    let heard = app.broker.upserted(&later).await;
    assert_eq!(
        heard.at("/data/contact/version"),
        2,
        "the neighbors are applied, and the chain left no version"
    );
    assert_eq!(heard.at("/data/changed"), &json!(["company"]));
    let shown = show(app, heard.at("/subject").as_str().unwrap()).await;
    assert_eq!((shown["contact"].get("city"), shown["contact"].get("street")), (None, None));
    assert_eq!((&shown["contact"]["name"], &shown["contact"]["version"]), (&json!("Ada"), &json!(2)));
    app.queues_are_empty().await;
    app.wait_for_unpublished(0).await;
    let events: Vec<_> = app.broker.heard().await;
    assert!(events.iter().all(|heard| heard.at("/data/trigger/eventId") != "chain"), "{events:#?}");
    assert_eq!(events.len(), 3);
    assert_eq!(app.rows("trigger_events WHERE event_id = 'chain'").await, 0);
    assert_eq!(app.rows("webhook_deliveries").await, 0);
    assert!(app.receiver.requests().is_empty());
    assert_keys_agree(app).await;
}

/// The digits of a CPF can be those of a stranger's mobile number, and so can a number that was disowned.
#[apply(test)]
async fn number_of_another_kind_in_the_phone_field_merges_nobody(app: &TestApp) {
    app.run(&[]).await;
    let stranger = Event::lead("Alice").phone("(11) 98765-4102");
    let own = Event::lead("Bob").email("bob@x.example");
    let texts = ["CPF: 119.876.541-02", "119.876.541-02", "RG: 11987654102", "número errado: 11 98765-4102"];
    let again = texts.map(|text| Event::lead("Bob").email("bob@x.example").phone(text));
    let events: Vec<Event> = [stranger, own].into_iter().chain(again).collect();
    let ids = app.broker.publish_in_turn(&events).await;
    assert_ne!(ids[0], ids[1]);
    assert!(ids[2..].iter().all(|id| *id == ids[1]), "{ids:?}");
    assert_eq!(show(app, &ids[1]).await["contact"].get("phone"), None);
    assert_eq!(app.rows("contacts").await, 2);
    assert_keys_agree(app).await;
}
