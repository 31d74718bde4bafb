//! The history of links between contacts: merges, unmerges, and merges that a rule forbade.

use sqlx::PgConnection;
use strum::IntoStaticStr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::column;
use crate::domain::{
    contact::{
        Contact, ContactId,
        directory::{Conflict, Merge},
    },
    event::{CompanyId, EventRef},
};

/// One link in a contact's history.
#[derive(Clone, Debug)]
pub struct LinkRow {
    /// Its id.
    pub id: Uuid,
    /// `merged`, `unmerged` or `conflict`.
    pub kind: String,
    /// When it was recorded.
    pub happened_at: OffsetDateTime,
    /// The contact that survived, or that the event was for.
    pub contact_id: Uuid,
    /// The contact that was merged away, or that was kept apart.
    pub other_id: Uuid,
    /// The rule that forbade the merge; only of a conflict.
    pub rule: Option<String>,
    /// `CloudEvents` `source` of its event; `None` for an unmerge.
    pub source: Option<String>,
    /// `CloudEvents` `id` of that event.
    pub event_id: Option<String>,
    /// The step within that event's chain, counted from 1.
    pub step: Option<i16>,
    /// The operator; only of an unmerge.
    pub operator: Option<String>,
}

/// A contact that an unmerge keeps apart from another.
#[derive(Clone, Debug)]
pub struct Separation {
    /// That contact's id at the time.
    pub other: Uuid,
    /// Since when.
    pub since: OffsetDateTime,
    /// The operator who unmerged them.
    pub operator: Option<String>,
}

/// A link that an event made or that a rule forbade.
pub struct NewLink<'a> {
    company: &'a CompanyId,
    kind: Kind,
    contact: ContactId,
    other: ContactId,
    rule: Option<&'static str>,
    event: &'a EventRef,
    step: u16,
}

#[derive(Clone, Copy, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum Kind {
    Merged,
    Conflict,
}

impl<'a> NewLink<'a> {
    /// The link of a merge.
    #[must_use]
    pub fn merged(merge: &'a Merge) -> Self {
        Self {
            company: &merge.company,
            kind: Kind::Merged,
            contact: merge.into,
            other: merge.loser,
            rule: None,
            event: &merge.stamp.event,
            step: merge.stamp.step,
        }
    }

    /// The link of a merge, or of an additional identifier, that a rule forbade.
    #[must_use]
    pub fn conflict(company: &'a CompanyId, event: &'a EventRef, step: u16, conflict: &Conflict) -> Self {
        Self {
            company,
            kind: Kind::Conflict,
            contact: conflict.contact,
            other: conflict.other,
            rule: Some(conflict.rule.name()),
            event,
            step,
        }
    }

    /// Derived, so a redelivered event has the same link.
    fn id(&self) -> Uuid {
        self.event.id_of(self.company, self.kind.into(), self.step)
    }
}

/// Inserts links, or updates existing ones: a replayed dead letter may find other contacts, and after an unmerge an
/// event may merge another pair.
pub async fn insert(conn: &mut PgConnection, links: &[NewLink<'_>]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, rule, event_key, source, event_id, step)
         SELECT DISTINCT ON (company_id, link_id) *
         FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::uuid[], $8::text[],
             $9::text[], $10::smallint[])
             AS u(company_id, link_id, kind, contact_id, other_id, rule, event_key, source, event_id, step)
         ON CONFLICT (company_id, link_id) DO UPDATE SET
             contact_id = excluded.contact_id, other_id = excluded.other_id, rule = excluded.rule",
        &column(links, |link| link.company.as_str()) as &[&str],
        &column(links, NewLink::id),
        &column(links, |link| <&str>::from(link.kind)) as &[&str],
        &column(links, |link| link.contact.0),
        &column(links, |link| link.other.0),
        &column(links, |link| link.rule) as &[Option<&str>],
        &column(links, |link| link.event.key()),
        &column(links, |link| link.event.source()) as &[&str],
        &column(links, |link| link.event.id()) as &[&str],
        &column(links, |link| i16::try_from(link.step).unwrap_or(i16::MAX)),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a portion of the conflicts from before `before`, and returns how many. They belong to the history; merges and unmerges stay,
/// because an unmerge needs them.
///
/// # Errors
/// When the database fails.
pub async fn delete_conflicts(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "WITH old AS MATERIALIZED (
             SELECT company_id, link_id FROM contact_links WHERE kind = 'conflict' AND happened_at < $1
             ORDER BY happened_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         DELETE FROM contact_links l USING old WHERE l.company_id = old.company_id AND l.link_id = old.link_id",
        before,
        portion,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// At most `limit` links of a contact after this time and id: oldest first, or with `newest_first` the other way round. `ids`
/// are its own and its aliases. Reads all of its links: few merges and unmerges, and the conflicts of its history.
///
/// # Errors
/// When the database fails.
pub async fn of(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
    (after, link): (OffsetDateTime, Uuid),
    newest_first: bool,
    limit: i64,
) -> Result<Vec<LinkRow>, sqlx::Error> {
    sqlx::query_as!(
        LinkRow,
        "SELECT link_id AS id, kind, happened_at, contact_id, other_id, rule, source, event_id, step, operator
         FROM contact_links WHERE company_id = $1 AND (contact_id = ANY($2) OR other_id = ANY($2))
           AND CASE WHEN $5 THEN (happened_at, link_id) < ($3, $4) ELSE (happened_at, link_id) > ($3, $4) END
         ORDER BY CASE WHEN $5 THEN happened_at END DESC, CASE WHEN $5 THEN link_id END DESC, happened_at, link_id
         LIMIT $6",
        company.as_str(),
        ids,
        after,
        link,
        newest_first,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The separations of a contact, oldest first. `ids` are its own and its aliases.
///
/// # Errors
/// When the database fails.
pub async fn separations(
    conn: &mut PgConnection,
    contact: &Contact,
    ids: &[Uuid],
) -> Result<Vec<Separation>, sqlx::Error> {
    let links: Vec<Uuid> = contact.sides.iter().map(|side| side.separation).collect();
    sqlx::query_as!(
        Separation,
        r#"SELECT CASE WHEN contact_id = ANY($3) THEN other_id ELSE contact_id END AS "other!",
               happened_at AS since, operator
           FROM contact_links WHERE company_id = $1 AND link_id = ANY($2)
           ORDER BY happened_at, link_id"#,
        contact.company.as_str(),
        &links,
        ids,
    )
    .fetch_all(conn)
    .await
}
