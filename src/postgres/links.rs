//! What linked two contacts, parted them, or would have linked them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::{
        Contact, ContactId,
        directory::{Conflict, Merge},
    },
    event::{CompanyId, EventRef},
};

/// A link of a contact's history.
#[derive(Clone, Debug)]
pub struct LinkRow {
    /// `merged`, `unmerged` or `conflict`.
    pub kind: String,
    /// When it was stored.
    pub happened_at: OffsetDateTime,
    /// The contact that lived on, or that the event was for.
    pub contact_id: Uuid,
    /// The contact that was merged away, or that was kept apart.
    pub other_id: Uuid,
    /// Of a conflict: what forbade the merge.
    pub rule: Option<String>,
    /// `CloudEvents` `source` of the event behind it; none where an operator did it.
    pub source: Option<String>,
    /// `CloudEvents` `id` of that event.
    pub event_id: Option<String>,
    /// The step of that event's chain, from 1.
    pub step: Option<i16>,
    /// The operator who did it.
    pub operator: Option<String>,
}

/// A contact that another one is kept apart from.
#[derive(Clone, Debug)]
pub struct Separation {
    /// That contact, as of then.
    pub other: Uuid,
    /// Since when.
    pub since: OffsetDateTime,
    /// Who parted them.
    pub operator: Option<String>,
}

/// A link that an event made or that it was not allowed to make.
pub struct NewLink<'a> {
    company: &'a CompanyId,
    kind: Kind,
    contact: ContactId,
    other: ContactId,
    rule: Option<&'static str>,
    event: &'a EventRef,
    step: u16,
}

#[derive(Clone, Copy)]
enum Kind {
    Merged,
    Conflict,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Conflict => "conflict",
        }
    }
}

impl<'a> NewLink<'a> {
    /// A merge that happened.
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

    /// A merge, or a key more, that a rule forbade.
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

    /// The same event at the same step is one link, however often it comes.
    fn id(&self) -> Uuid {
        self.event.id_of(self.company, self.kind.name(), self.step)
    }
}

/// Inserts links. One that is there already is brought up to date: a dead letter that was replayed may
/// meet other contacts, and an unmerge may let an event merge another pair.
pub async fn insert(conn: &mut PgConnection, links: &[NewLink<'_>]) -> Result<(), sqlx::Error> {
    let companies: Vec<&str> = links.iter().map(|link| link.company.as_str()).collect();
    let ids: Vec<Uuid> = links.iter().map(NewLink::id).collect();
    let kinds: Vec<&str> = links.iter().map(|link| link.kind.name()).collect();
    let contacts: Vec<Uuid> = links.iter().map(|link| link.contact.0).collect();
    let others: Vec<Uuid> = links.iter().map(|link| link.other.0).collect();
    let rules: Vec<Option<&str>> = links.iter().map(|link| link.rule).collect();
    let keys: Vec<Uuid> = links.iter().map(|link| link.event.key()).collect();
    let sources: Vec<&str> = links.iter().map(|link| link.event.source()).collect();
    let events: Vec<&str> = links.iter().map(|link| link.event.id()).collect();
    let steps: Vec<i16> = links.iter().map(|link| i16::try_from(link.step).unwrap_or(i16::MAX)).collect();
    sqlx::query!(
        "INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, rule, event_key, source, event_id, step)
         SELECT DISTINCT ON (company_id, link_id) *
         FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::uuid[], $8::text[],
             $9::text[], $10::smallint[])
             AS u(company_id, link_id, kind, contact_id, other_id, rule, event_key, source, event_id, step)
         ON CONFLICT (company_id, link_id) DO UPDATE SET
             contact_id = excluded.contact_id, other_id = excluded.other_id, rule = excluded.rule",
        &companies as &[&str],
        &ids,
        &kinds as &[&str],
        &contacts,
        &others,
        &rules as &[Option<&str>],
        &keys,
        &sources as &[&str],
        &events as &[&str],
        &steps,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What linked or parted one of the contacts with these ids (a contact's own and its aliases), or would
/// have linked it, oldest first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn of(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<LinkRow>, sqlx::Error> {
    sqlx::query_as!(
        LinkRow,
        "SELECT kind, happened_at, contact_id, other_id, rule, source, event_id, step, operator
         FROM contact_links WHERE company_id = $1 AND (contact_id = ANY($2) OR other_id = ANY($2))
         ORDER BY happened_at, link_id",
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// What a contact is kept apart from, oldest first. `ids` are its own and its aliases.
///
/// # Errors
/// When the database refuses or is away.
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
