//! Finds what concerns a person in the open effects of a company.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::postgres::{
    columns::column,
    effects::{EffectsKey, Kind, Part, retain},
    processes,
};

/// Rows of a page. Each may have the parts of a whole batch.
pub(super) const PAGE: i64 = 20;

/// The rows of the batches after `page.0`, up to and including `page.1`, that have such parts. Locks nothing: their owners
/// must be able to settle them meanwhile.
///
/// # Errors
/// When the database fails, or a row has another format: it may have what must go.
pub(super) async fn find<P: Part>(
    conn: &mut PgConnection,
    company: &str,
    page: (Uuid, Uuid),
    concerns: impl Fn(&P) -> bool,
) -> Result<Vec<EffectsKey>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT batch, body FROM effects WHERE company_id = $1 AND kind = $2 AND batch > $3 AND batch <= $4",
        company,
        P::KIND.name(),
        page.0,
        page.1,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::new();
    for row in rows {
        let parts = P::unpack(company, &row.body).map_err(|_| unreadable(row.batch, P::KIND))?;
        if parts.iter().any(&concerns) {
            found.push(EffectsKey { company: company.to_owned(), batch: row.batch, kind: P::KIND });
        }
    }
    Ok(found)
}

/// Removes these parts from these rows, and returns their number.
///
/// # Errors
/// When the database fails, or a row has another format: it may have what must go.
pub(super) async fn remove<P: Part>(
    conn: &mut PgConnection,
    keys: &[EffectsKey],
    concerns: impl Fn(&P) -> bool,
) -> Result<u64, sqlx::Error> {
    let retained = retain(conn, keys, |_, part: &P| !concerns(part)).await?;
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

/// Locks rows to publish of one company, and returns the batches of those that a live process has in memory. A process
/// whose row has expired is buried, because it may only stand still: it must not publish them when it goes on.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn in_memory(
    conn: &mut PgConnection,
    keys: &[EffectsKey],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let locked = sqlx::query!(
        "SELECT f.batch, f.owner FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = 'publish'
         ORDER BY f.company_id, f.batch FOR UPDATE OF f",
        &column(keys, |key| key.company.as_str()) as &[&str],
        &column(keys, |key| key.batch),
    )
    .fetch_all(&mut *conn)
    .await?;
    let owners: Vec<Uuid> = locked.iter().filter_map(|row| row.owner).collect();
    let alive = processes::bury_expired(conn, &owners).await?;
    let is_alive = |owner: Option<Uuid>| owner.is_some_and(|owner| alive.contains(&owner));
    Ok(locked.into_iter().filter(|row| is_alive(row.owner)).map(|row| row.batch).collect())
}
