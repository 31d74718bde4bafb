//! Rebuilds contacts from their ledger entries, for an unmerge.
//!
//! Applies the entries of a contact and of those merged into it again, in their original order, to an empty directory
//! that keeps two of the contacts apart. The result is as if the two had never been merged.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::domain::{
    contact::{
        Contact, ContactId, ContactUpdate, Operation, Rejected, Side,
        directory::{Changes, Conflict, Directory, Merge, OnConflict, Policy},
    },
    event::CompanyId,
};

/// The ledger entry of one CRM step.
#[derive(Clone, Debug)]
pub struct AppliedUpdate {
    /// The contact that the step created or was applied to, before any later merge.
    pub contact: ContactId,
    /// The accepted values, without an identifier that belonged to another contact at the time.
    pub update: ContactUpdate,
}

/// The rule that keeps two unmerged contacts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separation {
    /// Both sides refer to it.
    pub id: Uuid,
    /// The contact on the first side.
    pub one: ContactId,
    /// The contact on the second side.
    pub other: ContactId,
}

/// The contacts that result from ledger entries.
#[derive(Debug)]
pub struct Rebuilt {
    /// Sorted by id.
    pub contacts: Vec<Contact>,
    /// In order; `winner` is the contact that survives all of them.
    pub merges: Vec<Merge>,
    /// For each entry: its contact now, and the identifier that is no longer accepted, with the conflict.
    pub steps: Vec<(ContactId, Option<(Rejected, Conflict)>)>,
}

impl Rebuilt {
    /// The living contact of `id`, after merges. `None` if the entries do not create it.
    #[must_use]
    pub fn living(&self, id: ContactId) -> Option<ContactId> {
        let merged = self.merges.iter().find(|merge| merge.loser == id);
        let living = merged.map_or(id, |merge| merge.winner);
        self.contacts.iter().any(|contact| contact.id == living).then_some(living)
    }
}

/// Applies the entries in the given order and keeps the `separations`.
///
/// Guards are off: entries in the ledger have passed them.
///
/// # Errors
/// Never with the policy used here, which merges without guards.
pub fn rebuild(
    company: &CompanyId,
    entries: &[AppliedUpdate],
    separations: &[Separation],
) -> Result<Rebuilt, Conflict> {
    const POLICY: Policy = Policy { on_conflict: OnConflict::Merge, guards: None };
    let mut sides: HashMap<ContactId, Vec<Side>> = HashMap::new();
    for Separation { id, one, other } in separations {
        sides.entry(*one).or_default().push(Side { separation: *id, second: false });
        sides.entry(*other).or_default().push(Side { separation: *id, second: true });
    }
    let mut directory = Directory::default();
    let mut created = HashSet::new();
    let mut steps = Vec::with_capacity(entries.len());
    for AppliedUpdate { contact, update } in entries {
        // A step that creates a contact keeps its id, unless another step has already created that contact.
        let fresh = if created.contains(contact) {
            ContactId(update.stamp.event.id_of(company, "contact", update.stamp.step))
        } else {
            *contact
        };
        let applied = directory.apply(company, update, fresh, &POLICY)?;
        if applied.operation == Operation::Created {
            created.insert(applied.id);
            for side in sides.remove(&applied.id).unwrap_or_default() {
                directory.separate(company, applied.id, side);
            }
        }
        steps.push((applied.id, applied.kept_apart));
    }
    // Nothing was stored in this directory, so every contact in it is new.
    let Changes { created, merges, .. } = directory.into_changes();
    Ok(Rebuilt { contacts: created, merges, steps })
}

#[cfg(test)]
mod tests;
