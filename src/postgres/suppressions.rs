//! Suppressions keep an erased person from coming back: a keyed hash of each of their phones and emails.
//!
//! The key of a company is in the database. Without a pepper in the settings, anyone with a dump and a
//! list of all phone numbers can find out who was erased.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::columns::column;
use crate::domain::{contact::Identifier, event::CompanyId};

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
        "INSERT INTO suppression_keys (company_id, key)
         VALUES ($1, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) ON CONFLICT DO NOTHING",
        company.as_str(),
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
