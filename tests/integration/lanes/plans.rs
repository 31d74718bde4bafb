//! A claim reads only the rows that it returns, and one for each endpoint with pending deliveries.

use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::support::{app::TestApp, test};

const MINUTE: Duration = Duration::from_mins(1);

const CLAIM: &str = include_str!("../../../src/postgres/deliveries/claim.sql");

/// Inserts `$2` deliveries in state `$3`, due in `$4` seconds, of `$5` endpoints from number `$1` on.
const FILL: &str = "
    INSERT INTO webhook_deliveries (company_id, delivery_id, event_key, step, source, event_id, trigger_name, method,
        url, headers, state, next_attempt_at, endpoint_id, attempts)
    SELECT 'acme', gen_random_uuid(), gen_random_uuid(), 1, '/s', 'e', 't', 'POST', 'https://a.example/', '[]', $3,
        now() + $4::integer * interval '1 second' - n * interval '1 millisecond',
        ('00000000-0000-0000-0000-' || lpad(($1::integer + n % $5)::text, 12, '0'))::uuid, 1
    FROM generate_series(1, $2::integer) n";

async fn fill(conn: &mut PgConnection, endpoint: i32, count: i32, state: &str, due_in: i32, endpoints: i32) {
    let fill = sqlx::query(FILL).bind(endpoint).bind(count).bind(state).bind(due_in).bind(endpoints);
    fill.execute(&mut *conn).await.unwrap();
    let rows = "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight)
                SELECT DISTINCT company_id, endpoint_id, endpoint_id::text, 64 FROM webhook_deliveries
                ON CONFLICT DO NOTHING";
    sqlx::query(rows).execute(conn).await.unwrap();
}

/// A connection with the service's planner settings.
async fn connection(app: &TestApp) -> PgConnection {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    for setting in ["enable_seqscan", "enable_hashjoin", "enable_mergejoin"] {
        sqlx::query(AssertSqlSafe(format!("SET {setting} = off"))).execute(&mut conn).await.unwrap();
    }
    conn
}

/// Claims up to `limit` deliveries, and returns their number and the plan.
async fn claim(conn: &mut PgConnection, limit: i32) -> (i32, Value) {
    claim_beside(conn, limit, json!({})).await
}

/// Claims for a process whose lanes are already `busy`.
async fn claim_beside(conn: &mut PgConnection, limit: i32, busy: Value) -> (i32, Value) {
    let explained = AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {CLAIM}"));
    let row = sqlx::query(explained)
        .bind(i64::from(limit))
        .bind(MINUTE)
        .bind(Uuid::now_v7())
        .bind(busy)
        .bind(60 * MINUTE)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let plan: Value = row.get(0);
    let plan = plan[0]["Plan"].clone();
    // Newer servers print a fraction.
    let rows = plan["Actual Rows"].to_string();
    (rows.split('.').next().unwrap().parse().unwrap(), plan)
}

/// Rows returned and rows removed by each scan of the deliveries.
pub(super) fn scans(plan: &Value) -> Vec<(f64, f64)> {
    let mut scans = Vec::new();
    let mut nodes = vec![plan];
    while let Some(node) = nodes.pop() {
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
        assert_ne!(node["Node Type"], "Seq Scan", "{node:#}");
        if node["Relation Name"] == "webhook_deliveries"
            && node["Node Type"].as_str().unwrap().ends_with("Scan")
        {
            let loops = node["Actual Loops"].as_f64().unwrap();
            let number = |name: &str| node[name].as_f64().unwrap_or_default() * loops;
            let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
            scans.push((number("Actual Rows"), removed));
        }
    }
    scans
}

pub(super) fn rows_read(scans: &[(f64, f64)]) -> f64 {
    scans.iter().map(|(given, removed)| given + removed).sum()
}

/// Checks that a claim reads each claimed row at most twice (found, then written), and one row for each endpoint.
fn assert_lean(plan: &Value, claimed: i32, endpoints: i32) {
    let scans = scans(plan);
    let most = f64::from(2 * claimed + endpoints + 1);
    let read = rows_read(&scans);
    assert!(read <= most, "{read} rows read for {claimed} of {endpoints} endpoints: {plan:#}");
    assert!(scans.iter().all(|(_, removed)| *removed < 1.0), "{scans:?}");
}

#[apply(test)]
async fn claim_reads_only_what_it_returns(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, 100, 10_000, "pending", 0, 50).await;
    let mut claimed = 0;
    for _ in 0..10 {
        let (count, plan) = claim(&mut conn, 1_000).await;
        assert_lean(&plan, count, 50);
        assert_eq!(count, 1_000);
        claimed += count;
    }
    assert_eq!(claimed, 10_000, "each of them once");
    let (count, _) = claim(&mut conn, 1_000).await;
    assert_eq!(count, 0);
}

/// As in production: statistics from a small table, and many more finished deliveries than pending ones.
#[apply(test)]
async fn claim_reads_no_finished_or_paused_deliveries(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, 1, 50_000, "delivered", 0, 10).await;
    // A paused endpoint with due deliveries, and others with none due.
    fill(&mut conn, 50, 5_000, "pending", 0, 1).await;
    sqlx::query("UPDATE webhook_endpoints SET paused_at = now() WHERE endpoint_id::text LIKE '%50'")
        .execute(&mut conn)
        .await
        .unwrap();
    fill(&mut conn, 60, 5_000, "pending", 3_600, 5).await;
    fill(&mut conn, 70, 20, "pending", 0, 1).await;
    let (count, plan) = claim(&mut conn, 1_000).await;
    assert_eq!(count, 20);
    assert_lean(&plan, count, 7);
}

/// Each consecutive failure lowers the number, down to one.
#[apply(test)]
async fn failures_lower_the_number_claimed(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, 1, 1_000, "pending", 0, 1).await;
    for (failures, expected) in [(0, 128), (1, 32), (7, 8), (1_000, 1)] {
        let fail = "UPDATE webhook_endpoints SET failures = $1";
        sqlx::query(fail).bind(failures).execute(&mut conn).await.unwrap();
        assert_eq!(claim(&mut conn, 1_000).await.0, expected, "{failures}");
    }
}

/// A lane without failures may claim its throughput's worth if that exceeds twice its cap.
#[apply(test)]
async fn fast_lane_is_claimed_ahead(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, 1, 2_000, "pending", 0, 1).await;
    let lane = "00000000-0000-0000-0000-000000000001";
    for (busy, pace, expected) in
        [(0, 100, 128), (0, 500, 500), (250, 500, 250), (251, 500, 0), (64, 100, 64)]
    {
        let claimed = claim_beside(&mut conn, 1_000, json!({ lane: [busy, pace] })).await.0;
        assert_eq!(claimed, expected, "{busy} of {pace}");
    }
    sqlx::query("UPDATE webhook_endpoints SET failures = 1").execute(&mut conn).await.unwrap();
    assert_eq!(claim_beside(&mut conn, 1_000, json!({ lane: [0, 500] })).await.0, 32, "after a failure");
}

/// After the prober was killed, the next probe is claimed when its lease expires.
#[apply(test)]
async fn one_probe_is_claimed_at_a_time(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, 1, 100, "pending", 0, 1).await;
    let set = async |conn: &mut PgConnection, state: &str, until: i32| {
        let set =
            "UPDATE webhook_endpoints SET breaker = $1, breaker_until = now() + $2 * interval '1 second'";
        sqlx::query(set).bind(state).bind(until).execute(conn).await.unwrap();
    };
    set(&mut conn, "open", 60).await;
    assert_eq!(claim(&mut conn, 50).await.0, 0, "open");
    set(&mut conn, "open", -1).await;
    assert_eq!(claim(&mut conn, 50).await.0, 1, "a probe");
    assert_eq!(claim(&mut conn, 50).await.0, 0, "it is on its way");
    assert_eq!(app.rows("webhook_endpoints WHERE breaker = 'half_open'").await, 1);
    set(&mut conn, "half_open", -1).await;
    assert_eq!(claim(&mut conn, 50).await.0, 1, "its lease has ended");
}

/// An operator's update of the delivery that would be the probe commits after the claim started.
#[apply(test)]
async fn delivery_changed_during_the_claim_is_not_the_probe(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, 1, 1, "pending", 0, 1).await;
    sqlx::query("UPDATE webhook_endpoints SET breaker = 'open'").execute(&mut conn).await.unwrap();
    // Still due, because the new time is before the claim.
    let mut operator = app.pool.begin().await.unwrap();
    let hasten = "UPDATE webhook_deliveries SET next_attempt_at = now()";
    sqlx::query(hasten).execute(&mut *operator).await.unwrap();
    // A claim that waits before it reads anything.
    let relaxed = "set_config('synchronous_commit', 'off', true)";
    let slow = CLAIM.replace(relaxed, "pg_advisory_xact_lock(1)::text");
    assert_ne!(slow, CLAIM);
    let mut gate = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(1)").execute(&mut gate).await.unwrap();
    let claiming = tokio::spawn(async move {
        let slow = sqlx::query(AssertSqlSafe(slow)).bind(10_i64).bind(MINUTE).bind(Uuid::now_v7());
        let rows = slow.bind(json!({})).bind(60 * MINUTE).fetch_all(&mut conn).await.unwrap();
        (conn, rows.len())
    });
    let waits = "pg_stat_activity
                 WHERE datname = current_database() AND wait_event = 'advisory'";
    app.wait_for_rows(waits, 1).await;
    operator.commit().await.unwrap();
    sqlx::query("SELECT pg_advisory_unlock(1)").execute(&mut gate).await.unwrap();
    let (mut conn, claimed) = claiming.await.unwrap();
    let next = claim(&mut conn, 10).await.0;
    assert_eq!((claimed, next), (0, 1), "the next claim probes");
}

/// A migration may take longer than a worker's statement: it builds the indexes of large tables.
#[apply(test)]
async fn migration_ignores_the_statement_timeout(app: &TestApp) {
    sqlx::query("CREATE SCHEMA fresh").execute(&app.pool).await.unwrap();
    let url = app.setting("postgres.url");
    app.set("postgres.url", &format!("{url}?options[search_path]=fresh"));
    app.set("postgres.statement_timeout", "500ms");
    // The migration waits for this transaction when it creates the same table.
    let mut writer = app.pool.begin().await.unwrap();
    sqlx::query("CREATE TABLE fresh.outbox ()").execute(&mut *writer).await.unwrap();
    let release = async {
        app.wait_for_blocked_sessions(1).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        writer.rollback().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(app.cli(&["migrate"]), release);
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    assert_eq!(app.rows("fresh.outbox").await, 0);
    app.set("postgres.url", &url);
}
