//! Suppressions keep an erased person from coming back: a keyed hash of each of their phones and emails.
//!
//! The key of a company is in the database. Without a pepper in the settings, anyone with a dump and a
//! list of all phone numbers can find out who was erased.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::columns::column;
use crate::domain::{
    contact::Identifier,
    event::CompanyId,
    value::{email::Email, phone::Phone},
};

/// Suppresses identifiers: [`suppressed`] finds them, with the latest `erased_at`.
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
    // The same hash as in `suppressed`. Neither kind nor value contains a line break.
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

/// The identifiers among `keys` that belonged to an erased person, with the time of the (last) erasure. An
/// event from that time or earlier that names one of them must not be applied.
///
/// Call it after the contacts of the identifiers are locked, so that a concurrent erasure has finished. Costs almost
/// nothing while no person has been erased.
///
/// # Errors
/// When the database fails.
pub async fn suppressed(
    conn: &mut PgConnection,
    pepper: &str,
    keys: &[(CompanyId, Identifier)],
) -> Result<Vec<(CompanyId, Identifier, OffsetDateTime)>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"SELECT u.company_id AS "company_id!", u.kind AS "kind!", u.value AS "value!", s.erased_at
           FROM UNNEST($1::text[], $2::text[], $3::text[]) AS u(company_id, kind, value)
           JOIN suppression_keys k ON k.company_id = u.company_id
           JOIN suppressions s ON s.company_id = k.company_id
               AND s.hash = sha256(k.key || sha256(k.key || convert_to(u.kind || E'\n' || u.value || E'\n' || $4, 'UTF8')))
           WHERE EXISTS (SELECT FROM suppressions)"#,
        &column(keys, |(company, _)| company.as_str()) as &[&str],
        &column(keys, |(_, key)| key.kind()) as &[&str],
        &column(keys, |(_, key)| key.value()) as &[&str],
        pepper,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let company =
                CompanyId::new(&row.company_id).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            let identifier = match row.kind.as_str() {
                "phone" => Identifier::Phone(Phone::from_stored(row.value)),
                _ => Identifier::Email(Email::from_stored(row.value)),
            };
            Ok((company, identifier, row.erased_at))
        })
        .collect()
}
