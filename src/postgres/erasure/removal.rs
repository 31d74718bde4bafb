//! Removes the contact of a person, in the caller's transaction.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Counts, Dossier, key_columns, unfinished};
use crate::{
    domain::event::CompanyId,
    postgres::{clock, living, suppressions},
};

/// Erases the contact of this dossier on behalf of `operator`, and suppresses its identifiers. Returns the time of the
/// erasure, which is later than every change that it erases. `None`, without a change, if the contact has changed since,
/// or has been merged or erased.
///
/// The erasure is unfinished then: see [`super::complete`].
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn erase(
    conn: &mut PgConnection,
    company: &CompanyId,
    dossier: &Dossier,
    operator: &str,
    pepper: &str,
) -> Result<Option<(OffsetDateTime, Counts)>, sqlx::Error> {
    let living = living::lock(conn, company, dossier.contact).await?;
    if living.is_none_or(|living| !dossier.is_of(&living)) {
        return Ok(None);
    }
    // now() is the start of the transaction, before the wait for the lock.
    let erased_at = clock::now(conn).await?;
    let ids = dossier.ids();
    suppressions::insert(conn, pepper, company, &dossier.keys, erased_at).await?;
    sqlx::query!(
        "INSERT INTO contact_erasures (company_id, contact_id, erased_at, operator)
         SELECT $1, id, $3, $4 FROM UNNEST($2::uuid[]) AS u(id) ON CONFLICT DO NOTHING",
        company.as_str(),
        &ids,
        erased_at,
        operator,
    )
    .execute(&mut *conn)
    .await?;
    let mut counts = contact(conn, company, dossier).await?;
    counts.suppressed_keys = dossier.keys.len() as u64;
    counts.ledger_events = dossier.events.keys.len() as u64;
    unfinished::insert(conn, company, dossier, erased_at).await?;
    // The sweep that follows finds the dead letters of those that it waits for.
    suppressions::await_dead_letters(conn, company).await?;
    Ok(Some((erased_at, counts)))
}

async fn contact(
    conn: &mut PgConnection,
    company: &CompanyId,
    dossier: &Dossier,
) -> Result<Counts, sqlx::Error> {
    let contacts = sqlx::query!(
        "DELETE FROM contacts WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        dossier.contact.0,
    )
    .execute(&mut *conn)
    .await?;
    let (kinds, values) = key_columns(&dossier.keys);
    let identifiers = sqlx::query!(
        "DELETE FROM contact_identifiers i USING UNNEST($2::text[], $3::text[]) AS u(kind, value)
         WHERE i.company_id = $1 AND i.kind = u.kind AND i.value = u.value AND i.contact_id = $4",
        company.as_str(),
        &kinds as &[&str],
        &values as &[&str],
        dossier.contact.0,
    )
    .execute(&mut *conn)
    .await?;
    let aliases = sqlx::query!(
        "DELETE FROM contact_aliases WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        dossier.contact.0,
    )
    .execute(conn)
    .await?;
    Ok(Counts {
        contacts: contacts.rows_affected(),
        identifiers: identifiers.rows_affected(),
        aliases: aliases.rows_affected(),
        ..Counts::default()
    })
}
