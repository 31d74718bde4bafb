//! Searches the unsent deliveries, for operators. Nothing here claims, changes or locks a row.

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::Part as _;
use crate::domain::webhook::delivery::Delivery;

/// Maximum number of rows that [`search`] reads.
const MAX_SEARCHED: i64 = 1_000;

/// Once the rows are larger, in bytes, it reads no further one.
const MAX_SEARCHED_BYTES: i64 = 16 << 20;

/// A delivery that is to be sent and may have no row yet.
pub struct Unsent {
    /// The delivery.
    pub delivery: Delivery,
    /// Whether a process has it in memory.
    pub is_owned: bool,
}

/// The result of a search among unsent deliveries.
pub struct Searched<T> {
    /// What was found.
    pub found: Vec<T>,
    /// Whether all of them were searched. There are more than can be read only while no process sends webhooks, or while
    /// those that do are far behind. A row in another format was not searched either.
    pub is_complete: bool,
}

/// What `of` takes from the newest deliveries that are to be sent, of a company if given. It holds one row at a time in
/// memory.
///
/// # Errors
/// When the database fails.
pub async fn search<T>(
    conn: &mut PgConnection,
    company: Option<&str>,
    of: impl Fn(Unsent) -> Option<T>,
) -> Result<Searched<T>, sqlx::Error> {
    // The primary key has one company's rows by age, a separate index everybody's. A body is not read for its length.
    let mut rows = sqlx::query!(
        r#"SELECT company_id AS "company_id!", owner IS NOT NULL AS "is_owned!", CASE WHEN before < $3 THEN body END AS body
         FROM (
             SELECT company_id, owner, body, created_at, batch,
                 sum(octet_length(body)) OVER (ORDER BY created_at DESC, batch DESC ROWS UNBOUNDED PRECEDING)
                     - octet_length(body) AS before
             FROM (
                 (SELECT company_id, owner, body, created_at, batch FROM effects
                  WHERE kind = 'send' AND company_id = $1 ORDER BY batch DESC LIMIT $2)
                 UNION ALL
                 (SELECT company_id, owner, body, created_at, batch FROM effects
                  WHERE kind = 'send' AND $1 IS NULL ORDER BY created_at DESC LIMIT $2)) newest) measured
         ORDER BY created_at DESC, batch DESC"#,
        company,
        MAX_SEARCHED,
        MAX_SEARCHED_BYTES,
    )
    .fetch(conn);
    let (mut found, mut count, mut is_complete) = (Vec::new(), 0, true);
    while let Some(row) = rows.try_next().await? {
        count += 1;
        let Some(body) = row.body else {
            is_complete = false;
            continue;
        };
        let is_owned = row.is_owned;
        // The process that takes it reports it.
        let Ok(deliveries) = Delivery::unpack(&row.company_id, &body) else {
            is_complete = false;
            continue;
        };
        found.extend(deliveries.into_iter().filter_map(|delivery| of(Unsent { delivery, is_owned })));
    }
    Ok(Searched { found, is_complete: is_complete && count < MAX_SEARCHED })
}
