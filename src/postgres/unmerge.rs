//! What an unmerge reads and writes: a contact with all that was merged into it, and what their
//! events said.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    contact_row::ContactRow,
    directory,
    links::{self, NewLink},
};
use crate::domain::{
    contact::{
        Contact, ContactId, ContactUpdate, Identifier, Rejected,
        directory::Conflict,
        field::FieldMap,
        rebuild::{Entry, Rebuilt, Separation},
    },
    event::{CompanyId, EventRef, Stamp},
};

/// A ledger row and what it said.
pub struct Step {
    event_key: Uuid,
    ordinal: i16,
    /// What it said, and the contact that it was applied to.
    pub said: Entry,
}

/// How often a contact is looked for that is merged or parted while its lock is waited for.
const TRIES: usize = 10;

/// The contact that `id` is, or was merged into, locked, and the ids that lost a merge into it.
pub async fn lock(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<(Contact, Vec<ContactId>)>, sqlx::Error> {
    let mut expected = directory::living(conn, company, id).await?;
    for _ in 0..TRIES {
        let contact = lock_living(conn, company, id).await?;
        // What the id leads to is settled once that is locked, and may have changed before.
        let living = directory::living(conn, company, id).await?;
        match contact {
            Some(contact) if contact.id == living => {
                let aliases = aliases(conn, company, living).await?;
                return Ok(Some((contact, aliases)));
            }
            None if living == expected => return Ok(None),
            _ => expected = living,
        }
    }
    Ok(None)
}

async fn lock_living(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Contact>, sqlx::Error> {
    let row = sqlx::query_as!(
        ContactRow,
        r#"SELECT company_id, contact_id, version, name, identity, phone, email, company, position, birthday, zip_code,
             country, state, city, district, street, number, complement, provenance::text AS "provenance!", phones,
             emails, separations, created_at, updated_at
         FROM contacts WHERE company_id = $1 AND contact_id =
             coalesce((SELECT contact_id FROM contact_aliases WHERE company_id = $1 AND alias_id = $2), $2)
         FOR UPDATE"#,
        company.as_str(),
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Contact::try_from).transpose()
}

async fn aliases(
    conn: &mut PgConnection,
    company: &CompanyId,
    living: ContactId,
) -> Result<Vec<ContactId>, sqlx::Error> {
    let aliases = sqlx::query_scalar!(
        "SELECT alias_id FROM contact_aliases WHERE company_id = $1 AND contact_id = $2 ORDER BY 1",
        company.as_str(),
        living.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(aliases.into_iter().map(ContactId).collect())
}

/// The separations that concern any of these ids.
pub async fn separations(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<Separation>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT link_id, contact_id, other_id FROM contact_links
         WHERE company_id = $1 AND kind = 'unmerged' AND (contact_id = ANY($2) OR other_id = ANY($2))",
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    let separation =
        |row: (Uuid, Uuid, Uuid)| Separation { id: row.0, one: ContactId(row.1), other: ContactId(row.2) };
    Ok(rows.into_iter().map(|row| separation((row.link_id, row.contact_id, row.other_id))).collect())
}

/// What the events of these contacts said, in the order in which they were applied.
pub async fn steps(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<Step>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT event_key, ordinal, step, source, event_id, event_time, contact_id AS "contact_id!",
               coalesce(fields, '{}')::text AS "fields!"
           FROM trigger_events WHERE company_id = $1 AND contact_id = ANY($2) AND NOT erased
           ORDER BY batch, position"#,
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::into_step).collect()
}

struct Row {
    event_key: Uuid,
    ordinal: i16,
    step: i16,
    source: String,
    event_id: String,
    event_time: OffsetDateTime,
    contact_id: Uuid,
    fields: String,
}

impl Row {
    fn into_step(self) -> Result<Step, sqlx::Error> {
        let event = EventRef::new(&self.source, &self.event_id).map_err(decode)?;
        let step = u16::try_from(self.step).map_err(decode)?;
        let said: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&self.fields).map_err(decode)?;
        let mut values = FieldMap::default();
        for (name, value) in said {
            let field = name.parse().map_err(decode)?;
            values.insert(field, value);
        }
        let stamp = Stamp { time: self.event_time, event, step };
        Ok(Step {
            event_key: self.event_key,
            ordinal: self.ordinal,
            said: Entry {
                contact: ContactId(self.contact_id),
                update: ContactUpdate::from_accepted(stamp, values),
            },
        })
    }
}

fn decode(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// Writes what stands now in place of the contact `living` and its aliases, and returns whether all of
/// it was there to be replaced.
pub async fn replace(
    conn: &mut PgConnection,
    living: &Contact,
    steps: &[Step],
    rebuilt: &Rebuilt,
) -> Result<bool, sqlx::Error> {
    let company = &living.company;
    directory::write_contacts(conn, &rebuilt.contacts).await?;
    if rebuilt.contacts.iter().all(|contact| contact.id != living.id) {
        directory::remove_contacts(conn, &[(company.clone(), living.id)]).await?;
    }
    let owned = |contact: &Contact| -> Vec<(CompanyId, Identifier, ContactId)> {
        contact.keys.iter().map(|key| (company.clone(), key.clone(), contact.id)).collect()
    };
    let mut owners: Vec<_> = rebuilt.contacts.iter().flat_map(owned).collect();
    owners.sort_unstable();
    let moved = directory::move_identifiers(conn, &owners).await?;
    sqlx::query!(
        "DELETE FROM contact_aliases WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        living.id.0,
    )
    .execute(&mut *conn)
    .await?;
    if !rebuilt.merges.is_empty() {
        directory::write_merges(conn, &rebuilt.merges).await?;
        keep_times(conn, company, rebuilt).await?;
    }
    // A key that is not taken any more is told in the history of both, as that of any later event.
    let kept_apart = steps.iter().zip(&rebuilt.steps).filter_map(|(step, (_, kept_apart))| {
        let stamp = &step.said.update.stamp;
        Some(NewLink::conflict(company, &stamp.event, stamp.step, &kept_apart.as_ref()?.1))
    });
    let kept_apart: Vec<_> = kept_apart.collect();
    if !kept_apart.is_empty() {
        links::insert(conn, &kept_apart).await?;
    }
    let reassigned = reassign(conn, company, steps, &rebuilt.steps).await?;
    Ok(moved == owners.len() as u64 && reassigned == steps.len() as u64)
}

/// A merge that still stands happened when it happened.
async fn keep_times(
    conn: &mut PgConnection,
    company: &CompanyId,
    rebuilt: &Rebuilt,
) -> Result<(), sqlx::Error> {
    let losers: Vec<Uuid> = rebuilt.merges.iter().map(|merge| merge.loser.0).collect();
    sqlx::query!(
        "UPDATE contact_aliases a SET merged_at = l.happened_at FROM contact_links l
         WHERE a.company_id = $1 AND a.alias_id = ANY($2) AND l.company_id = a.company_id
             AND l.other_id = a.alias_id AND l.kind = 'merged' AND l.event_key = a.merged_by",
        company.as_str(),
        &losers,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives each event to the contact that it is for now, without the key that was not taken any more.
async fn reassign(
    conn: &mut PgConnection,
    company: &CompanyId,
    steps: &[Step],
    now: &[(ContactId, Option<(Rejected, Conflict)>)],
) -> Result<u64, sqlx::Error> {
    let keys: Vec<Uuid> = steps.iter().map(|step| step.event_key).collect();
    let ordinals: Vec<i16> = steps.iter().map(|step| step.ordinal).collect();
    let contacts: Vec<Uuid> = now.iter().map(|(contact, _)| contact.0).collect();
    let rejected: Vec<Option<Rejected>> =
        now.iter().map(|(_, kept_apart)| kept_apart.map(|(rejected, _)| rejected)).collect();
    let fields: Vec<Option<&str>> =
        rejected.iter().map(|rejected| rejected.map(|rejected| rejected.field.name())).collect();
    let rejected: Vec<Option<String>> = rejected
        .iter()
        .map(|rejected| rejected.map(|rejected| serde_json::to_string(&[rejected]).unwrap_or_default()))
        .collect();
    let done = sqlx::query!(
        "UPDATE trigger_events t SET
             contact_id = u.contact_id,
             fields = CASE WHEN u.field IS NULL THEN t.fields ELSE t.fields - u.field END,
             rejected = CASE WHEN u.field IS NULL THEN t.rejected
                 ELSE coalesce(t.rejected, '[]') || u.rejected::jsonb END
         FROM UNNEST($2::uuid[], $3::smallint[], $4::uuid[], $5::text[], $6::text[])
             AS u(event_key, ordinal, contact_id, field, rejected)
         WHERE t.company_id = $1 AND t.event_key = u.event_key AND t.ordinal = u.ordinal",
        company.as_str(),
        &keys,
        &ordinals,
        &contacts,
        &fields as &[Option<&str>],
        &rejected as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Keeps the separation, and who made it.
pub async fn record(
    conn: &mut PgConnection,
    company: &CompanyId,
    separation: &Separation,
    operator: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, operator)
         VALUES ($1, $2, 'unmerged', $3, $4, $5)",
        company.as_str(),
        separation.id,
        separation.one.0,
        separation.other.0,
        operator,
    )
    .execute(conn)
    .await?;
    Ok(())
}
