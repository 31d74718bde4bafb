//! Removes what concerns a person from the open effects of a company.
//!
//! What its owner has in memory is still sent; nothing of it comes back, because an owner that puts a row back keeps
//! only what the row still has.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::postgres::effects::{EffectsKey, Kind, Part, retain};

/// Rows of a page. Each may have the parts of a whole batch.
pub(super) const PAGE: i64 = 20;

/// Removes these parts from all rows of the company, and returns their number.
///
/// # Errors
/// When the database fails, or a row has another format: it may have what must go.
pub(super) async fn remove_all<P: Part>(
    conn: &mut PgConnection,
    company: &str,
    concerns: impl Fn(&P) -> bool,
) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    let mut after = Some(Uuid::nil());
    while let Some(start) = after {
        after = sqlx::query_scalar!(
            "SELECT batch FROM effects WHERE company_id = $1 AND kind = $2 AND batch > $3
             ORDER BY batch OFFSET $4 LIMIT 1",
            company,
            P::KIND.name(),
            start,
            PAGE - 1,
        )
        .fetch_optional(&mut *conn)
        .await?;
        removed += remove(conn, company, (start, after.unwrap_or(Uuid::max())), &concerns).await?;
    }
    Ok(removed)
}

/// Removes these parts from the rows of the batches after `page.0`, up to and including `page.1`, and returns their
/// number. Locks only the rows that have such parts: their owners must be able to settle the others meanwhile.
///
/// # Errors
/// When the database fails, or a row has another format: it may have what must go.
pub(super) async fn remove<P: Part>(
    conn: &mut PgConnection,
    company: &str,
    page: (Uuid, Uuid),
    concerns: impl Fn(&P) -> bool,
) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT batch, body FROM effects WHERE company_id = $1 AND kind = $2 AND batch > $3 AND batch <= $4",
        company,
        P::KIND.name(),
        page.0,
        page.1,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut found = Vec::new();
    for row in rows {
        let parts = P::unpack(company, &row.body).map_err(|_| unreadable(row.batch, P::KIND))?;
        if parts.iter().any(&concerns) {
            found.push(EffectsKey { company: company.to_owned(), batch: row.batch, kind: P::KIND });
        }
    }
    if found.is_empty() {
        return Ok(0);
    }
    let retained = retain(conn, &found, |_, part| !concerns(part)).await?;
    match retained.unreadable.first() {
        Some(key) => Err(unreadable(key.batch, key.kind)),
        None => Ok(retained.removed),
    }
}

/// An erasure must not pass over a row that may have what must go.
fn unreadable(batch: Uuid, kind: Kind) -> sqlx::Error {
    let kind = kind.name();
    sqlx::Error::Decode(format!("batch {batch} ({kind}) of table effects cannot be read").into())
}
