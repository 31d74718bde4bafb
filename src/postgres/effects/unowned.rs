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
pub struct Wanted {
    /// Once they have so many parts, no further row is taken.
    pub parts: usize,
    /// Once their packed parts are larger, in bytes, no further row is taken.
    pub bytes: usize,
}

impl Wanted {
    fn parts(self) -> i64 {
        i64::try_from(self.parts).unwrap_or(i64::MAX)
    }

    fn bytes(self) -> i64 {
        i64::try_from(self.bytes).unwrap_or(i64::MAX)
    }

    fn rows(self) -> i64 {
        i64::try_from(self.parts.min(MAX_TAKEN)).unwrap_or(i64::MAX)
    }
}

/// Takes due rows without an owner for the process `owner`, those due first, but at most [`MAX_TAKEN`]: those that were
/// `postponed`, or all others. Skips rows that others are taking.
///
/// # Errors
/// When the database fails.
pub async fn take(
    conn: &mut PgConnection,
    owner: Uuid,
    kind: Kind,
    postponed: bool,
    wanted: Wanted,
) -> Result<Vec<Taken>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"WITH due AS MATERIALIZED (
             SELECT company_id, batch, due_at, items, octet_length(body) AS size FROM effects
             WHERE kind = $1 AND postponed = $6 AND owner IS NULL AND due_at <= now()
             ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED),
         counted AS (
             SELECT company_id, batch, sum(items) OVER w - items AS items_before, sum(size) OVER w - size AS size_before
             FROM due WINDOW w AS (ORDER BY due_at, company_id, batch))
         UPDATE effects f SET owner = $2 FROM counted
         WHERE f.company_id = counted.company_id AND f.batch = counted.batch AND f.kind = $1
           AND counted.items_before < $3 AND counted.size_before < $5
         RETURNING f.company_id, f.batch, f.items, f.body"#,
        kind.name(),
        owner,
        wanted.parts(),
        wanted.rows(),
        wanted.bytes(),
        postponed,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.taken(kind)).collect())
}

/// Takes requests like [`take`], but none of these companies. It looks at some of the other companies, from the one with this hash
/// on.
///
/// # Errors
/// When the database fails.
pub async fn take_of_others(
    conn: &mut PgConnection,
    owner: Uuid,
    skipped: &[&str],
    first_company_hash: i32,
    wanted: Wanted,
) -> Result<Vec<Taken>, sqlx::Error> {
    let rows = sqlx::query_file_as!(
        Row,
        "src/postgres/effects/take_of_others.sql",
        owner,
        wanted.parts(),
        wanted.bytes(),
        wanted.rows(),
        skipped as &[&str],
        first_company_hash,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.taken(Kind::Send)).collect())
}

struct Row {
    company_id: String,
    batch: Uuid,
    items: i32,
    body: Vec<u8>,
}

impl Row {
    fn taken(self, kind: Kind) -> Taken {
        Taken {
            key: EffectsKey { company: self.company_id, batch: self.batch, kind },
            items: usize::try_from(self.items).unwrap_or_default(),
            body: self.body,
        }
    }
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
         CROSS JOIN LATERAL (SELECT FROM effects f WHERE f.kind = $1
             AND hashtext(f.company_id) = hashtext(u.company_id) AND f.company_id = u.company_id AND f.owner IS NULL AND f.due_at <= now() LIMIT 1) due"#,
        kind.name(),
        companies as &[&str],
    )
    .fetch_all(conn)
    .await
}
