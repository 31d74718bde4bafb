//! "Newest only": an older version of a contact never follows a newer one.

use super::DELIVERED;
use crate::support::{Test, app::TestApp, event::Event, tests};

pub(super) fn tests() -> Vec<Test> {
    tests![
        a_waiting_older_version_is_superseded,
        a_newer_version_waits_for_one_on_its_way,
        a_replayed_older_version_is_not_sent,
    ]
}

const SUPERSEDED: &str = "SELECT count(*) FROM webhook_deliveries WHERE state = 'superseded'";

/// The same person, each time with another name.
fn version(url: &str, name: &str) -> Event {
    Event::lead(name).email("ada@order.example").webhook(url)
}

fn newest_only(app: &TestApp, url: &str) {
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
}

fn names(app: &TestApp) -> Vec<String> {
    let requests = app.receiver.requests();
    let name = |body: serde_json::Value| body["data"]["contact"]["name"].as_str().unwrap().to_owned();
    requests.iter().map(|request| name(request.json().unwrap())).collect()
}

async fn a_waiting_older_version_is_superseded(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    newest_only(app, &url);
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish(&version(&url, "Old")).await;
    app.count_becomes("SELECT count(*) FROM webhook_attempts", 1).await;
    app.broker.publish(&version(&url, "New")).await;
    app.count_becomes(DELIVERED, 1).await;
    app.count_becomes(SUPERSEDED, 1).await;
    assert_eq!(names(app), ["Old", "New"]);
}

async fn a_newer_version_waits_for_one_on_its_way(app: &TestApp) {
    let url = app.receiver.url("/held");
    newest_only(app, &url);
    app.run(&[]).await;
    app.run(&[]).await;
    app.broker.publish(&version(&url, "First")).await;
    app.webhooks(1).await;
    for name in ["Second", "Third"] {
        app.broker.publish(&version(&url, name)).await;
    }
    // Somebody else's is not held up.
    app.broker.publish(&Event::lead("Grace").email("grace@order.example").webhook(&url)).await;
    app.webhooks(2).await;
    app.count_becomes("SELECT count(*) FROM webhook_deliveries", 4).await;
    app.receiver.release();
    app.count_becomes("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'", 0).await;
    let names = names(app);
    assert_eq!(names.iter().rfind(|name| *name != "Grace").unwrap(), "Third", "{names:?}");
    assert_eq!(names.first().unwrap(), "First");
    let versions = "SELECT count(*) FROM (
            SELECT d.contact_version < lag(d.contact_version) OVER (PARTITION BY d.contact_id ORDER BY a.started_at) AS back
            FROM webhook_attempts a JOIN webhook_deliveries d USING (company_id, delivery_id)) v WHERE back";
    assert_eq!(app.count(versions).await, 0);
}

async fn a_replayed_older_version_is_not_sent(app: &TestApp) {
    let url = app.receiver.url("/status/400/1");
    newest_only(app, &url);
    app.run(&[]).await;
    app.broker.publish(&version(&url, "Old")).await;
    app.count_becomes("SELECT count(*) FROM dead_letters", 1).await;
    app.broker.publish(&version(&url, "New")).await;
    app.count_becomes(DELIVERED, 1).await;
    let replayed = app.cli(&["dead-letter", "replay", "--reason", "webhook_rejected", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    app.count_becomes(SUPERSEDED, 1).await;
    app.count_becomes("SELECT count(*) FROM dead_letters WHERE state = 'resolved'", 1).await;
    assert_eq!(names(app), ["Old", "New"]);
}
