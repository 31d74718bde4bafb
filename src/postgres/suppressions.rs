//! Suppressions keep an erased person from coming back: a keyed hash of each of their phones and emails.
//!
//! They cannot stop a transaction that has already looked. For contacts, the contact's lock decides. For dead
//! letters, which belong to nobody, [`last_erasures`] and [`await_dead_letters`] take the same advisory lock.
//!
//! A company's key is in the database. Without a pepper in the settings, anyone with a dump and a list of all phone
//! numbers can find out who was erased.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::columns::column;
use crate::domain::{contact::Identifier, event::CompanyId};

/// The first half of the keys of the advisory locks: "supp". Companies share 64 of them, because a batch may have messages of
/// more companies than the database has locks for.
const LOCKS: i32 = 0x7375_7070;

/// Suppresses identifiers: [`super::ledger::seen`] finds them, with the latest `erased_at`.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert(
    conn: &mut PgConnection,
    pepper: &str,
    company: &CompanyId,
    keys: &[Identifier],
    erased_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO suppression_keys AS k (company_id, key, last_erased_at)
         VALUES ($1, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), $2)
         ON CONFLICT (company_id) DO UPDATE SET last_erased_at = greatest(k.last_erased_at, excluded.last_erased_at)",
        company.as_str(),
        erased_at,
    )
    .execute(&mut *conn)
    .await?;
    // The same hash as in `seen.sql`. Neither kind nor value contains a line break.
    sqlx::query!(
        r"INSERT INTO suppressions AS s (company_id, hash, erased_at)
          SELECT DISTINCT k.company_id, sha256(k.key || sha256(k.key || convert_to(u.kind || E'\n' || u.value || E'\n' || $4, 'UTF8'))),
              $5::timestamptz
          FROM UNNEST($2::text[], $3::text[]) AS u(kind, value)
          JOIN suppression_keys k ON k.company_id = $1
          ON CONFLICT (company_id, hash) DO UPDATE SET erased_at = greatest(s.erased_at, excluded.erased_at)",
        company.as_str(),
        &column(keys, Identifier::kind) as &[&str],
        &column(keys, Identifier::value) as &[&str],
        pepper,
        erased_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The companies of these that have erased somebody, each with the time of the last erasure. If one of them is empty, other
/// companies as well, at most `limit`.
///
/// An erasure in one of them that has not ended waits for the caller's transaction from here on.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn last_erasures(
    conn: &mut PgConnection,
    companies: &BTreeSet<&str>,
    limit: usize,
) -> Result<Vec<(CompanyId, OffsetDateTime)>, sqlx::Error> {
    let companies: Vec<&str> = companies.iter().copied().collect();
    sqlx::query!(
        "SELECT pg_advisory_xact_lock_shared($2, lock)
         FROM (SELECT DISTINCT hashtext(u.company_id) & 63 AS lock FROM UNNEST($1::text[]) AS u(company_id) ORDER BY 1) l",
        &companies as &[&str],
        LOCKS,
    )
    .execute(&mut *conn)
    .await?;
    // A separate statement, to see what was committed before the locks were free.
    let rows = sqlx::query!(
        r#"SELECT company_id AS "company_id!", last_erased_at AS "last_erased_at!"
           FROM suppression_keys WHERE company_id = ANY($1)
           UNION ALL
           (SELECT company_id, last_erased_at FROM suppression_keys WHERE '' = ANY($1) AND company_id <> ALL($1)
            LIMIT $2)"#,
        &companies as &[&str],
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    let read = |error: crate::domain::event::BadId| sqlx::Error::Decode(error.into());
    rows.into_iter()
        .map(|row| Ok((CompanyId::new(&row.company_id).map_err(read)?, row.last_erased_at)))
        .collect()
}

/// Waits for transactions that store dead letters and may not have seen the erasure of the caller's transaction, and holds
/// up new ones until it ends. Call it last: nobody who waits for this transaction may hold the lock.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn await_dead_letters(conn: &mut PgConnection, company: &CompanyId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock($2, lock)
         FROM (SELECT DISTINCT hashtext(u.company_id) & 63 AS lock FROM UNNEST(ARRAY['', $1]) AS u(company_id) ORDER BY 1) l",
        company.as_str(),
        LOCKS,
    )
    .execute(conn)
    .await?;
    Ok(())
}
