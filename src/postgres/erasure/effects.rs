//! Finds everything about a person in the open effects of a company.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt as _;
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
/// When the database fails, or a row has an unknown format: it may contain what must be removed.
pub(super) async fn find<P: Part>(
    conn: &mut PgConnection,
    company: &str,
    page: (Uuid, Uuid),
    concerns: impl Fn(&P) -> bool,
) -> Result<Vec<EffectsKey>, sqlx::Error> {
    // Row by row: each may have some MiB.
    let mut rows = sqlx::query!(
        "SELECT batch, body FROM effects WHERE company_id = $1 AND kind = $2 AND batch > $3 AND batch <= $4",
        company,
        P::KIND.name(),
        page.0,
        page.1,
    )
    .fetch(conn);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
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
/// When the database fails, or a row has an unknown format: it may contain what must be removed.
pub(super) async fn remove<P: Part>(
    conn: &mut PgConnection,
    keys: &[EffectsKey],
    concerns: impl Fn(&P) -> bool,
) -> Result<u64, sqlx::Error> {
    let mut keys: Vec<&EffectsKey> = keys.iter().collect();
    // In the common lock order.
    keys.sort_unstable();
    let mut removed = 0;
    // One by one: each may have some MiB, and is in memory several times while it is written.
    for key in keys {
        let retained = retain(conn, std::slice::from_ref(key), |_, part: &P| !concerns(part)).await?;
        if let Some(key) = retained.unreadable.first() {
            return Err(unreadable(key.batch, key.kind));
        }
        removed += retained.removed;
    }
    Ok(removed)
}

/// An erasure must not skip a row that may contain what must be removed.
fn unreadable(batch: Uuid, kind: Kind) -> sqlx::Error {
    let kind = kind.name();
    sqlx::Error::Decode(format!("batch {batch} ({kind}) of table effects cannot be read").into())
}

/// Whether a process may still have to publish one of these rows. Reads no bodies, and locks nothing.
///
/// # Errors
/// When the database fails.
pub(super) async fn are_in_memory(conn: &mut PgConnection, keys: &[EffectsKey]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
               JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = 'publish'
               JOIN processes p ON p.process_id = f.owner
               WHERE p.buried_at IS NULL AND p.alive_until > now()) AS "are!""#,
        &column(keys, |key| key.company.as_str()) as &[&str],
        &column(keys, |key| key.batch),
    )
    .fetch_one(conn)
    .await
}

/// Locks rows to publish of one company, but for those that a live process has in memory, and returns the batches of these: the
/// process must be able to settle them. A process whose row has expired is buried, because it may only be suspended: it must
/// not publish them when it continues.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn in_memory(
    conn: &mut PgConnection,
    keys: &[EffectsKey],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let (companies, batches) = (column(keys, |key| key.company.as_str()), column(keys, |key| key.batch));
    let seen = sqlx::query!(
        "SELECT f.batch, f.owner FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = 'publish'",
        &companies as &[&str],
        &batches,
    )
    .fetch_all(&mut *conn)
    .await?;
    let owners: HashMap<Uuid, Option<Uuid>> = seen.into_iter().map(|row| (row.batch, row.owner)).collect();
    let known: Vec<Uuid> = owners.values().copied().flatten().collect();
    let alive = processes::bury_expired(conn, &known).await?;
    let is_alive = |batch: &Uuid| owners.get(batch).copied().flatten().is_some_and(|id| alive.contains(&id));
    let (mut in_memory, others): (HashSet<Uuid>, HashSet<Uuid>) = batches.into_iter().partition(is_alive);
    let others: Vec<&EffectsKey> = keys.iter().filter(|key| others.contains(&key.batch)).collect();
    let locked = sqlx::query!(
        "SELECT f.batch, f.owner FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = 'publish'
         ORDER BY f.company_id, f.batch FOR UPDATE OF f",
        &column(&others, |key| key.company.as_str()) as &[&str],
        &column(&others, |key| key.batch),
    )
    .fetch_all(conn)
    .await?;
    // A process may have taken it since.
    in_memory.extend(
        locked.into_iter().filter(|row| owners.get(&row.batch) != Some(&row.owner)).map(|row| row.batch),
    );
    Ok(in_memory)
}
