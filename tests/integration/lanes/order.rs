//! "Newest only": an older version of a contact never follows a newer one.

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::DELIVERED;
use crate::support::{Test, app::TestApp, event::Event, tests};

pub(super) fn tests() -> Vec<Test> {
    tests![
        a_waiting_older_version_is_superseded,
        a_newer_version_waits_for_one_on_its_way,
        a_replayed_older_version_is_not_sent,
        who_lost_a_lease_supersedes_nothing,
    ]
}

const ORDER: &str = include_str!("../../../src/postgres/deliveries/order.sql");
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

/// A worker that was frozen after its claim, until others had sent what it claimed.
async fn who_lost_a_lease_supersedes_nothing(app: &TestApp) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    let fill = "INSERT INTO webhook_deliveries (company_id, delivery_id, event_key, step, source, event_id,
            trigger_name, contact_id, method, url, headers, state, next_attempt_at, endpoint_id, contact_version,
            newest_only, finished_at)
        SELECT 'acme', lpad(n::text, 32, '0')::uuid, gen_random_uuid(), 1, '/s', 'e', 't', $1, 'POST',
            'https://a.example/', '[]', CASE n WHEN 1 THEN 'delivered' ELSE 'pending' END, now(), $1, n, true,
            CASE n WHEN 1 THEN now() END
        FROM generate_series(1, 2) n";
    sqlx::query(fill).bind(Uuid::max()).execute(&mut conn).await.unwrap();
    let mine = vec![Uuid::from_u128(1)];
    let judged = sqlx::query(ORDER).bind(vec!["acme"]).bind(mine).bind(Uuid::now_v7());
    judged.execute(&mut conn).await.unwrap();
    let kept =
        "SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered' AND finished_at IS NOT NULL";
    assert_eq!(app.count(kept).await, 1);
}
