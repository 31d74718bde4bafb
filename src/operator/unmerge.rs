//! Unmerges two contacts that are different people.
//!
//! Both are rebuilt from the ledger as if they had never been merged, and a separation keeps events from merging them
//! again.

use serde_json::json;
use sqlx::PgConnection;
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::{self, Actor, Change};
use crate::{
    domain::{
        chain::outgoing::{OutgoingEvent, Publisher},
        contact::{
            Contact, ContactId, Stamped,
            directory::Conflict,
            field::{Field, FieldMap},
            placeholder::is_doubtful,
            rebuild::{AppliedUpdate, Rebuilt, Separation, rebuild},
        },
        event::CompanyId,
    },
    postgres::{
        Database, clock,
        effects::events,
        living::{self, Living},
        unmerge as store,
    },
    settings::Events,
};

/// The result of an unmerge, or of its dry run.
#[derive(Clone, Debug)]
pub struct Unmerged {
    /// The contact that had absorbed the other.
    pub contact: ContactId,
    /// The contact that exists again.
    pub restored: ContactId,
    /// All contacts that replace the merged one.
    pub contacts: Vec<Contact>,
    /// Number of ledger entries that were applied again.
    pub events: usize,
    /// Number of those that now belong to a different contact.
    pub moved_events: usize,
}

/// Why the contacts were not unmerged.
#[derive(Debug, thiserror::Error)]
pub enum UnmergeError {
    /// No contact has or had this id.
    #[error("there is no such contact")]
    NotFound,
    /// No contact was merged into this one.
    #[error("nothing was merged into this contact")]
    NotMerged,
    /// Several contacts were merged into this one.
    #[error("several contacts were merged into this one; give the id of the one to unmerge: {}", list(.0))]
    Ambiguous(Vec<ContactId>),
    /// Applying the ledger's entries again does not reproduce the contact as it is.
    #[error("could not unmerge the contacts: the ledger no longer has every event of this contact")]
    Incomplete,
    /// The events conflict with each other.
    #[error("could not unmerge the contacts: their events conflict ({})", .0.rule.name())]
    Conflict(Conflict),
    /// The database failed.
    #[error("could not unmerge the contacts")]
    Database(#[from] sqlx::Error),
}

fn list(ids: &[ContactId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Unmerges the contact with this id from the one that absorbed it. The id of the absorbing contact works, too, if
/// only one contact was merged into it. A `dry_run` is rolled back.
///
/// # Errors
/// See [`UnmergeError`]; nothing has changed then.
pub async fn unmerge(
    database: &Database,
    settings: &Events,
    company: &CompanyId,
    id: ContactId,
    actor: &Actor,
    dry_run: bool,
) -> Result<Unmerged, UnmergeError> {
    let work = async |conn: &mut PgConnection| match apply(conn, settings, company, id, actor).await {
        Err(UnmergeError::Database(error)) => Err(error),
        outcome => Ok(outcome),
    };
    database.transact(|outcome| outcome.is_ok() && !dry_run, work).await?
}

/// Does all of it in the caller's transaction.
async fn apply(
    conn: &mut PgConnection,
    settings: &Events,
    company: &CompanyId,
    id: ContactId,
    actor: &Actor,
) -> Result<Unmerged, UnmergeError> {
    let found = living::lock(conn, company, id).await?;
    let Living { contact: living, aliases, version } = found.ok_or(UnmergeError::NotFound)?;
    let merged = match (id == living.id, aliases.as_slice()) {
        (false, _) => id,
        (true, []) => return Err(UnmergeError::NotMerged),
        (true, [only]) => *only,
        (true, _) => return Err(UnmergeError::Ambiguous(aliases)),
    };
    let ids: Vec<Uuid> = aliases.iter().chain([&living.id]).map(|id| id.0).collect();
    let steps = store::steps(conn, company, &ids).await?;
    let updates: Vec<AppliedUpdate> = steps.iter().map(|step| step.update.clone()).collect();
    let mut separations = store::separations(conn, company, &ids).await?;
    let current = rebuild(company, &updates, &separations).map_err(UnmergeError::Conflict)?;
    if !gives(&current, &living) {
        return Err(UnmergeError::Incomplete);
    }
    // Read from the rebuilt contact: an earlier unmerge may have changed which contact absorbed which.
    let merge = current.merges.iter().find(|merge| merge.loser == merged);
    let absorber = merge.ok_or(UnmergeError::Incomplete)?.into;
    let separation = Separation { id: Uuid::now_v7(), one: absorber, other: merged };
    separations.push(separation);
    let mut rebuilt = rebuild(company, &updates, &separations).map_err(UnmergeError::Conflict)?;
    // Every id must still resolve to a contact, and these two to different ones.
    let (Some(contact), Some(restored)) = (rebuilt.living(absorber), rebuilt.living(merged)) else {
        return Err(UnmergeError::Incomplete);
    };
    if contact == restored || ids.iter().any(|id| rebuilt.living(ContactId(*id)).is_none()) {
        return Err(UnmergeError::Incomplete);
    }
    // Versions must grow for every subscriber that knows any of these ids.
    for contact in &mut rebuilt.contacts {
        contact.version = version + 1;
    }
    if !store::replace(conn, &living, &steps, &rebuilt).await? {
        return Err(UnmergeError::Incomplete);
    }
    store::insert_separation(conn, company, &separation, &actor.name).await?;
    let message = message(settings, &rebuilt, separation.id, contact, clock::now(conn).await?);
    // Without an owner: the relay of any process publishes it.
    events::insert(conn, Uuid::now_v7(), None, message.into_iter().collect()).await?;
    let change = Change {
        action: audit::CONTACT_UNMERGE,
        company: company.as_str(),
        object: merged.to_string(),
        before: Some(json!({ "contacts": [living.id.to_string()] })),
        after: Some(json!({ "contacts": [contact.to_string(), restored.to_string()] })),
    };
    audit::record(conn, actor, &change).await?;
    let moved = updates.iter().zip(&rebuilt.steps).filter(|(update, (now, _))| update.contact != *now);
    let moved_events = moved.count();
    Ok(Unmerged { contact, restored, contacts: rebuilt.contacts, events: updates.len(), moved_events })
}

/// Whether the events reproduce exactly this contact.
fn gives(rebuilt: &Rebuilt, living: &Contact) -> bool {
    matches!(rebuilt.contacts.as_slice(),
        [only] if only.id == living.id && only.keys == living.keys && are_same(&only.values, &living.values))
}

/// Whether the values are the same, except doubtful ones: an earlier version let them win over other values, and mistook
/// Namibia's code for a doubtful value.
fn are_same(rebuilt: &FieldMap<Stamped>, stored: &FieldMap<Stamped>) -> bool {
    Field::VARIANTS.iter().all(|field| match (rebuilt.get(*field), stored.get(*field)) {
        (Some(rebuilt), Some(stored)) => {
            let is_doubtful = |value| is_doubtful(*field, value);
            let is_namibia =
                *field == Field::Country && rebuilt.value == "NA" && rebuilt.stamp > stored.stamp;
            rebuilt == stored || is_namibia || is_doubtful(&stored.value) && !is_doubtful(&rebuilt.value)
        }
        (rebuilt, stored) => rebuilt == stored,
    })
}

fn message(
    events: &Events,
    rebuilt: &Rebuilt,
    separation: Uuid,
    id: ContactId,
    now: OffsetDateTime,
) -> Option<OutgoingEvent> {
    let publisher = Publisher { source: &events.source, include_identity: events.include_identity, now };
    let contact = rebuilt.contacts.iter().find(|contact| contact.id == id)?;
    let restored: Vec<&Contact> = rebuilt.contacts.iter().filter(|contact| contact.id != id).collect();
    let aliases: Vec<_> = rebuilt.merges.iter().map(|merge| (merge.loser, merge.winner)).collect();
    Some(publisher.contact_unmerged(separation, contact, &restored, &aliases))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventRef, Stamp};

    fn of(field: Field, value: &str, second: i64) -> FieldMap<Stamped> {
        let time = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
        let stamp = Stamp { time, event: EventRef::new("/test", "1").unwrap(), step: 1 };
        let mut values = FieldMap::default();
        values.insert(field, Stamped { value: value.to_owned(), stamp });
        values
    }

    fn name(value: &str, second: i64) -> FieldMap<Stamped> {
        of(Field::Name, value, second)
    }

    /// Earlier versions stored "None" over "Ada", and the events have given "Ada" since then.
    #[test]
    fn a_doubtful_value_may_have_won_over_a_certain_one() {
        assert!(are_same(&name("Ada", 1), &name("Ada", 1)));
        assert!(are_same(&name("Ada", 1), &name("None", 2)));
        assert!(!are_same(&name("Ada", 1), &name("Ada", 2)));
        assert!(!are_same(&name("Ada", 1), &name("Bia", 2)));
        assert!(!are_same(&name("Null", 1), &name("None", 2)));
        assert!(!are_same(&FieldMap::default(), &name("None", 2)));
        assert!(!are_same(&name("None", 2), &FieldMap::default()));
    }

    /// Earlier versions stored "BR" although a later event gave "NA".
    #[test]
    fn namibia_may_have_lost_to_an_earlier_value() {
        let country = |value, second| of(Field::Country, value, second);
        assert!(are_same(&country("NA", 2), &country("BR", 1)));
        assert!(!are_same(&country("NA", 1), &country("BR", 2)));
        assert!(!are_same(&country("BR", 2), &country("PT", 1)));
        assert!(!are_same(&country("NA", 2), &FieldMap::default()));
        assert!(!are_same(&of(Field::State, "NA", 2), &of(Field::State, "BR", 1)));
    }
}
