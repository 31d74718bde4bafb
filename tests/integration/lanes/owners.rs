//! The owner of a lane sends all of its deliveries, and only the owner decides. What waits in the memory of others obeys
//! its row as well.

use contact_relay::{dev::demo_receiver::DemoReceiver, domain::event::Key, postgres::endpoints::save_slots};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::leads;
use crate::support::{WAIT_TIMEOUT, app::TestApp, test};

const LANE: Uuid = Uuid::from_u128(1);

/// Creates a database with this one lane.
async fn lane(app: &TestApp, url: &str) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let insert = "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight)
                  VALUES ('acme', $1, $2, 64)";
    sqlx::query(insert).bind(LANE).bind(url).execute(&app.pool).await.unwrap();
}

/// Inserts a delivery of the only lane that is due at the start of the transaction.
async fn insert(conn: &mut PgConnection, url: &str) {
    let id = Uuid::now_v7();
    for statement in [
        "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
             trigger_name, method, url, headers, state, endpoint_id, newest_only, awaited, digest)
         SELECT 'acme', $1, now(), $1, 1, '/s', 'e', 't', 'POST', $2, '[]', 'pending', endpoint_id, false, false, false
         FROM webhook_endpoints",
        "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
             round_started_at)
         SELECT company_id, delivery_id, created_at, endpoint_id, now(), 0, 0, now()
         FROM webhook_deliveries WHERE delivery_id = $1 AND url = $2",
    ] {
        sqlx::query(statement).bind(id).bind(url).execute(&mut *conn).await.unwrap();
    }
}

async fn schedule(conn: &mut PgConnection) {
    let lower = "UPDATE webhook_endpoints SET next_due_at = least(next_due_at, now())";
    sqlx::query(lower).execute(conn).await.unwrap();
}

/// Its lane always has something in flight, so it is not released.
#[apply(test)]
async fn delivery_that_is_committed_after_a_later_one_is_sent(app: &TestApp) {
    let url = app.receiver.url("/held");
    lane(app, &url).await;
    app.run(&[]).await;
    let (mut early, mut late) = (app.pool.begin().await.unwrap(), app.pool.begin().await.unwrap());
    insert(&mut early, &url).await;
    insert(&mut late, &url).await;
    schedule(&mut late).await;
    late.commit().await.unwrap();
    app.webhooks(1).await;
    schedule(&mut early).await;
    early.commit().await.unwrap();
    app.webhooks(2).await;
    app.receiver.release();
    app.wait_for_deliveries("delivered", 2).await;
    assert_eq!(app.receiver.requests().len(), 2);
}

/// The lane always has something in flight, so it stays owned.
#[apply(test)]
async fn owner_that_has_caught_up_sends_from_memory(app: &TestApp) {
    let url = app.receiver.url("/held");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.webhooks(1).await;
    let mut conn = app.pool.acquire().await.unwrap();
    insert(&mut conn, &url).await;
    schedule(&mut conn).await;
    app.webhooks(2).await;
    app.broker.publish_all(&leads(&url, 1, 1)).await;
    app.webhooks(3).await;
    assert_eq!(app.rows("webhook_deliveries").await, 1, "that of the test");
    app.receiver.release();
    app.wait_for_deliveries("delivered", 3).await;
}

/// The owner of a lane loads what is due without a lock, so it may do so while a discard is being committed.
#[apply(test)]
async fn delivery_that_is_about_to_be_sent_is_not_discarded(app: &TestApp) {
    let url = app.receiver.url("/held");
    lane(app, &url).await;
    app.run(&[]).await;
    let mut conn = app.pool.acquire().await.unwrap();
    insert(&mut conn, &url).await;
    schedule(&mut conn).await;
    app.webhooks(1).await;
    for due in ["4 seconds", "1 hour"] {
        let mut later = app.pool.begin().await.unwrap();
        insert(&mut later, &url).await;
        let postpone = "UPDATE webhook_pending SET due_at = now() + $1::text::interval WHERE due_at = now()";
        sqlx::query(postpone).bind(due).execute(&mut *later).await.unwrap();
        later.commit().await.unwrap();
    }
    let discard = app.cli(&["delivery", "discard", "--state", "pending", "--yes", "-o", "json"]).await;
    assert_eq!(discard.code, Some(3), "{}", discard.stderr);
    let discarded: Value = serde_json::from_str(&discard.stdout).unwrap();
    assert_eq!(discarded, json!({"discarded": 1, "skipped": 2, "reasons": {"in_flight": 2}}));
    app.receiver.release();
    app.wait_for_deliveries("delivered", 2).await;
}

/// It planned its next requests, stood still, and lost the lane to another process, which has sent since.
#[apply(test)]
async fn former_owner_does_not_change_the_rate_of_a_lane(app: &TestApp) {
    lane(app, "https://a.example/").await;
    let (former, owner) = (Uuid::now_v7(), Uuid::now_v7());
    let claim = "UPDATE webhook_endpoints SET owner = $1, next_slot_at = now() + interval '1 hour'";
    sqlx::query(claim).bind(owner).execute(&app.pool).await.unwrap();
    let slot = "SELECT floor(extract(epoch FROM next_slot_at))::bigint FROM webhook_endpoints";
    let stored = app.count(slot).await;
    let key = Key { company: "acme".to_owned(), id: LANE };
    let mut conn = app.pool.acquire().await.unwrap();
    let planned = OffsetDateTime::now_utc();
    save_slots(&mut conn, former, &[(&key, planned)]).await.unwrap();
    assert_eq!(app.count(slot).await, stored);
    let planned = planned + Duration::hours(2);
    save_slots(&mut conn, owner, &[(&key, planned)]).await.unwrap();
    assert_eq!(app.count(slot).await, planned.unix_timestamp());
}

/// Both endpoints have no failures and hang, so all but one request of each wait in memory. Those of the other become rows as
/// well, but only because they have waited for long.
#[apply(test)]
async fn pause_reaches_first_attempts_that_wait_in_memory(app: &TestApp) {
    app.set("webhook.max_in_flight", "1");
    app.run(&[]).await;
    let other = DemoReceiver::start().await.unwrap();
    let (paused, running) = (app.receiver.url("/held"), other.url("/held"));
    app.broker.publish_all(&leads(&paused, 0, 10)).await;
    app.webhooks(1).await;
    app.wait_for_rows("applied_events", 10).await;
    // Last, so that they have not waited for long when the pause is heard of, however slow the machine.
    app.broker.publish_all(&leads(&running, 10, 10)).await;
    app.wait_for_rows("applied_events", 20).await;
    let pause = format!("UPDATE webhook_endpoints SET paused_at = now() WHERE url = '{paused}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(pause)).execute(&app.pool).await.unwrap();
    let rows = format!(
        "SELECT 100 * count(*) FILTER (WHERE url = '{paused}') + count(*) FILTER (WHERE url = '{running}')
         FROM webhook_deliveries"
    );
    app.count_becomes(&rows, 900).await;
    other.wait_for(WAIT_TIMEOUT, |all| !all.is_empty()).await.unwrap();
    app.receiver.release();
    other.release();
}
