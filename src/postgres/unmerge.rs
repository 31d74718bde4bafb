//! The reads and writes of an unmerge. [`super::living`] locks the contact first.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    batch::{self, NewRows, Unseen},
    columns::column,
    directory,
    links::{self, NewLink},
};
use crate::domain::{
    contact::{
        Contact, ContactId, ContactUpdate, Identifier, Rejected,
        directory::Conflict,
        field::FieldMap,
        rebuild::{AppliedUpdate, Rebuilt, Separation},
    },
    event::{CompanyId, EventRef, Stamp, to_micros},
};

/// One CRM step of an applied event, from the ledger.
pub struct Step {
    applied_order: i64,
    /// The values it gave, and the contact that it was applied to.
    pub update: AppliedUpdate,
}

/// The separations of any of these ids.
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

/// The CRM steps of these contacts, in the order in which they were applied.
pub async fn steps(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<Step>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT applied_order, step, source, event_id, event_time, event_nanos, contact_id, fields
         FROM trigger_events WHERE company_id = $1 AND contact_id = ANY($2)
         ORDER BY applied_order",
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::into_step).collect()
}

struct Row {
    applied_order: i64,
    step: i16,
    source: String,
    event_id: String,
    event_time: OffsetDateTime,
    event_nanos: i16,
    contact_id: Uuid,
    fields: String,
}

impl Row {
    fn into_step(self) -> Result<Step, sqlx::Error> {
        let event = EventRef::new(&self.source, &self.event_id).map_err(decode)?;
        let step = u16::try_from(self.step).map_err(decode)?;
        let given: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&self.fields).map_err(decode)?;
        let mut values = FieldMap::default();
        for (name, value) in given {
            let field = name.parse().map_err(decode)?;
            values.insert(field, value);
        }
        let time = self.event_time + time::Duration::nanoseconds(self.event_nanos.into());
        let stamp = Stamp { time, event, step };
        Ok(Step {
            applied_order: self.applied_order,
            update: AppliedUpdate {
                contact: ContactId(self.contact_id),
                update: ContactUpdate::from_accepted(stamp, values),
            },
        })
    }
}

fn decode(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// Replaces the contact `living` and its aliases with the rebuilt contacts. `false` if an identifier or a
/// step to be reassigned was missing; the caller then rolls back.
pub async fn replace(
    conn: &mut PgConnection,
    living: &Contact,
    steps: &[Step],
    rebuilt: &Rebuilt,
) -> Result<bool, sqlx::Error> {
    let company = &living.company;
    let (same, other): (Vec<&Contact>, Vec<&Contact>) =
        rebuilt.contacts.iter().partition(|contact| contact.id == living.id);
    directory::update(conn, &same).await?;
    let other = NewRows { contacts: other, ..NewRows::default() };
    batch::insert(conn, other, &BTreeSet::new(), Unseen::default()).await?;
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
        restore_merge_times(conn, company, rebuilt).await?;
    }
    // An identifier that a step no longer adds to its contact is a conflict in the history of both contacts.
    let kept_apart = steps.iter().zip(&rebuilt.steps).filter_map(|(step, (_, kept_apart))| {
        let stamp = &step.update.update.stamp;
        Some(NewLink::conflict(company, &stamp.event, stamp.step, &kept_apart.as_ref()?.1))
    });
    let kept_apart: Vec<_> = kept_apart.collect();
    if !kept_apart.is_empty() {
        links::insert(conn, &kept_apart).await?;
    }
    let reassigned = reassign(conn, company, steps, &rebuilt.steps).await?;
    Ok(moved == owners.len() as u64 && reassigned == steps.len() as u64)
}

/// Restores the times of the merges that remain.
async fn restore_merge_times(
    conn: &mut PgConnection,
    company: &CompanyId,
    rebuilt: &Rebuilt,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE contact_aliases a SET merged_at = l.happened_at FROM contact_links l
         WHERE a.company_id = $1 AND a.alias_id = ANY($2) AND l.company_id = a.company_id
             AND l.other_id = a.alias_id AND l.kind = 'merged' AND l.event_key = a.merged_by",
        company.as_str(),
        &column(&rebuilt.merges, |merge| merge.loser.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Assigns each step to its new contact, without the identifier that is now rejected.
async fn reassign(
    conn: &mut PgConnection,
    company: &CompanyId,
    steps: &[Step],
    now: &[(ContactId, Option<(Rejected, Conflict)>)],
) -> Result<u64, sqlx::Error> {
    let rejected = column(now, |(_, kept_apart)| kept_apart.map(|(rejected, _)| rejected));
    let json = |rejected: Rejected| serde_json::to_string(&[rejected]).unwrap_or_default();
    let done = sqlx::query!(
        "UPDATE trigger_events t SET
             contact_id = u.contact_id,
             fields = CASE WHEN u.field IS NULL THEN t.fields ELSE (t.fields::jsonb - u.field)::text END,
             rejected = CASE WHEN u.field IS NULL THEN t.rejected
                 ELSE (coalesce(t.rejected, '[]')::jsonb || u.rejected::jsonb)::text END
         FROM UNNEST($2::uuid[], $3::timestamptz[], $4::bigint[], $5::uuid[], $6::text[], $7::text[])
             AS u(old_contact_id, event_time, applied_order, contact_id, field, rejected)
         WHERE t.company_id = $1 AND t.contact_id = u.old_contact_id AND t.event_time = u.event_time
           AND t.applied_order = u.applied_order",
        company.as_str(),
        &column(steps, |step| step.update.contact.0),
        &column(steps, |step| to_micros(step.update.update.stamp.time)),
        &column(steps, |step| step.applied_order),
        &column(now, |(contact, _)| contact.0),
        &column(&rejected, |rejected| rejected.map(|rejected| rejected.field.name())) as &[Option<&str>],
        &column(&rejected, |rejected| rejected.map(json)) as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Inserts the separation with the operator who made it.
pub async fn insert_separation(
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
