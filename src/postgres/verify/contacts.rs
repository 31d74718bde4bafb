//! Contacts, their identifiers, and the ids that were merged or erased.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Check, PAGE, Page, Place, Scope, events::not_applied, indexes};
use crate::{
    domain::event::{Stamp, to_micros},
    postgres::{columns::column, provenance},
};

/// Contacts, the events of their values, and their identifiers.
pub(super) async fn contacts(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query_file_as!(
        Row,
        "src/postgres/verify/contacts.sql",
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(&mut *conn)
    .await?;
    let (mut page, mut stamps, mut identifiers) = (Page::default(), Vec::new(), Vec::new());
    for row in &rows {
        let key = (row.company_id.as_str(), row.contact_id);
        page.row(|| Place::at(row.company_id.clone(), row.contact_id));
        identifiers.extend(row.phones.iter().map(|value| (key, "phone", value.as_str())));
        identifiers.extend(row.emails.iter().map(|value| (key, "email", value.as_str())));
        let of_contact = row.stamps(&mut page);
        stamps.extend(of_contact.into_iter().map(|stamp| (key, stamp)));
    }
    for index in unowned(conn, &identifiers).await? {
        if let Some((key, ..)) = identifiers.get(index) {
            page.unless(false, Check::ContactIdentifiers, *key, "an identifier does not find the contact");
        }
    }
    let events: Vec<(&str, Uuid)> =
        stamps.iter().map(|((company, _), stamp)| (*company, stamp.event.key())).collect();
    for index in not_applied(conn, &events).await? {
        if let Some((key, _)) = stamps.get(index) {
            page.unless(false, Check::Provenance, *key, "a value comes from an event that was not applied");
        }
    }
    if scope.history_is_complete {
        for index in without_history(conn, &stamps).await? {
            if let Some((key, _)) = stamps.get(index) {
                page.unless(false, Check::Provenance, *key, "a value comes from an event without history");
            }
        }
    }
    Ok(page)
}

struct Row {
    company_id: String,
    contact_id: Uuid,
    provenance: String,
    phones: Vec<String>,
    emails: Vec<String>,
    /// The fields with a value.
    given: Vec<String>,
}

impl Row {
    /// The stamps of its values, each once.
    fn stamps(&self, page: &mut Page) -> Vec<Stamp> {
        let key = (self.company_id.as_str(), self.contact_id);
        let Ok(provenance) = provenance::from_json(&self.provenance) else {
            page.unless(false, Check::Provenance, key, "unreadable provenance");
            return Vec::new();
        };
        let mut named: Vec<&str> = provenance.iter().map(|(field, _)| field.name()).collect();
        let mut given: Vec<&str> = self.given.iter().map(String::as_str).collect();
        named.sort_unstable();
        given.sort_unstable();
        page.unless(named == given, Check::Provenance, key, "values and provenance have different fields");
        let mut stamps: Vec<Stamp> = provenance.iter().map(|(_, stamp)| stamp.clone()).collect();
        stamps.sort_unstable();
        stamps.dedup();
        stamps
    }
}

type Key<'a> = (&'a str, Uuid);

/// The indexes of those of these identifiers that do not find their contact.
async fn unowned(
    conn: &mut PgConnection,
    identifiers: &[(Key<'_>, &str, &str)],
) -> Result<Vec<usize>, sqlx::Error> {
    if identifiers.is_empty() {
        return Ok(Vec::new());
    }
    let missing = sqlx::query_scalar!(
        r#"SELECT u.n AS "n!" FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY
               AS u(company_id, contact_id, kind, value, n)
           WHERE NOT EXISTS (
               SELECT FROM contact_identifiers i WHERE i.company_id = u.company_id AND i.kind = u.kind
                   AND i.value = u.value AND i.contact_id = u.contact_id OFFSET 0)"#,
        &column(identifiers, |((company, _), ..)| *company) as &[&str],
        &column(identifiers, |((_, contact), ..)| *contact),
        &column(identifiers, |(_, kind, _)| *kind) as &[&str],
        &column(identifiers, |(.., value)| *value) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(indexes(missing))
}

/// The indexes of those of these stamps that the history of their contact, under any of its ids, does not have.
async fn without_history(
    conn: &mut PgConnection,
    stamps: &[(Key<'_>, Stamp)],
) -> Result<Vec<usize>, sqlx::Error> {
    if stamps.is_empty() {
        return Ok(Vec::new());
    }
    let missing = sqlx::query_scalar!(
        r#"SELECT u.n AS "n!"
           FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::smallint[]) WITH ORDINALITY
               AS u(company_id, contact_id, event_time, source, event_id, step, n)
           WHERE NOT EXISTS (
               SELECT FROM trigger_events t
               WHERE t.company_id = u.company_id AND t.contact_id = u.contact_id AND t.event_time = u.event_time
                 AND t.source = u.source AND t.event_id = u.event_id AND t.step = u.step OFFSET 0)
             AND NOT EXISTS (
               SELECT FROM contact_aliases a
               JOIN trigger_events t ON t.company_id = a.company_id AND t.contact_id = a.alias_id
               WHERE a.company_id = u.company_id AND a.contact_id = u.contact_id AND t.event_time = u.event_time
                 AND t.source = u.source AND t.event_id = u.event_id AND t.step = u.step OFFSET 0)"#,
        &column(stamps, |((company, _), _)| *company) as &[&str],
        &column(stamps, |((_, contact), _)| *contact),
        &column(stamps, |(_, stamp)| to_micros(stamp.time)) as &[OffsetDateTime],
        &column(stamps, |(_, stamp)| stamp.event.source()) as &[&str],
        &column(stamps, |(_, stamp)| stamp.event.id()) as &[&str],
        &column(stamps, |(_, stamp)| i16::try_from(stamp.step).unwrap_or(i16::MAX)),
    )
    .fetch_all(conn)
    .await?;
    Ok(indexes(missing))
}

/// Identifiers, and whether they belonged to a person who was erased after the last event of their contact.
pub(super) async fn identifiers(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    // The same hash as in `suppressions::insert`.
    let rows = sqlx::query!(
        r#"SELECT i.company_id, i.kind, i.value, i.contact_id,
               c.contact_id IS NOT NULL AND i.value = ANY(CASE i.kind WHEN 'phone' THEN c.phones ELSE c.emails END)
                   AS "is_owned!",
               coalesce(c.updated_at <= (
                   SELECT s.erased_at FROM suppression_keys k
                   JOIN suppressions s ON s.company_id = k.company_id AND s.hash = sha256(k.key || sha256(
                       k.key || convert_to(i.kind || E'\n' || i.value || E'\n' || $5, 'UTF8')))
                   WHERE k.company_id = i.company_id), false) AS "is_suppressed!"
           FROM contact_identifiers i
           LEFT JOIN contacts c ON c.company_id = i.company_id AND c.contact_id = i.contact_id
           WHERE (i.company_id, i.kind, i.value) > ($1, $2, $3) AND i.company_id <= $4
           ORDER BY i.company_id, i.kind, i.value LIMIT $6"#,
        after.company,
        after.kind,
        after.value,
        scope.to,
        scope.pepper,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.contact_id);
        page.unless(
            row.is_owned,
            Check::IdentifierOwners,
            key,
            "an identifier is not on the contact that it finds",
        );
        let found = "an identifier of an erased person, stored by an earlier event";
        page.unless(!row.is_suppressed, Check::SuppressedIdentifiers, key, found);
        page.row(|| Place { kind: row.kind, value: row.value, ..Place::at(row.company_id, row.contact_id) });
    }
    Ok(page)
}

/// Ids that were merged into a contact.
pub(super) async fn aliases(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT a.company_id, a.alias_id,
               EXISTS (SELECT FROM contacts c WHERE c.company_id = a.company_id AND c.contact_id = a.contact_id OFFSET 0)
                   AS "leads_to_contact!",
               EXISTS (SELECT FROM contacts c WHERE c.company_id = a.company_id AND c.contact_id = a.alias_id OFFSET 0)
                   AS "is_contact!",
               EXISTS (SELECT FROM contact_aliases b
                   WHERE b.company_id = a.company_id AND b.alias_id = a.contact_id OFFSET 0) AS "is_chain!",
               EXISTS (SELECT FROM applied_events ae WHERE ae.company_id = a.company_id
                   AND ae.event_key = a.merged_by AND ae.meaning IS NOT NULL OFFSET 0) AS "has_event!"
           FROM contact_aliases a
           WHERE (a.company_id, a.alias_id) > ($1, $2) AND a.company_id <= $3
           ORDER BY a.company_id, a.alias_id LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.alias_id);
        let (leads, check) = (row.leads_to_contact || row.is_chain, Check::Aliases);
        page.unless(leads, check, key, "the id leads to no contact");
        page.unless(!row.is_chain, check, key, "the id leads to another merged id");
        page.unless(!row.is_contact, check, key, "the merged id is still a contact");
        page.unless(row.has_event, check, key, "the event that merged it was not applied");
        page.row(|| Place::at(row.company_id, row.alias_id));
    }
    Ok(page)
}

/// Ids of erased people.
pub(super) async fn erased(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT x.company_id, x.contact_id,
               EXISTS (SELECT FROM contacts c WHERE c.company_id = x.company_id AND c.contact_id = x.contact_id OFFSET 0)
               OR EXISTS (SELECT FROM contact_aliases a
                   WHERE a.company_id = x.company_id AND a.alias_id = x.contact_id OFFSET 0) AS "is_contact!"
           FROM contact_erasures x
           WHERE (x.company_id, x.contact_id) > ($1, $2) AND x.company_id <= $3
           ORDER BY x.company_id, x.contact_id LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.contact_id);
        page.unless(!row.is_contact, Check::ErasedContacts, key, "an erased id is a contact");
        page.row(|| Place::at(row.company_id, row.contact_id));
    }
    Ok(page)
}
