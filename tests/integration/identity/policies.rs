//! `contacts.on_conflict`: the same three events under each policy.

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::Executor as _;

use super::{
    EMAIL, PHONE, assert_keys_agree, by_both, by_email, by_phone, history, kinds, of_kind, replay,
    restart_with, show,
};
use crate::support::{app::TestApp, broker::Heard, eventually, only, test};

#[apply(test)]
async fn merge_unites_the_contacts(app: &TestApp) {
    app.set("contacts.on_conflict", "merge");
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), by_both()]).await;
    let [phone, email, both] = ids.as_slice() else { panic!("{ids:?}") };
    assert_ne!(phone, email);
    assert_eq!(phone, both);
    let heard = app.broker.upserted(&by_both()).await;
    assert_eq!((heard.at("/data/operation"), heard.at("/data/rejected")), (&json!("updated"), &json!([])));
    assert_eq!(heard.at("/data/mergedContactIds"), &json!([email]));
    app.wait_for_unpublished(0).await;
    let merged = app.broker.heard().await.into_iter().filter(|heard| heard.routing_key == "contact.merged");
    assert_eq!(only(merged).at("/data/mergedContactIds"), &json!([email]));

    let entries = history(app, email).await;
    assert_eq!(history(app, phone).await, entries, "both ids show one history");
    assert_eq!(kinds(&entries), ["event", "event", "event", "merged"]);
    let link = &entries[3];
    assert_eq!((&link["contactId"], &link["otherContactId"]), (&json!(phone), &json!(email)));
    assert_eq!((&link["eventId"], &link["step"]), (&json!("by both"), &json!(1)));
    assert_eq!(app.rows("contacts").await, 1);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_keys_agree(app).await;
}

#[apply(test)]
async fn prefer_phone_leaves_the_email_out(app: &TestApp) {
    app.set("contacts.on_conflict", "prefer_phone");
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), by_both()]).await;
    let [phone, email, both] = ids.as_slice() else { panic!("{ids:?}") };
    assert_eq!(phone, both);
    assert_kept_apart(app, Apart { rule: "prefer_phone", dropped: "email", taken: phone, left: email }).await;
    let found = app.json(&["contact", "find", "--company", "acme", "--email", EMAIL]).await;
    assert_eq!(only(found.as_array().unwrap())["id"], json!(email));
}

#[apply(test)]
async fn prefer_email_leaves_the_phone_out(app: &TestApp) {
    app.set("contacts.on_conflict", "prefer_email");
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), by_both()]).await;
    let [phone, email, both] = ids.as_slice() else { panic!("{ids:?}") };
    assert_eq!(email, both);
    assert_kept_apart(app, Apart { rule: "prefer_email", dropped: "phone", taken: email, left: phone }).await;
    let found = app.json(&["contact", "find", "--company", "acme", "--phone", PHONE]).await;
    assert_eq!(only(found.as_array().unwrap())["id"], json!(phone));
}

struct Apart<'a> {
    rule: &'a str,
    /// The identifier that was left out.
    dropped: &'a str,
    /// The contact that took the event.
    taken: &'a str,
    /// The other contact.
    left: &'a str,
}

/// Checks that one contact took the event, the other is unchanged, and both histories show the conflict.
async fn assert_kept_apart(app: &TestApp, Apart { rule, dropped, taken, left }: Apart<'_>) {
    let rejected = json!([{"field": dropped, "reason": "belongs_to_another_contact"}]);
    let heard: Heard = app.broker.upserted(&by_both()).await;
    assert_eq!(
        (heard.at("/data/operation"), heard.at("/data/rejected")),
        (&json!("updated"), &rejected.clone())
    );
    assert_eq!(heard.at("/data/mergedContactIds"), &json!([]));
    assert_eq!(heard.at("/data/changed"), &json!(["city", "name"]));

    let taken_now = show(app, taken).await;
    assert_eq!(taken_now["contact"]["name"], "Augusta");
    assert!(taken_now["contact"].get(dropped).is_none(), "{taken_now:#}");
    assert_eq!(taken_now["identifiers"].as_array().map(Vec::len), Some(1));
    let left_now = show(app, left).await;
    assert_eq!((&left_now["contact"]["version"], &left_now["mergedContactIds"]), (&json!(1), &json!([])));
    assert_ne!(left_now["contact"]["name"], "Augusta");

    let entries = history(app, taken).await;
    assert_eq!(kinds(&entries), ["event", "event", "conflict"]);
    assert_eq!(entries[1]["rejected"], rejected);
    let accepted = entries[1]["accepted"].as_array().unwrap();
    assert!(accepted.contains(&json!("city")) && !accepted.contains(&json!(dropped)), "{accepted:?}");
    let conflict = &entries[2];
    for (member, value) in
        [("rule", rule), ("contactId", taken), ("otherContactId", left), ("eventId", "by both")]
    {
        assert_eq!(conflict[member], value, "{member}");
    }
    let other = history(app, left).await;
    assert_eq!(kinds(&other), ["event", "conflict"], "no value is dropped silently");
    assert_eq!(&other[1], conflict);
    assert_eq!(app.rows("contacts").await, 2);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_keys_agree(app).await;
}

/// The conflict in the history of both contacts, with the policy `reject`.
async fn assert_one_conflict(app: &TestApp, ids: [&str; 2]) {
    for id in ids {
        let entries = history(app, id).await;
        let conflict: &Value = only(of_kind(&entries, "conflict"));
        assert_eq!((&conflict["rule"], &conflict["eventId"]), (&json!("reject"), &json!("by both")));
        let mut both = [&conflict["contactId"], &conflict["otherContactId"]].map(|id| id.as_str().unwrap());
        let mut expected = ids;
        both.sort_unstable();
        expected.sort_unstable();
        assert_eq!(both, expected);
    }
}

#[apply(test)]
async fn reject_makes_a_dead_letter_until_an_operator_decides(app: &TestApp) {
    app.set("contacts.on_conflict", "reject");
    let service = app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email()]).await;
    let [phone, email] = ids.as_slice() else { panic!("{ids:?}") };
    let before = [show(app, phone).await, show(app, email).await];
    let both = by_both().webhook(&app.receiver.url("/"));
    app.broker.publish(&both).await;
    let dead = app.the_dead_letter("there", |dead| dead.state == "open").await;
    assert_eq!((dead.reason.as_str(), dead.event_id.as_deref()), ("contact_conflict", Some("by both")));
    assert_eq!((dead.attempts, dead.replays), (1, 0));
    for part in [phone, email] {
        assert!(dead.message.contains(part), "{}", dead.message);
    }
    assert!(!dead.message.contains(EMAIL) && !dead.message.contains(&PHONE[4..]), "{}", dead.message);
    assert_one_conflict(app, [phone, email]).await;

    // A replay under the same policy reopens the same dead letter and does nothing else.
    replay(app, &dead.id.to_string()).await;
    let again = |is: &crate::support::dead_letters::Dead| is.state == "open" && is.replays == 1;
    let still = app.the_dead_letter("open again", again).await;
    assert_eq!((still.id, still.attempts, still.reason.as_str()), (dead.id, 2, "contact_conflict"));
    assert_one_conflict(app, [phone, email]).await;
    assert_eq!([show(app, phone).await, show(app, email).await], before, "nothing is applied");
    assert_eq!(app.rows("trigger_events").await, 2);
    assert_eq!(app.rows("webhook_deliveries").await, 0);
    assert_eq!((app.broker.heard().await.len(), app.receiver.requests().len()), (2, 0));

    restart_with(app, service, "contacts.on_conflict", "merge").await;
    replay(app, &dead.id.to_string()).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved" && dead.replays == 2).await;
    assert_eq!(app.broker.upserted(&both).await.at("/data/mergedContactIds"), &json!([email]));
    app.webhooks(1).await;
    let entries = history(app, email).await;
    assert_eq!(kinds(&entries), ["event", "event", "event", "conflict", "merged"]);
    assert_one_conflict(app, [phone, email]).await;
    assert_keys_agree(app).await;
}

/// After `reject`, an operator may decide that the contacts are two.
#[apply(test)]
async fn rejected_event_can_be_replayed_under_another_policy(app: &TestApp) {
    app.set("contacts.on_conflict", "reject");
    let service = app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email()]).await;
    app.broker.publish(&by_both()).await;
    let dead = app.the_dead_letter("there", |dead| dead.state == "open").await;
    restart_with(app, service, "contacts.on_conflict", "prefer_email").await;
    replay(app, &dead.id.to_string()).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!(app.broker.upserted(&by_both()).await.at("/subject"), &json!(ids[1]));
    assert_eq!(app.rows("contacts").await, 2);
    for id in &ids {
        let entries = history(app, id).await;
        let conflict = only(of_kind(&entries, "conflict"));
        assert_eq!(conflict["rule"], "prefer_email", "the history shows the policy that decided");
    }
}

/// The platform publishes the event again while its replay waits. One batch has both, and the outcome of one must
/// not settle the other.
#[apply(test)]
async fn replay_in_a_batch_with_a_copy_is_not_lost(app: &TestApp) {
    app.set("contacts.on_conflict", "reject");
    let service = app.run(&[]).await;
    app.broker.publish_in_turn(&[by_phone(), by_email()]).await;
    let both = by_both();
    app.broker.publish(&both).await;
    let dead = app.the_dead_letter("there", |dead| dead.state == "open").await;
    service.sigterm();
    assert!(service.ended().await.success());
    // The first one waits for the lock until the other two have gathered behind it.
    app.broker.publish_all(&[by_phone().id("first"), both.clone()]).await;
    replay(app, &dead.id.to_string()).await;
    let mut lock = app.pool.begin().await.unwrap();
    lock.execute("LOCK TABLE contact_identifiers IN ACCESS EXCLUSIVE MODE").await.unwrap();
    app.run(&[]).await;
    app.wait_for_blocked_sessions(1).await;
    eventually("all have arrived", async || (app.broker.depth("trigger-fired").await == 0).then_some(()))
        .await;
    lock.rollback().await.unwrap();
    let tried = app.the_dead_letter("refused again", |dead| dead.attempts > 1).await;
    assert_eq!((tried.state.as_str(), tried.reason.as_str()), ("open", "contact_conflict"));
}
