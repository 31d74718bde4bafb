//! Loads and locks the contacts that a batch can change, and writes the changes.
//!
//! Every worker locks in the same order: contacts by key, then identifiers by key, then the ledger.

use std::borrow::Borrow;

use sqlx::PgConnection;

use super::{columns::column, contact_row::ContactRow, links};
use crate::domain::{
    contact::{
        Contact, ContactId, Identifier,
        directory::{Changes, Directory, Merge},
        field::Field,
    },
    event::CompanyId,
};

/// Loads and locks the contacts that own one of `identifiers`.
///
/// A contact that another transaction merges away in the meantime is left out, and its identifiers look free.
/// [`super::batch::insert`] then finds them taken, and the caller starts over.
pub async fn load(
    conn: &mut PgConnection,
    identifiers: &[(CompanyId, Identifier)],
) -> Result<Directory, sqlx::Error> {
    let rows = sqlx::query_as!(
        ContactRow,
        r#"SELECT c.company_id, c.contact_id, c.version, c.name, c.identity, c.phone, c.email, c.company,
               c.position, c.birthday, c.zip_code, c.country, c.state, c.city, c.district, c.street, c.number,
               c.complement, c.provenance, c.phones, c.emails, c.separations,
               c.created_at, c.updated_at
           FROM (SELECT DISTINCT i.company_id, i.contact_id
                 FROM UNNEST($1::text[], $2::text[], $3::text[]) AS u(company_id, kind, value)
                 JOIN contact_identifiers i USING (company_id, kind, value)) owner
           JOIN contacts c USING (company_id, contact_id)
           ORDER BY c.company_id, c.contact_id
           FOR UPDATE OF c"#,
        &column(identifiers, |(company, _)| company.as_str()) as &[&str],
        &column(identifiers, |(_, identifier)| identifier.kind()) as &[&str],
        &column(identifiers, |(_, identifier)| identifier.value()) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut directory = Directory::default();
    for row in rows {
        directory.add(row.try_into()?);
    }
    Ok(directory)
}

/// Those of these identifiers whose contact somebody else has locked. Waits for nobody.
///
/// # Errors
/// When the database fails.
pub async fn locked<'a>(
    conn: &mut PgConnection,
    identifiers: &'a [(CompanyId, Identifier)],
) -> Result<Vec<&'a (CompanyId, Identifier)>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        r#"WITH owner AS MATERIALIZED (
               SELECT u.n, i.company_id, i.contact_id
               FROM UNNEST($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS u(company_id, kind, value, n)
               JOIN contact_identifiers i USING (company_id, kind, value)),
           free AS MATERIALIZED (
               SELECT c.company_id, c.contact_id
               FROM (SELECT DISTINCT company_id, contact_id FROM owner) o
               JOIN contacts c USING (company_id, contact_id)
               ORDER BY c.company_id, c.contact_id FOR UPDATE OF c SKIP LOCKED)
           SELECT o.n AS "ordinal!" FROM owner o JOIN contacts c USING (company_id, contact_id)
           WHERE (o.company_id, o.contact_id) NOT IN (SELECT company_id, contact_id FROM free)"#,
        &column(identifiers, |(company, _)| company.as_str()) as &[&str],
        &column(identifiers, |(_, identifier)| identifier.kind()) as &[&str],
        &column(identifiers, |(_, identifier)| identifier.value()) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let of = |ordinal: i64| identifiers.get(usize::try_from(ordinal.checked_sub(1)?).ok()?);
    Ok(rows.into_iter().filter_map(of).collect())
}

/// Writes the merges of a batch whose new contacts and identifiers are inserted. `false` means that an identifier is
/// missing: the caller rolls back and starts over.
pub async fn merge(conn: &mut PgConnection, changes: &Changes) -> Result<bool, sqlx::Error> {
    if changes.merges.is_empty() {
        return Ok(true);
    }
    let moved = move_identifiers(conn, &changes.moved).await?;
    if moved != changes.moved.len() as u64 {
        return Ok(false);
    }
    write_merges(conn, &changes.merges).await?;
    remove_contacts(conn, &changes.removed).await?;
    Ok(true)
}

/// A query with the columns of `$contacts` as its first parameters.
macro_rules! query_contacts {
    ($query:ident!($($of:tt)*), $contacts:ident, $($more:tt)*) => {
        sqlx::$query!(
            $($of)*,
            &$crate::postgres::columns::column($contacts, |contact| contact.company.as_str()) as &[&str],
            &$crate::postgres::columns::column($contacts, |contact| contact.id.0),
            &$crate::postgres::columns::column($contacts, |contact| contact.version),
            &$crate::postgres::columns::column($contacts, |contact| contact.created_at),
            &$crate::postgres::columns::column($contacts, |contact| contact.updated_at),
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::provenance::to_json(&contact.values)),
            // Separated by spaces, which no identifier and no side contains.
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::keys(contact, "phone").join(" ")),
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::keys(contact, "email").join(" ")),
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::joined_sides(contact)),
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Name)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Identity)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Phone)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Email)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Company)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Position)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Birthday)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::ZipCode)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Country)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::State)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::City)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::District)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Street)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Number)) as &[Option<&str>],
            &$crate::postgres::columns::column($contacts, |contact| $crate::postgres::directory::value(contact, $crate::domain::contact::field::Field::Complement)) as &[Option<&str>],
            $($more)*
        )
    };
}
pub(super) use query_contacts;

/// Writes changed contacts, which the caller has locked.
pub async fn update(conn: &mut PgConnection, contacts: &[impl Borrow<Contact>]) -> Result<(), sqlx::Error> {
    if contacts.is_empty() {
        return Ok(());
    }
    let contacts: &[&Contact] = &column(contacts, Borrow::borrow);
    let changed = query_contacts!(query_file!("src/postgres/directory/update.sql"), contacts,);
    if changed.execute(conn).await?.rows_affected() == contacts.len() as u64 {
        Ok(())
    } else {
        // They are locked, so this is a bug.
        Err(sqlx::Error::RowNotFound)
    }
}

pub(super) fn value(contact: &Contact, field: Field) -> Option<&str> {
    contact.values.get(field).map(|stamped| stamped.value.as_str())
}

pub(super) fn keys<'a>(contact: &'a Contact, kind: &str) -> Vec<&'a str> {
    contact.keys.iter().filter(|key| key.kind() == kind).map(Identifier::value).collect()
}

pub(super) fn joined_sides(contact: &Contact) -> String {
    contact.sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Moves stored identifiers to other contacts, and returns how many exist.
pub(super) async fn move_identifiers(
    conn: &mut PgConnection,
    moved: &[(CompanyId, Identifier, ContactId)],
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE contact_identifiers i SET contact_id = u.contact_id
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::uuid[]) AS u(company_id, kind, value, contact_id)
         WHERE i.company_id = u.company_id AND i.kind = u.kind AND i.value = u.value",
        &column(moved, |(company, ..)| company.as_str()) as &[&str],
        &column(moved, |(_, identifier, _)| identifier.kind()) as &[&str],
        &column(moved, |(_, identifier, _)| identifier.value()) as &[&str],
        &column(moved, |(.., owner)| owner.0),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Turns the losers into aliases, and repoints the aliases that they had. `winner` of a merge is the contact that
/// survives the whole batch, so an alias always leads to a living contact in one step.
pub(super) async fn write_merges(conn: &mut PgConnection, merges: &[Merge]) -> Result<(), sqlx::Error> {
    let companies = column(merges, |merge| merge.company.as_str());
    let losers = column(merges, |merge| merge.loser.0);
    let winners = column(merges, |merge| merge.winner.0);
    sqlx::query!(
        "UPDATE contact_aliases a SET contact_id = u.winner
         FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS u(company_id, loser, winner)
         WHERE a.company_id = u.company_id AND a.contact_id = u.loser",
        &companies as &[&str],
        &losers,
        &winners,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO contact_aliases (company_id, alias_id, contact_id, version, merged_by)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[])",
        &companies as &[&str],
        &losers,
        &winners,
        &column(merges, |merge| merge.version),
        &column(merges, |merge| merge.stamp.event.key()),
    )
    .execute(&mut *conn)
    .await?;
    links::insert(conn, &column(merges, links::NewLink::merged)).await
}

pub(super) async fn remove_contacts(
    conn: &mut PgConnection,
    removed: &[(CompanyId, ContactId)],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM contacts c USING UNNEST($1::text[], $2::uuid[]) AS u(company_id, contact_id)
         WHERE c.company_id = u.company_id AND c.contact_id = u.contact_id",
        &column(removed, |(company, _)| company.as_str()) as &[&str],
        &column(removed, |(_, id)| id.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}
