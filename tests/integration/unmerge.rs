//! `contact unmerge`: splits a merged contact in two, which stay apart from then on.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, event::Event, eventually, only, test};

const PHONE: &str = "+5511987654321";

async fn show(app: &TestApp, id: &str) -> Value {
    let mut shown = app.json(&["contact", "show", "--company", "acme", id]).await;
    // The version only grows, so that subscribers of the merged contact accept the new state.
    shown.pointer_mut("/contact").and_then(Value::as_object_mut).unwrap().remove("version");
    // Only the separation differs.
    shown.as_object_mut().unwrap().remove("separations");
    shown
}

async fn unmerge(app: &TestApp, id: &str) -> Value {
    app.json(&["contact", "unmerge", "--company", "acme", id, "--operator", "grace"]).await
}

fn by_phone() -> Event {
    Event::lead("Ada").phone(PHONE).argument("city", "London").time("2026-01-01T00:00:00Z")
}

fn by_email() -> Event {
    Event::lead("Bob").email("bob@x.example").argument("city", "Paris").time("2026-01-02T00:00:00Z")
}

fn both(name: &str) -> Event {
    Event::lead(name).phone(PHONE).email("bob@x.example").time("2026-01-03T00:00:00Z")
}

#[apply(test)]
async fn unmerge_restores_both_contacts(app: &TestApp) {
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email()]).await;
    let [ada, bob] = ids.as_slice() else { panic!("{ids:?}") };
    let (ada_before, bob_before) = (show(app, ada).await, show(app, bob).await);
    let link = Event::bare()
        .action(json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "phone": "phone", "email": "email"}))
        .phone(PHONE)
        .email("bob@x.example")
        .time("2025-12-31T00:00:00Z");
    let later = Event::lead("Bobby").email("bob@x.example").time("2026-01-05T00:00:00Z");
    let merged = app.broker.publish_in_turn(&[link, later]).await;
    assert!(merged.iter().all(|id| id == ada), "{merged:?}");
    let version = app.count("SELECT max(version) FROM contacts").await;

    let planned = app.json(&["contact", "unmerge", "--company", "acme", bob, "--dry-run"]).await;
    assert_eq!(app.rows("contacts").await, 1, "a dry run changes nothing");
    let done = unmerge(app, bob).await;
    assert_eq!(planned.get("contacts"), done.get("contacts"));
    assert_eq!(
        [done.get("contactId"), done.get("restoredContactId")],
        [Some(&json!(ada)), Some(&json!(bob))]
    );
    assert_eq!(done.get("movedEvents"), Some(&json!(1)));

    // Ada's own event and the link, which is older; Bob's own event and the later one.
    let mut ada_now = show(app, ada).await;
    ada_now["contact"]["createdAt"] = ada_before["contact"]["createdAt"].clone();
    assert_eq!(ada_now, ada_before);
    let mut bob_now = show(app, bob).await;
    assert_eq!(bob_now.pointer("/contact/name"), Some(&"Bobby".into()));
    assert_eq!(bob_now.pointer("/contact/email"), Some(&"bob@x.example".into()));
    for place in ["name", "updatedAt"] {
        bob_now["contact"][place] = bob_before["contact"][place].clone();
    }
    assert_eq!(bob_now["contact"], bob_before["contact"]);
    assert_eq!(app.rows("contact_aliases").await, 0);

    let event = eventually("contact.unmerged is published", async || {
        let heard = app.broker.heard().await;
        heard.into_iter().find(|heard| heard.at("/type") == "contact.unmerged")
    })
    .await;
    assert_eq!(event.at("/subject"), ada.as_str());
    assert_eq!(event.at("/data/contact/name"), "Ada");
    assert_eq!(event.at("/data/restoredContacts/0/id"), bob.as_str());
    for place in ["/data/contact/version", "/data/restoredContacts/0/version"] {
        assert_eq!(event.at(place), version + 1, "{place}");
    }
    for id in [ada, bob] {
        let history = app.json(&["contact", "history", "--company", "acme", id]).await.to_string();
        assert!(history.contains("contacts_kept_apart") == (id == ada), "{history}");
    }
}

#[apply(test)]
async fn unmerged_contacts_do_not_merge_again(app: &TestApp) {
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), both("Eve")]).await;
    unmerge(app, &ids[1]).await;
    let again = app
        .broker
        .publish_in_turn(&[
            both("Mallory").time("2026-02-01T00:00:00Z"),
            Event::lead("Bob B").email("bob@x.example").time("2026-02-02T00:00:00Z"),
            Event::lead("Bob C").email("bob@x.example").phone("+5511987654322").time("2026-02-03T00:00:00Z"),
            // A new identifier of one and an identifier of the other.
            Event::lead("Zoe").email("bob@x.example").phone(PHONE).time("2026-02-04T00:00:00Z"),
        ])
        .await;
    assert_eq!(again, [&ids[0], &ids[1], &ids[1], &ids[0]].map(ToOwned::to_owned));
    assert_eq!(app.rows("contacts").await, 2);
    assert_eq!(show(app, &ids[0]).await.pointer("/contact/name"), Some(&"Zoe".into()));
    assert_eq!(show(app, &ids[1]).await.pointer("/contact/name"), Some(&"Bob C".into()));
    let heard = app.broker.heard().await;
    let zoe = only(heard.iter().filter(|heard| heard.at("/data/contact/name") == "Zoe"));
    assert_eq!(zoe.at("/data/rejected"), &json!([{"field": "email", "reason": "contacts_kept_apart"}]));
    assert_eq!(app.rows("contact_links WHERE rule = 'separated'").await, 3);
    assert_eq!(app.rows("dead_letters").await, 0);
}

/// A contact that was merged through one of the two stays with that one, whichever absorbed the other.
#[apply(test)]
async fn third_contact_stays_with_the_one_it_merged_through(app: &TestApp) {
    app.run(&[]).await;
    let third = "+5511987654329";
    let ids = app
        .broker
        .publish_in_turn(&[
            by_phone(),
            by_email(),
            both("Eve"),
            Event::lead("Carl").phone(third).time("2026-01-10T00:00:00Z"),
            Event::lead("Carl").phone(third).email("bob@x.example").time("2026-01-11T00:00:00Z"),
        ])
        .await;
    let [ada, bob, _, carl, _] = ids.as_slice() else { panic!("{ids:?}") };
    let refused = app.cli(&["contact", "unmerge", "--company", "acme", ada]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("several contacts") && refused.stderr.contains(bob.as_str()));
    unmerge(app, bob).await;
    assert_eq!(app.rows("contacts").await, 2);
    assert_eq!(show(app, carl).await, show(app, bob).await);
    let found = app.json(&["contact", "find", "--company", "acme", "--phone", third]).await;
    assert_eq!(only(found.as_array().unwrap()).get("id"), Some(&json!(bob)));
    // An operator may unmerge the remaining two as well.
    unmerge(app, carl).await;
    assert_eq!(app.rows("contacts").await, 3);
    assert_eq!(app.rows("contact_aliases").await, 0);
    let strays = "contact_identifiers i JOIN contacts c USING (company_id, contact_id)
                  WHERE i.value <> ALL (c.phones || c.emails)";
    assert_eq!(app.rows(strays).await, 0);
}

#[apply(test)]
async fn refused_unmerge_says_why(app: &TestApp) {
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), both("Eve")]).await;
    let nobody = "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11";
    for (company, id, why) in
        [("acme", nobody, "no such contact"), ("globex", ids[1].as_str(), "no such contact")]
    {
        let refused = app.cli(&["contact", "unmerge", "--company", company, id]).await;
        assert_eq!(refused.code, Some(1), "{why}");
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    // The living contact's id suffices if it absorbed only one.
    unmerge(app, &ids[0]).await;
    for id in &ids[..2] {
        let refused = app.cli(&["contact", "unmerge", "--company", "acme", id]).await;
        assert!(
            refused.code == Some(1) && refused.stderr.contains("nothing was merged"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(app.rows("contacts").await, 2);
}

/// Hundreds of events of both arrive during the unmerge.
#[apply(test)]
async fn unmerge_under_load_loses_no_event(app: &TestApp) {
    app.set("UPSERT__BATCH_SIZE", "7");
    app.run(&[]).await;
    app.run(&["upsert"]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), both("Eve")]).await;
    let events: Vec<Event> = (0..300)
        .map(|n| {
            let lead =
                Event::lead(&format!("n{n}")).time(&format!("2026-03-01T00:{:02}:{:02}Z", n / 60, n % 60));
            match n % 3 {
                0 => lead.phone(PHONE),
                1 => lead.email("bob@x.example"),
                _ => lead.phone(PHONE).email("bob@x.example"),
            }
        })
        .collect();
    let ((), done) = tokio::join!(app.broker.publish_all(&events), unmerge(app, &ids[1]));
    assert_eq!(done.get("restoredContactId"), Some(&json!(ids[1])));
    app.wait_for_rows("trigger_events", 303).await;
    assert_eq!(app.rows("contacts").await, 2);
    assert_eq!(show(app, &ids[0]).await.pointer("/contact/name"), Some(&"n299".into()));
    assert_eq!(show(app, &ids[1]).await.pointer("/contact/name"), Some(&"n298".into()));
    assert_eq!(app.rows("dead_letters").await, 0);
}

/// Waits until `count` sessions wait for the contact's lock.
async fn wait_behind(app: &TestApp, count: i64) {
    app.wait_for_blocked_sessions(count).await;
}

const HELD: &str = "SELECT FROM contacts WHERE contact_id = $1::uuid FOR UPDATE";

#[apply(test)]
async fn concurrent_unmerges_split_once(app: &TestApp) {
    app.run(&[]).await;
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), both("Eve")]).await;
    let mut holder = app.pool.begin().await.unwrap();
    sqlx::query(HELD).bind(&ids[0]).execute(&mut *holder).await.unwrap();
    let part = ["contact", "unmerge", "--company", "acme", ids[1].as_str(), "--operator", "grace"];
    let (one, other, ()) = tokio::join!(app.cli(&part), app.cli(&part), async {
        wait_behind(app, 2).await;
        holder.rollback().await.unwrap();
    });
    let (done, refused) = if one.code == Some(0) { (one, other) } else { (other, one) };
    assert_eq!((done.code, refused.code), (Some(0), Some(1)));
    assert!(refused.stderr.contains("nothing was merged"), "{}", refused.stderr);
    assert_eq!(app.rows("contact_links WHERE kind = 'unmerged'").await, 1);
    assert_eq!(app.rows("contacts WHERE cardinality(separations) = 1").await, 2);
}

/// An older contact absorbs the two before the unmerge has the lock.
#[apply(test)]
async fn contact_merged_away_meanwhile_is_still_unmerged(app: &TestApp) {
    app.run(&[]).await;
    let old = Event::lead("Old").email("old@x.example").time("2020-01-01T00:00:00Z");
    let ids = app.broker.publish_in_turn(&[by_phone(), by_email(), both("Eve"), old]).await;
    let mut holder = app.pool.begin().await.unwrap();
    sqlx::query(HELD).bind(&ids[0]).execute(&mut *holder).await.unwrap();
    let link = Event::lead("Old").phone(PHONE).email("old@x.example").time("2026-02-01T00:00:00Z");
    app.broker.publish(&link).await;
    wait_behind(app, 1).await;
    let (done, ()) = tokio::join!(unmerge(app, &ids[1]), async {
        wait_behind(app, 2).await;
        holder.rollback().await.unwrap();
    });
    assert_eq!(done.get("restoredContactId"), Some(&json!(ids[1])));
    // The worker gives up its wait for the lock after a moment and tries again, so it may be the second.
    let absorbed = async || (show(app, &ids[0]).await == show(app, &ids[3]).await).then_some(());
    eventually("the older contact has absorbed the other", absorbed).await;
    assert_eq!(app.rows("contacts").await, 2);
}

/// An unmerge may change which of two contacts absorbs the other. The next unmerge splits from the contact that
/// absorbs now, not from the one that did at the merge.
#[apply(test)]
async fn unmerge_splits_from_the_contact_that_absorbed_it_now(app: &TestApp) {
    app.run(&[]).await;
    let [k, x, a] = ["+5511987654331", "+5511987654332", "+5511987654333"];
    let at = |time: &str| Event::lead("Eve").time(&format!("{time}T00:00:00Z"));
    let ids = app
        .broker
        .publish_in_turn(&[
            at("2026-01-05").email("bob@x.example"),
            at("2026-01-06").phone(k),
            at("2026-01-07").phone(k).email("bob@x.example"),
            at("2025-01-01").phone(k),
            at("2026-01-03").phone(x),
            at("2026-01-08").phone(x).email("bob@x.example"),
            at("2024-01-01").phone(a),
            at("2026-01-09").phone(a).email("bob@x.example"),
        ])
        .await;
    let [bob, other, _, _, older, _, oldest, _] = ids.as_slice() else { panic!("{ids:?}") };
    for (id, from) in [(bob, oldest), (other, older), (bob, older)] {
        let done = unmerge(app, id).await;
        assert_eq!([&done["contactId"], &done["restoredContactId"]], [from, id]);
    }
    assert_eq!(app.rows("contacts").await, 4);
    assert_eq!(app.rows("contact_aliases").await, 0);
}
