//! "Newest only": an older version of a contact never follows a newer one.

use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use super::plans::{rows_read, scans, searched};
use crate::support::{app::TestApp, event::Event, test};

const ORDER: &str = include_str!("../../../src/postgres/deliveries/supersede.sql");

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

#[apply(test)]
async fn pending_older_version_is_superseded(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    newest_only(app, &url);
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish(&version(&url, "Old")).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    app.broker.publish(&version(&url, "New")).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_deliveries("superseded", 1).await;
    assert_eq!(names(app), ["Old", "New"]);
}

#[apply(test)]
async fn newer_version_waits_for_one_in_flight(app: &TestApp) {
    let url = app.receiver.url("/held");
    newest_only(app, &url);
    app.run(&[]).await;
    app.run(&[]).await;
    app.broker.publish(&version(&url, "First")).await;
    app.webhooks(1).await;
    for name in ["Second", "Third"] {
        app.broker.publish(&version(&url, name)).await;
    }
    // Another contact's delivery does not wait.
    app.broker.publish(&Event::lead("Grace").email("grace@order.example").webhook(&url)).await;
    app.webhooks(2).await;
    app.wait_for_rows("webhook_deliveries", 4).await;
    app.receiver.release();
    app.wait_for_deliveries("pending", 0).await;
    let names = names(app);
    assert_eq!(names.iter().rfind(|name| *name != "Grace").unwrap(), "Third", "{names:?}");
    assert_eq!(names.first().unwrap(), "First");
    let versions = "(
            SELECT d.contact_version < lag(d.contact_version) OVER (PARTITION BY d.contact_id ORDER BY a.started_at) AS back
            FROM all_webhook_attempts a JOIN webhook_deliveries d USING (company_id, delivery_id)) v WHERE back";
    assert_eq!(app.rows(versions).await, 0);
}

#[apply(test)]
async fn replayed_older_version_is_not_sent(app: &TestApp) {
    let url = app.receiver.url("/status/400/1");
    newest_only(app, &url);
    app.run(&[]).await;
    app.broker.publish(&version(&url, "Old")).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.broker.publish(&version(&url, "New")).await;
    app.wait_for_deliveries("delivered", 1).await;
    let replayed = app.cli(&["dead-letter", "replay", "--reason", "webhook_rejected", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    app.wait_for_deliveries("superseded", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 1).await;
    assert_eq!(names(app), ["Old", "New"]);
}

/// The replay failed as well, so it waits for its next attempt when the newer version is claimed.
#[apply(test)]
async fn dead_letter_of_a_superseded_replay_is_resolved(app: &TestApp) {
    let url = app.receiver.url("/status/503/2");
    newest_only(app, &url);
    app.set("webhook.retry_schedule", "[]");
    let service = app.run(&[]).await;
    app.broker.publish(&version(&url, "Old")).await;
    app.wait_for_rows("dead_letters", 1).await;
    service.sigterm();
    service.ended().await;
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let replayed = app.cli(&["dead-letter", "replay", "--reason", "webhook_exhausted", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    app.wait_for_rows("webhook_pending WHERE attempts = 2", 1).await;
    app.broker.publish(&version(&url, "New")).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_deliveries("superseded", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 1).await;
    assert_eq!(names(app), ["Old", "Old", "New"]);
}

/// Inserts deliveries of one endpoint, numbered from 1 in id and version. `$1` is the last, up to `$2` they belong
/// to contact `$4`, and from `$3` on they are pending.
const FILL: [&str; 2] = [
    "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
         trigger_name, contact_id, method, url, headers, state, endpoint_id, contact_version, newest_only, awaited,
         digest, finished_at)
     SELECT 'acme', lpad(n::text, 32, '0')::uuid, now(), gen_random_uuid(), 1, '/s', 'e', 't',
         CASE WHEN n <= $2 THEN $4 ELSE gen_random_uuid() END, 'POST', 'https://a.example/', '[]',
         CASE WHEN n < $3 THEN 'delivered' ELSE 'pending' END, $4, n, true, false, false,
         CASE WHEN n < $3 THEN now() END
     FROM generate_series(1, $1) n",
    "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
         round_started_at, contact_id, contact_version)
     SELECT company_id, delivery_id, created_at, endpoint_id, now(), 0, 0, now(), contact_id, contact_version
     FROM webhook_deliveries
     WHERE state = 'pending' AND $1::integer > 0 AND $2::integer > 0 AND $3::integer > 0 AND $4::uuid IS NOT NULL",
];

/// A connection to a database with these deliveries. `before` runs while the table is still empty.
async fn filled(app: &TestApp, before: &str, [last, of_one, pending_from]: [i32; 3]) -> PgConnection {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(before.to_owned())).execute(&mut conn).await.unwrap();
    for statement in FILL {
        let fill = sqlx::query(statement).bind(last).bind(of_one).bind(pending_from).bind(Uuid::max());
        fill.execute(&mut conn).await.unwrap();
    }
    conn
}

/// Even with a plan that was cached on an empty table.
#[apply(test)]
async fn version_check_reads_no_finished_or_unrelated_rows(app: &TestApp) {
    let execute =
        |id: u32| format!("EXECUTE keep(ARRAY['acme'], ARRAY['{id:0>32}']::uuid[], ARRAY[]::uuid[])");
    // The service's planner settings.
    let before = format!(
        "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
         SET plan_cache_mode = force_generic_plan;
         PREPARE keep (text[], uuid[], uuid[]) AS {ORDER};
         {}",
        execute(0)
    );
    let mut conn = filled(app, &before, [10_000, 5_000, 4_999]).await;
    let explained = format!("EXPLAIN (ANALYZE, FORMAT JSON) {}", execute(5_000));
    let row = sqlx::raw_sql(AssertSqlSafe(explained)).fetch_one(&mut conn).await.unwrap();
    let plan: Value = row.get(0);
    assert_eq!(app.deliveries("superseded").await, 1, "the one before");
    let read = rows_read(&scans(&plan[0]["Plan"]));
    assert!(read <= 10.0, "{read} rows read for two: {plan:#}");
    let searched = searched(&plan[0]["Plan"]);
    assert!(searched.len() <= 3, "not the partitions of other days: {searched:?}");
}

/// An older version is in flight: the newer one waits for it.
#[apply(test)]
async fn newer_version_waits_for_an_older_one_in_flight(app: &TestApp) {
    let mut conn = filled(app, "", [2, 2, 1]).await;
    let (older, newer) = (vec![Uuid::from_u128(1)], vec![Uuid::from_u128(2)]);
    let judged = sqlx::query(ORDER).bind(vec!["acme"]).bind(newer).bind(older);
    assert_eq!(judged.fetch_all(&mut conn).await.unwrap().len(), 1);
    assert_eq!(app.rows("webhook_pending WHERE due_at > now() - interval '1 minute'").await, 2);
    assert_eq!(app.rows("webhook_pending WHERE contact_version = 2 AND due_at > round_started_at").await, 1);
    assert_eq!(app.deliveries("superseded").await, 0);
}
