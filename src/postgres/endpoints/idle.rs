//! Removes the rows of endpoints that nobody uses any more.
//!
//! A transaction that inserts a delivery first ensures that its endpoint has a row, and notes the time
//! ([`super::register`]). Worker 1 remembers that for some hours only, so a row not used for days has no delivery on
//! its way. Deliveries that outlived their retention still need theirs.

use sqlx::{Connection as _, PgConnection};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    domain::event::Key,
    postgres::{columns::key_columns, partitions},
};

/// Rows of one page.
const PAGE_SIZE: i64 = 1_000;

/// How much longer endpoints stay than deliveries: longer than worker 1 remembers an endpoint, and than the clocks of
/// two processes differ.
const MARGIN: Duration = Duration::days(2);

/// Reads old deliveries once for all endpoints of a page.
const SETTINGS: &str =
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off;
                        SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'";

/// The result of [`delete_idle`].
#[derive(Debug, Default)]
pub struct Removed {
    /// The key after which the next page begins; `None` at the end.
    pub next: Option<Key>,
    /// How many rows it deleted.
    pub deleted: u64,
    /// So many old deliveries are left that it could not search them in time. It deleted nothing.
    pub has_given_up: bool,
}

/// Deletes those rows of the next page, `after` this key in the order of keys, that have not been used since deliveries
/// from before `cutoff` leave, and whose state nobody needs. Skips rows that are locked.
///
/// # Errors
/// When the database fails.
pub async fn delete_idle(
    conn: &mut PgConnection,
    after: Option<&Key>,
    cutoff: OffsetDateTime,
) -> Result<Removed, sqlx::Error> {
    // Sorts before every key: a company id is not empty.
    let (company, id) = after.map_or(("", Uuid::nil()), |key| (&key.company, key.id));
    let unused_since = cutoff - MARGIN;
    let rows = sqlx::query!(
        r#"SELECT company_id, endpoint_id, used_at < $4 AND owner IS NULL AS "is_unused!" FROM webhook_endpoints
           WHERE (company_id, endpoint_id) > ($1, $2) ORDER BY company_id, endpoint_id LIMIT $3"#,
        company,
        id,
        PAGE_SIZE,
        unused_since,
    )
    .fetch_all(&mut *conn)
    .await?;
    let key = |company: &String, id| Key { company: company.clone(), id };
    let next = rows.last().map(|row| key(&row.company_id, row.endpoint_id));
    let unused = rows.iter().filter(|row| row.is_unused).map(|row| key(&row.company_id, row.endpoint_id));
    let unused: Vec<Key> = unused.collect();
    if unused.is_empty() {
        return Ok(Removed { next, ..Removed::default() });
    }
    let mut transaction = conn.begin().await?;
    sqlx::raw_sql(SETTINGS).execute(&mut *transaction).await?;
    let referenced = match referenced(&mut transaction, &unused, cutoff).await {
        Ok(referenced) => referenced,
        Err(error) => {
            partitions::given_up(error)?;
            transaction.rollback().await?;
            return Ok(Removed { has_given_up: true, ..Removed::default() });
        }
    };
    transaction.commit().await?;
    let unused: Vec<&Key> = unused.iter().filter(|key| !referenced.contains(key)).collect();
    Ok(Removed { next, deleted: delete(conn, &unused, unused_since).await?, has_given_up: false })
}

/// Those of these endpoints that have a delivery from before `cutoff`. No delivery that is inserted now can become one.
async fn referenced(
    conn: &mut PgConnection,
    endpoints: &[Key],
    cutoff: OffsetDateTime,
) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(endpoints);
    sqlx::query_as!(
        Key,
        r#"SELECT DISTINCT d.company_id AS "company!", d.endpoint_id AS "id!"
           FROM webhook_deliveries d
           JOIN UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
               ON u.company_id = d.company_id AND u.endpoint_id = d.endpoint_id
           WHERE d.created_at < $3"#,
        &companies as &[&str],
        &ids,
        cutoff,
    )
    .fetch_all(conn)
    .await
}

async fn delete(
    conn: &mut PgConnection,
    endpoints: &[&Key],
    unused_since: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    let (companies, ids) = key_columns(endpoints.iter().copied());
    let deleted = sqlx::query!(
        "WITH idle AS MATERIALIZED (
             SELECT e.company_id, e.endpoint_id FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
             JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
             WHERE e.used_at < $3 AND e.owner IS NULL AND e.paused_at IS NULL AND e.disabled_at IS NULL
               AND e.held_until < $3 AND e.breaker_until < $3
               AND coalesce(greatest(e.last_success_at, e.last_failure_at) < $3, true)
               AND NOT EXISTS (SELECT FROM webhook_pending p
                   WHERE p.company_id = e.company_id AND p.endpoint_id = e.endpoint_id)
             ORDER BY e.company_id, e.endpoint_id FOR UPDATE OF e SKIP LOCKED)
         DELETE FROM webhook_endpoints e USING idle
         WHERE e.company_id = idle.company_id AND e.endpoint_id = idle.endpoint_id",
        &companies as &[&str],
        &ids,
        unused_since,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
