//! Contacts, their identifiers, and the ids that were merged or erased.

use std::collections::{BTreeMap, HashMap};

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
    let (mut page, mut given, mut identifiers) = (Page::default(), Vec::new(), Vec::new());
    for row in &rows {
        let key = (row.company_id.as_str(), row.contact_id);
        page.row(|| Place::at(row.company_id.clone(), row.contact_id));
        identifiers.extend(row.phones.iter().map(|value| (key, "phone", value.as_str())));
        identifiers.extend(row.emails.iter().map(|value| (key, "email", value.as_str())));
        let by_stamp = row.given(&mut page);
        given.extend(by_stamp.into_iter().map(|(stamp, values)| Given { contact: key, stamp, values }));
    }
    for index in unowned(conn, &identifiers).await? {
        if let Some((key, ..)) = identifiers.get(index) {
            page.unless(false, Check::ContactIdentifiers, *key, "an identifier does not find the contact");
        }
    }
    let events: Vec<Key<'_>> = given.iter().map(|one| (one.contact.0, one.stamp.event.key())).collect();
    for index in not_applied(conn, &events).await? {
        if let Some(Given { contact, .. }) = given.get(index) {
            page.unless(
                false,
                Check::Provenance,
                *contact,
                "a value comes from an event that was not applied",
            );
        }
    }
    let history = history(conn, &given).await?;
    for (index, one) in given.iter().enumerate() {
        let (is_fine, found) = match history.get(&index) {
            Some(fields) => (one.came_from(fields), "a value that its event did not give"),
            None => (!scope.history_is_complete, "a value comes from an event without history"),
        };
        page.unless(is_fine, Check::Provenance, one.contact, found);
    }
    Ok(page)
}

struct Row {
    company_id: String,
    contact_id: Uuid,
    provenance: String,
    phones: Vec<String>,
    emails: Vec<String>,
    /// A JSON object by field.
    values: String,
}

impl Row {
    /// Its values, by the step that gave them.
    fn given(&self, page: &mut Page) -> BTreeMap<Stamp, Values> {
        let key = (self.company_id.as_str(), self.contact_id);
        let mut given: BTreeMap<Stamp, Values> = BTreeMap::new();
        let Ok(provenance) = provenance::from_json(&self.provenance) else {
            page.unless(false, Check::Provenance, key, "unreadable provenance");
            return given;
        };
        let mut values: Values = serde_json::from_str(&self.values).unwrap_or_default();
        let mut agree = true;
        for (field, stamp) in provenance.iter() {
            let of_stamp = given.entry(stamp.clone()).or_default();
            match values.remove(field.name()) {
                Some(value) => drop(of_stamp.insert(field.name().to_owned(), value)),
                None => agree = false,
            }
        }
        agree &= values.is_empty();
        page.unless(agree, Check::Provenance, key, "values and provenance have different fields");
        given
    }
}

type Key<'a> = (&'a str, Uuid);

/// By field.
type Values = BTreeMap<String, String>;

/// The values of a contact that come from one step of one event.
struct Given<'a> {
    contact: Key<'a>,
    stamp: Stamp,
    values: Values,
}

impl Given<'_> {
    /// Whether the step gave these values. `fields` is what the history has of it.
    fn came_from(&self, fields: &str) -> bool {
        let gave: Values = serde_json::from_str(fields).unwrap_or_default();
        self.values.iter().all(|(field, value)| gave.get(field) == Some(value))
    }
}

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

/// What the history of the contact, under any of its ids, has of these steps, by index. Steps without history are left out.
async fn history(
    conn: &mut PgConnection,
    given: &[Given<'_>],
) -> Result<HashMap<usize, String>, sqlx::Error> {
    if given.is_empty() {
        return Ok(HashMap::new());
    }
    // The limit spares most steps a look at the former ids.
    let rows = sqlx::query!(
        r#"SELECT u.n AS "n!", h.fields AS "fields!"
           FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::smallint[]) WITH ORDINALITY
               AS u(company_id, contact_id, event_time, source, event_id, step, n)
           CROSS JOIN LATERAL (
               SELECT t.fields FROM trigger_events t
               WHERE t.company_id = u.company_id AND t.contact_id = u.contact_id AND t.event_time = u.event_time
                 AND t.source = u.source AND t.event_id = u.event_id AND t.step = u.step
               UNION ALL
               SELECT t.fields FROM contact_aliases a
               JOIN trigger_events t ON t.company_id = a.company_id AND t.contact_id = a.alias_id
               WHERE a.company_id = u.company_id AND a.contact_id = u.contact_id AND t.event_time = u.event_time
                 AND t.source = u.source AND t.event_id = u.event_id AND t.step = u.step
               LIMIT 1) h"#,
        &column(given, |one| one.contact.0) as &[&str],
        &column(given, |one| one.contact.1),
        &column(given, |one| to_micros(one.stamp.time)) as &[OffsetDateTime],
        &column(given, |one| one.stamp.event.source()) as &[&str],
        &column(given, |one| one.stamp.event.id()) as &[&str],
        &column(given, |one| i16::try_from(one.stamp.step).unwrap_or(i16::MAX)),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((usize::try_from(row.n - 1).ok()?, row.fields))).collect())
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
