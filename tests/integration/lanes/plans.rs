//! The statements of the webhook worker read the rows that they return, and no others, however much waits or is
//! finished.

use std::{collections::BTreeSet, time::Duration};

use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::support::{app::TestApp, test};

const RECORD: &str = include_str!("../../../src/postgres/deliveries/record.sql");

const LOAD: &str = include_str!("../../../src/postgres/deliveries/load.sql");

const ATTEMPTS: &str = include_str!("../../../src/postgres/attempts/of_delivery.sql");

/// Inserts `$3` deliveries of company `$1` in state `$4`, due in `$5` seconds, of `$6` endpoints from number `$2` on, and
/// their endpoints.
const FILL: [&str; 3] = [
    "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, next_due_at)
     SELECT $1, ('00000000-0000-0000-0000-' || lpad(($2::integer + n)::text, 12, '0'))::uuid, n::text, 64,
         CASE WHEN $4 = 'pending' THEN now() + $5::integer * interval '1 second' ELSE 'infinity' END
     FROM generate_series(0, $6::integer - 1) n WHERE $3::integer > 0",
    "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
         trigger_name, method, url, headers, state, endpoint_id, newest_only, awaited, digest)
     SELECT $1, ('00000000-0000-0000-' || lpad($2::text, 4, '0') || '-' || lpad(n::text, 12, '0'))::uuid, now(),
         gen_random_uuid(), 1, '/s', 'e', 't', 'POST', 'https://a.example/', '[]', $4,
         ('00000000-0000-0000-0000-' || lpad(($2::integer + n % $6)::text, 12, '0'))::uuid, false, false, false
     FROM generate_series(1, $3::integer) n WHERE $5::integer IS NOT NULL",
    "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
         round_started_at)
     SELECT company_id, delivery_id, created_at, endpoint_id, now() + $5::integer * interval '1 second', 0, 0, now()
     FROM webhook_deliveries
     WHERE company_id = $1 AND state = 'pending' AND $4 = 'pending'
       AND delivery_id BETWEEN ('00000000-0000-0000-' || lpad($2::text, 4, '0') || '-' || lpad('1', 12, '0'))::uuid
           AND ('00000000-0000-0000-' || lpad($2::text, 4, '0') || '-' || lpad($3::text, 12, '0'))::uuid
       AND $6::integer > 0",
];

#[derive(Clone, Copy)]
pub(super) struct Fill<'a> {
    pub(super) company: &'a str,
    pub(super) endpoint: i32,
    pub(super) deliveries: i32,
    pub(super) state: &'a str,
    pub(super) due_in: i32,
    pub(super) endpoints: i32,
}

pub(super) async fn fill(conn: &mut PgConnection, fill: Fill<'_>) {
    for statement in FILL {
        let filled = sqlx::query(statement)
            .bind(fill.company)
            .bind(fill.endpoint)
            .bind(fill.deliveries)
            .bind(fill.state)
            .bind(fill.due_in)
            .bind(fill.endpoints);
        filled.execute(&mut *conn).await.unwrap();
    }
}

/// A connection with the service's planner settings.
pub(super) async fn connection(app: &TestApp) -> PgConnection {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    for setting in ["enable_seqscan", "enable_hashjoin", "enable_mergejoin"] {
        sqlx::query(AssertSqlSafe(format!("SET {setting} = off"))).execute(&mut conn).await.unwrap();
    }
    // A worker prepares its statements once.
    sqlx::query("SET plan_cache_mode = force_generic_plan").execute(&mut conn).await.unwrap();
    conn
}

/// Rows returned and rows removed by each scan of a table of webhooks.
pub(super) fn scans(plan: &Value) -> Vec<(f64, f64)> {
    let mut scans = Vec::new();
    let mut nodes = vec![plan];
    while let Some(node) = nodes.pop() {
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
        assert_ne!(node["Node Type"], "Seq Scan", "{node:#}");
        if node["Relation Name"].as_str().is_some_and(|name| name.starts_with("webhook_"))
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

/// The partitions that a plan has searched.
pub(super) fn searched(plan: &Value) -> BTreeSet<String> {
    let mut searched = BTreeSet::new();
    let mut nodes = vec![plan];
    while let Some(node) = nodes.pop() {
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
        let name = node["Relation Name"].as_str().filter(|_| node["Actual Loops"].as_f64() > Some(0.0));
        let partition = name.filter(|name| {
            ["webhook_deliveries_", "webhook_attempts_"].iter().any(|table| name.starts_with(table))
        });
        searched.extend(partition.map(str::to_owned));
    }
    searched
}

pub(super) fn rows_read(scans: &[(f64, f64)]) -> f64 {
    scans.iter().map(|(given, removed)| given + removed).sum()
}

/// Checks that a plan reads at most so many rows, and none that it does not need.
pub(super) fn assert_lean(plan: &Value, most: u32) {
    let scans = scans(plan);
    let read = rows_read(&scans);
    assert!(read <= f64::from(most), "{read} rows read, at most {most} expected: {plan:#}");
    assert!(scans.iter().all(|(_, removed)| *removed < 1.0), "{scans:?}");
}

/// As in production: statistics from a small table, and many more finished deliveries than pending ones.
#[apply(test)]
async fn load_reads_only_what_it_returns(app: &TestApp) {
    let mut conn = connection(app).await;
    let finished = Fill {
        company: "acme",
        endpoint: 1,
        deliveries: 30_000,
        state: "delivered",
        due_in: 0,
        endpoints: 10,
    };
    fill(&mut conn, finished).await;
    let waiting = Fill {
        company: "acme",
        endpoint: 100,
        deliveries: 10_000,
        state: "pending",
        due_in: 0,
        endpoints: 2,
    };
    fill(&mut conn, waiting).await;
    let later = Fill {
        company: "acme",
        endpoint: 200,
        deliveries: 5_000,
        state: "pending",
        due_in: 60,
        endpoints: 2,
    };
    fill(&mut conn, later).await;
    let lane = |number| Uuid::parse_str(&format!("00000000-0000-0000-0000-{number:012}")).unwrap();
    let lanes: Vec<Uuid> = [100, 101, 200, 201].into_iter().map(lane).collect();
    let owner = Uuid::now_v7();
    let own = sqlx::query("UPDATE webhook_endpoints SET owner = $1").bind(owner);
    own.execute(&mut conn).await.unwrap();
    let plan = load(&mut conn, owner, &lanes, &[], i64::MAX).await;
    assert_eq!(plan["Actual Rows"].to_string().split('.').next(), Some("200"));
    // Each with its pending row, and the lanes.
    assert_lean(&plan, 404);
    // Those that are in memory already are passed over, one narrow row each.
    let first = "SELECT delivery_id FROM (
            SELECT delivery_id, row_number() OVER (PARTITION BY endpoint_id ORDER BY due_at, delivery_id) AS n
            FROM webhook_pending WHERE endpoint_id = ANY($1)) p WHERE n <= 50";
    let first: Vec<Uuid> = sqlx::query_scalar(first).bind(&lanes[..2]).fetch_all(&mut conn).await.unwrap();
    let plan = load(&mut conn, owner, &lanes, &first, i64::MAX).await;
    assert_eq!(plan["Actual Rows"].to_string().split('.').next(), Some("200"));
    let read = rows_read(&scans(&plan));
    assert!(read <= 504.0, "{read} rows read: {plan:#}");
    assert!(plan.to_string().contains("hashed SubPlan"), "each is compared with all: {plan:#}");
    let large =
        "UPDATE webhook_deliveries SET body = decode(repeat('00', 100), 'hex') WHERE state = 'pending'";
    sqlx::query(large).execute(&mut conn).await.unwrap();
    let plan = load(&mut conn, owner, &lanes, &[], 950).await;
    assert_eq!(plan["Actual Rows"].to_string().split('.').next(), Some("10"), "1,000 bytes");
}

/// Loads up to 100 deliveries of each lane, none of those `loaded`, until their bodies have so many bytes, and returns the
/// plan.
async fn load(
    conn: &mut PgConnection,
    owner: Uuid,
    lanes: &[Uuid],
    loaded: &[Uuid],
    max_bytes: i64,
) -> Value {
    let explained = AssertSqlSafe(format!("EXPLAIN (ANALYZE, FORMAT JSON) {LOAD}"));
    let row = sqlx::query(explained)
        .bind(vec!["acme"; lanes.len()])
        .bind(lanes)
        .bind(vec![time::OffsetDateTime::UNIX_EPOCH; lanes.len()])
        .bind(vec![Uuid::nil(); lanes.len()])
        .bind(vec![100_i64; lanes.len()])
        .bind(vec![Duration::ZERO; lanes.len()])
        .bind(owner)
        .bind(max_bytes)
        .bind(loaded)
        .fetch_one(conn)
        .await
        .unwrap();
    let plan: Value = row.get(0);
    plan[0]["Plan"].clone()
}

/// The time of the delivery gives the partition, so the others are not searched.
#[apply(test)]
async fn lookup_of_attempts_searches_one_partition(app: &TestApp) {
    let mut conn = connection(app).await;
    let attempts = "INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms, outcome)
         SELECT 'acme', now() + d * interval '1 day', gen_random_uuid(), n, now(), 1, 'x'
         FROM generate_series(0, 5) d CROSS JOIN generate_series(1, 3) n";
    sqlx::query(attempts).execute(&mut conn).await.unwrap();
    let row = "SELECT delivery_id, created_at FROM webhook_attempts ORDER BY created_at LIMIT 1";
    let (delivery, created_at): (Uuid, time::OffsetDateTime) =
        sqlx::query_as(row).fetch_one(&mut conn).await.unwrap();
    let row = sqlx::query(AssertSqlSafe(format!("EXPLAIN (ANALYZE, FORMAT JSON) {ATTEMPTS}")))
        .bind("acme")
        .bind(delivery)
        .bind(created_at)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let plan: Value = row.get(0);
    let plan = &plan[0]["Plan"];
    let day = created_at.date().to_string().replace('-', "");
    let expected = ["webhook_attempts", "webhook_deliveries"].map(|table| format!("{table}_{day}"));
    assert_eq!(searched(plan), BTreeSet::from(expected));
    assert_lean(plan, 1);
}

/// Two hundred deliveries have ten attempts each; one of them gets another.
#[apply(test)]
async fn record_reads_only_the_attempts_of_its_deliveries(app: &TestApp) {
    let mut conn = connection(app).await;
    let waiting =
        Fill { company: "acme", endpoint: 1, deliveries: 200, state: "pending", due_in: 0, endpoints: 1 };
    fill(&mut conn, waiting).await;
    for attempts in [
        "INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms, outcome,
             status, response_body)
         SELECT company_id, created_at, delivery_id, n, now(), 1, 'http_status', 429, CASE WHEN n IN (2, 9) THEN '?'::bytea END
         FROM webhook_deliveries, generate_series(1, 10) n",
        "UPDATE webhook_pending SET attempts = 10",
    ] {
        sqlx::query(attempts).execute(&mut conn).await.unwrap();
    }
    let one = "SELECT delivery_id, created_at FROM webhook_pending ORDER BY delivery_id LIMIT 1";
    let (id, created_at): (Uuid, time::OffsetDateTime) =
        sqlx::query_as(one).fetch_one(&mut conn).await.unwrap();
    let explained = AssertSqlSafe(format!("EXPLAIN (ANALYZE, FORMAT JSON) {RECORD}"));
    let row = sqlx::query(explained)
        .bind(vec!["acme"])
        .bind(vec![id])
        .bind(vec![11])
        .bind(vec![created_at])
        .bind(vec![1])
        .bind(vec!["http_status"])
        .bind(vec![429])
        .bind(vec![None::<&str>])
        .bind(vec![b"!".as_slice()])
        .bind(vec!["pending"])
        .bind(vec![Duration::from_secs(1)])
        .bind(vec![true])
        .bind(vec![None::<i32>])
        .bind(vec![None::<i32>])
        .bind(vec![created_at])
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let plan: Value = row.get(0);
    let read = rows_read(&scans(&plan[0]["Plan"]));
    // Its pending row twice, its ten attempts, and those before each of its two answers.
    assert!(read <= 24.0, "{read} rows read: {plan:#}");
    let kept = "SELECT attempt FROM webhook_attempts WHERE delivery_id = $1 AND response_body IS NOT NULL ORDER BY attempt";
    let kept: Vec<i32> = sqlx::query_scalar(kept).bind(id).fetch_all(&mut conn).await.unwrap();
    assert_eq!(kept, [2, 11], "the first answer and the last");
}
