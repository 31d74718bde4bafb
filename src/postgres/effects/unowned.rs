//! Takes rows that have no owner.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{EffectsKey, Kind};

/// Maximum rows that [`take`] returns. It locks as many, even if fewer have enough parts.
pub const MAX_TAKEN: usize = 100;

/// Once the packed parts are larger, in bytes, no further row is taken.
pub const MAX_TAKEN_BYTES: usize = 16 << 20;

/// A row that the caller has taken.
pub struct Taken {
    /// Its key.
    pub key: EffectsKey,
    /// Number of parts.
    pub items: usize,
    /// The packed parts, for [`super::Part::unpack`].
    pub body: Vec<u8>,
}

/// Which rows to take.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What they hold.
    pub kind: Kind,
    /// Those that were postponed, or all others.
    pub postponed: bool,
    /// Once they have so many parts, no further row is taken.
    pub parts: usize,
    /// Once their packed parts are larger, in bytes, no further row is taken.
    pub bytes: usize,
    /// None of these companies.
    pub skipped: &'a [&'a str],
}

/// Takes due rows without an owner for the process `owner`, those due first, but at most [`MAX_TAKEN`]. Skips rows that others
/// are taking.
///
/// # Errors
/// When the database fails.
pub async fn take(
    conn: &mut PgConnection,
    owner: Uuid,
    Wanted { kind, postponed, parts, bytes, skipped }: Wanted<'_>,
) -> Result<Vec<Taken>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"WITH due AS MATERIALIZED (
             SELECT company_id, batch, due_at, items, octet_length(body) AS size FROM effects
             WHERE kind = $1 AND postponed = $7 AND owner IS NULL AND due_at <= now()
               -- A subquery, because <> ALL is expected to leave so few rows that all of them are read and sorted.
               AND company_id NOT IN (SELECT UNNEST($5::text[]))
             ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED),
         counted AS (
             SELECT company_id, batch, sum(items) OVER w - items AS items_before, sum(size) OVER w - size AS size_before
             FROM due WINDOW w AS (ORDER BY due_at, company_id, batch))
         UPDATE effects f SET owner = $2 FROM counted
         WHERE f.company_id = counted.company_id AND f.batch = counted.batch AND f.kind = $1
           AND counted.items_before < $3 AND counted.size_before < $6
         RETURNING f.company_id, f.batch, f.items, f.body"#,
        kind.name(),
        owner,
        i64::try_from(parts).unwrap_or(i64::MAX),
        i64::try_from(parts.min(MAX_TAKEN)).unwrap_or(i64::MAX),
        skipped as &[&str],
        i64::try_from(bytes).unwrap_or(i64::MAX),
        postponed,
    )
    .fetch_all(conn)
    .await?;
    let taken = rows.into_iter().map(|row| Taken {
        key: EffectsKey { company: row.company_id, batch: row.batch, kind },
        items: usize::try_from(row.items).unwrap_or_default(),
        body: row.body,
    });
    Ok(taken.collect())
}

/// Those of these companies that have due rows without an owner.
///
/// # Errors
/// When the database fails.
pub async fn with_due(
    conn: &mut PgConnection,
    kind: Kind,
    companies: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    if companies.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        // EXISTS could become a join with all of these rows.
        r#"SELECT u.company_id AS "company_id!" FROM UNNEST($2::text[]) AS u(company_id)
         CROSS JOIN LATERAL (SELECT FROM effects f WHERE f.company_id = u.company_id AND f.kind = $1
             AND f.owner IS NULL AND f.due_at <= now() LIMIT 1) due"#,
        kind.name(),
        companies as &[&str],
    )
    .fetch_all(conn)
    .await
}
