//! The version of a contact id never goes back, whatever is merged and unmerged.

use macro_rules_attribute::apply;

use crate::support::{app::TestApp, event::Event, eventually, test};

const BOB: &str = "bob@x.example";

/// An event of a person who is older than Bob, and absorbs him when an event links the two.
fn older(name: &str, phone: &str) -> Event {
    Event::lead(name).phone(phone).time("2025-01-01T00:00:00Z")
}

/// The `number`-th event of this email. Each changes the city.
fn moved(email: &str, number: u32) -> Event {
    let time = format!("2026-01-01T00:00:{number:02}Z");
    Event::lead("Bob").email(email).argument("city", format!("City {number}")).time(&time)
}

async fn unmerge(app: &TestApp, id: &str) {
    app.json(&["contact", "unmerge", "--company", "acme", id, "--operator", "grace"]).await;
}

async fn version_after(app: &TestApp, event: &Event) -> i64 {
    app.broker.publish(event).await;
    app.broker.upserted(event).await.at("/data/contact/version").as_i64().unwrap()
}

/// The versions in the newest `contact.unmerged`, once `count` have been published.
async fn unmerged_versions(app: &TestApp, count: usize) -> Vec<i64> {
    let last = eventually("contact.unmerged is published", async || {
        let heard = app.broker.heard().await;
        let mut unmerged = heard.into_iter().filter(|heard| heard.at("/type") == "contact.unmerged");
        unmerged.nth(count - 1)
    })
    .await;
    let restored = last.at("/data/restoredContacts").as_array().unwrap();
    [last.at("/data/contact")]
        .into_iter()
        .chain(restored)
        .map(|one| one["version"].as_i64().unwrap())
        .collect()
}

#[apply(test)]
async fn restored_contact_continues_from_its_own_version(app: &TestApp) {
    let url = app.receiver.url("/");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
    app.run(&[]).await;
    let events: Vec<Event> = (0..20).map(|number| moved(BOB, number).webhook(&url)).collect();
    let bob = app.broker.publish_in_turn(&events).await.pop().unwrap();
    app.wait_for_deliveries("pending", 0).await;
    let superseded = app.rows("webhook_deliveries WHERE state = 'superseded'").await;
    let mut last = version_after(app, &moved(BOB, 20)).await;
    assert_eq!(last, 21);
    // A second merge and unmerge must not fall back behind the first.
    for (round, (name, phone)) in [("Ada", "+5511987654321"), ("Grace", "+5511987654322")].iter().enumerate()
    {
        let link = older(name, phone).email(BOB).time("2024-01-01T00:00:00Z");
        let ids = app.broker.publish_in_turn(&[older(name, phone), link]).await;
        assert_eq!(ids[0], ids[1], "the older contact absorbs the other");
        unmerge(app, &bob).await;
        let versions = unmerged_versions(app, round + 1).await;
        assert!(
            versions.len() == 2 && versions.iter().all(|version| *version > last),
            "{versions:?} > {last}"
        );
        last = *versions.iter().max().unwrap();
        let number = 30 + u32::try_from(round).unwrap();
        let event = moved(BOB, number).webhook(&url);
        let version = version_after(app, &event).await;
        assert_eq!(version, last + 1);
        last = version;
    }
    // A receiver of the newest versions only still hears of the restored contact.
    app.wait_for_deliveries("delivered", 22 - superseded).await;
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'superseded'").await, superseded);
}

#[apply(test)]
async fn contact_that_stays_merged_keeps_its_version_through_an_unmerge(app: &TestApp) {
    app.run(&[]).await;
    let carl = "carl@x.example";
    let events: Vec<Event> = (0..10).map(|number| moved(carl, number)).collect();
    let carl_id = app.broker.publish_in_turn(&events).await.pop().unwrap();
    let third = "+5511987654329";
    let bob = Event::lead("Bob").phone(third).time("2025-06-01T00:00:00Z");
    let with_carl = Event::lead("Bob").phone(third).email(carl).time("2025-06-03T00:00:00Z");
    // An event has one email and one phone, so Bob gets an email that links him to Ada.
    let with_email = Event::lead("Bob").phone(third).email(BOB).time("2025-06-02T00:00:00Z");
    let ada = older("Ada", "+5511987654321");
    let with_bob = older("Ada", "+5511987654321").email(BOB).time("2025-06-04T00:00:00Z");
    let ids = app.broker.publish_in_turn(&[bob, with_carl, with_email, ada, with_bob]).await;
    assert_eq!(app.rows("contact_aliases").await, 2);
    unmerge(app, &ids[0]).await;
    assert_eq!(app.rows("contact_aliases").await, 1, "Carl stays with Bob");
    unmerge(app, &carl_id).await;
    let versions = unmerged_versions(app, 2).await;
    assert!(versions.iter().all(|version| *version > 10), "{versions:?}");
    let version = version_after(app, &moved(carl, 40)).await;
    assert_eq!(version, versions.iter().max().unwrap() + 1);
}
