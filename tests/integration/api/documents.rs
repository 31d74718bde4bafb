//! Identity documents in requests are hidden, whichever contact they are of. These have no form of their own, so only the contact
//! says that they are documents.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, served};
use crate::support::{app::TestApp, event::Event, process::Process, test};

const FIRST: &str = "XK5544332";
const SECOND: &str = "QT1122334";
const THIRD: &str = "ZR9988776";

fn lead(document: &str, url: &str) -> Event {
    Event::lead("Ada").argument("identity", document).action(json!({
        "type": "WEBHOOK", "url": url, "method": "POST", "body": { "text": "document $identity of $name" },
    }))
}

/// What an operator sees of the delivery.
async fn shown(process: &Process, id: &Value) -> String {
    get(process, "tok-o", &format!("/api/v1/deliveries/{}", id.as_str().unwrap())).await.to_string()
}

async fn assert_hidden(process: &Process, id: &Value) {
    let shown = shown(process, id).await;
    let leaks = [FIRST, SECOND, THIRD].into_iter().any(|document| shown.contains(document));
    assert!(!leaks && shown.contains("document ***"), "{shown}");
}

#[apply(test)]
async fn documents_that_a_contact_has_or_had_are_hidden(app: &TestApp) {
    let process = served(app).await;
    let url = app.receiver.url("/ok");
    let (email, phone) = ("ada@x.example", "+5511987654321");
    for (place, event) in [
        lead(FIRST, &url).email(email).time("2026-01-01T10:00:00Z"),
        lead(SECOND, &url).email(email).time("2026-01-02T10:00:00Z"),
        lead(THIRD, &url).phone(phone).time("2026-01-03T10:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        app.broker.publish(&event).await;
        app.wait_for_deliveries("delivered", i64::try_from(place + 1).unwrap()).await;
    }
    let listed = get(&process, "tok-o", "/api/v1/deliveries").await["items"].clone();
    let [third, second, first] = [0, 1, 2].map(|place| listed[place]["id"].clone());
    for id in [&first, &second, &third] {
        assert_hidden(&process, id).await;
    }
    // The contact of the third delivery is merged into the other one, and gives it its document.
    app.broker.publish(&Event::lead("Ada").email(email).phone(phone).time("2026-01-04T10:00:00Z")).await;
    app.wait_for_rows(&format!("contacts WHERE identity = '{THIRD}'"), 1).await;
    app.wait_for_rows("contact_aliases", 1).await;
    // As retention does it.
    sqlx::query("DELETE FROM trigger_events").execute(&app.pool).await.unwrap();
    assert_hidden(&process, &third).await;
    assert!(shown(&process, &first).await.contains(FIRST), "nobody can know it any more");
}

#[apply(test)]
async fn documents_of_the_members_of_a_digest_are_hidden(app: &TestApp) {
    let url = app.receiver.url("/ok");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", digest_window = "1s" }}]"#));
    app.run(&["upsert"]).await;
    app.broker.publish(&lead(FIRST, &url).email("ada@x.example")).await;
    app.broker.publish(&lead(SECOND, &url).email("grace@x.example")).await;
    app.wait_for_rows("webhook_pending WHERE due_at <= now()", 2).await;
    let process = served(app).await;
    app.wait_for_deliveries("digested", 2).await;
    let listed = get(&process, "tok-o", "/api/v1/deliveries").await["items"].clone();
    let digest = listed.as_array().unwrap().iter().find(|one| one["digest"] == true).unwrap();
    app.wait_for_deliveries("delivered", 1).await;
    assert_hidden(&process, &digest["id"]).await;
}
