//! A claim reads the lanes that it takes, whatever else is due or waits.

use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

use super::plans::{Fill, assert_lean, connection, fill};
use crate::support::{app::TestApp, test};

const CLAIM: &str = include_str!("../../../src/postgres/endpoints/claim.sql");

/// Claims up to 256 lanes, `per_bucket` of each bucket and none of the companies `full`, and returns their companies and the
/// plan.
async fn claim(conn: &mut PgConnection, per_bucket: i64, full: &[&str]) -> (Vec<String>, Value) {
    claim_from(conn, per_bucket, full, -7).await
}

/// Likewise, with the companies of shared buckets from this hash on.
async fn claim_from(
    conn: &mut PgConnection,
    per_bucket: i64,
    full: &[&str],
    hash: i32,
) -> (Vec<String>, Value) {
    let owner = Uuid::now_v7();
    let explained = AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {CLAIM}"));
    let row = sqlx::query(explained)
        .bind(owner)
        .bind(per_bucket)
        .bind(256_i64)
        .bind(full)
        .bind(7_i32)
        .bind(64_i32)
        .bind(hash)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let plan: Value = row.get(0);
    let claimed = "SELECT company_id FROM webhook_endpoints WHERE owner = $1";
    let claimed = sqlx::query_scalar(claimed).bind(owner).fetch_all(conn).await.unwrap();
    (claimed, plan[0]["Plan"].clone())
}

/// A lane that has been due for a minute.
const GREEDY: Fill<'_> =
    Fill { company: "greedy", endpoint: 1, deliveries: 1, state: "pending", due_in: -60, endpoints: 1 };

#[apply(test)]
async fn claim_reads_only_lanes_that_are_due(app: &TestApp) {
    let mut conn = connection(app).await;
    let lanes =
        Fill { company: "acme", endpoint: 1, deliveries: 1, state: "pending", due_in: 0, endpoints: 5_000 };
    // Closed for an hour, paused, and owned by another process.
    fill(&mut conn, Fill { endpoint: 10_000, due_in: 3_600, ..lanes }).await;
    fill(&mut conn, Fill { company: "other", due_in: 3_600, ..lanes }).await;
    fill(&mut conn, Fill { endpoint: 20_000, ..lanes }).await;
    sqlx::query("UPDATE webhook_endpoints SET next_due_at = 'infinity', paused_at = now() WHERE endpoint_id::text LIKE '%2____'")
        .execute(&mut conn)
        .await
        .unwrap();
    fill(&mut conn, Fill { endpoint: 30_000, ..lanes }).await;
    sqlx::query(
        "UPDATE webhook_endpoints SET owner = gen_random_uuid() WHERE endpoint_id::text LIKE '%3____'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    fill(&mut conn, Fill { endpoint: 40_000, endpoints: 20, ..lanes }).await;
    let (claimed, plan) = claim(&mut conn, 256, &[]).await;
    assert_eq!(claimed.len(), 20);
    // Found, locked and written; and nothing of the other turns.
    assert_lean(&plan, 3 * 20);
    let (again, plan) = claim(&mut conn, 256, &[]).await;
    assert_eq!(again.len(), 0);
    assert_lean(&plan, 0);
}

/// A company with many lanes leaves the turns of others alone.
#[apply(test)]
async fn claim_takes_lanes_of_every_turn(app: &TestApp) {
    let mut conn = connection(app).await;
    fill(&mut conn, Fill { endpoints: 2_000, ..GREEDY }).await;
    for company in ["modest", "humble"] {
        fill(&mut conn, Fill { company, due_in: 0, ..GREEDY }).await;
    }
    let (mut claimed, _) = claim(&mut conn, 100, &[]).await;
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed, ["greedy", "humble", "modest"]);
}

/// A company that has its share may have any number of due lanes in the bucket of others.
#[apply(test)]
async fn claim_passes_over_full_companies(app: &TestApp) {
    let mut conn = connection(app).await;
    let lanes = Fill { endpoints: 5_000, ..GREEDY };
    fill(&mut conn, lanes).await;
    let beside = "SELECT 'c' || n FROM generate_series(1, 2000) n
                  WHERE hashtext('c' || n) & 63 = hashtext('greedy') & 63 LIMIT 5";
    let beside: Vec<String> = sqlx::query_scalar(beside).fetch_all(&mut conn).await.unwrap();
    for company in &beside {
        fill(&mut conn, Fill { company, due_in: 0, endpoints: 3, ..lanes }).await;
        fill(&mut conn, Fill { company, endpoint: 10_000, due_in: 3_600, endpoints: 500, ..lanes }).await;
    }
    fill(&mut conn, Fill { company: "elsewhere", due_in: 0, endpoints: 3, ..lanes }).await;
    for statistics in ["none", "current"] {
        let (mut claimed, plan) = claim(&mut conn, 256, &["greedy", "nobody"]).await;
        assert_eq!(claimed.len(), 18, "{statistics}");
        // Found, locked and written. And each company of the bucket is looked at once; the plan rounds averages up.
        assert_lean(&plan, 3 * 18 + 2 * 6);
        claimed.sort();
        claimed.dedup();
        assert_eq!(claimed.len(), 6);
        let (again, plan) = claim(&mut conn, 256, &["greedy"]).await;
        assert_eq!(again.len(), 0);
        assert_lean(&plan, 2 * 6);
        let release =
            "UPDATE webhook_endpoints SET owner = NULL, next_due_at = now() WHERE owner IS NOT NULL";
        sqlx::query(release).execute(&mut conn).await.unwrap();
        sqlx::query("ANALYZE webhook_endpoints").execute(&mut conn).await.unwrap();
    }
}

/// Most companies that share a bucket with a full one wait for a retry, and each claim looks at some of them.
#[apply(test)]
async fn claim_beside_a_full_company_costs_the_same_however_many_others_wait(app: &TestApp) {
    const CLAIMS: u32 = 16;
    let mut conn = connection(app).await;
    let waiting = "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, next_due_at)
         SELECT company_id, gen_random_uuid(), '', 64, now() + CASE WHEN n % 300 = 0 THEN interval '0' ELSE interval '1 hour' END
         FROM (
             SELECT 'c' || n AS company_id, row_number() OVER () AS n FROM generate_series(1, 100000) n
             WHERE hashtext('c' || n) & 63 = hashtext('greedy') & 63 LIMIT 1500) c";
    sqlx::query(waiting).execute(&mut conn).await.unwrap();
    let lanes = Fill { endpoints: 5_000, ..GREEDY };
    fill(&mut conn, lanes).await;
    let mut claimed = Vec::new();
    for n in 0..CLAIMS {
        let hash = (u32::MAX / CLAIMS * n).cast_signed();
        let (companies, plan) = claim_from(&mut conn, 256, &["greedy"], hash).await;
        // Each company, and each lane found, locked and written; the plan rounds averages up.
        assert_lean(&plan, 2 + 256 + 3 * u32::try_from(companies.len()).unwrap());
        claimed.extend(companies);
    }
    assert_eq!(claimed.len(), 5, "{claimed:?}");
}
