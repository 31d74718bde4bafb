//! Contacts made anew from what their events said: what an unmerge does.
//!
//! Every event of a contact and of those merged into it is applied again, in the order in which they
//! were applied first, to an empty directory in which two of the contacts may not be merged. The result
//! is what would stand if they never had been.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::domain::{
    contact::{
        Contact, ContactId, ContactUpdate, Operation, Rejected, Side,
        directory::{Changes, Conflict, Directory, Merge, OnConflict, Policy},
    },
    event::CompanyId,
};

/// What one CRM step said, and the contact that it was applied to.
#[derive(Clone, Debug)]
pub struct Said {
    /// The contact as of then. Of a step that created one, its id.
    pub contact: ContactId,
    /// What was taken. A key that belonged to another contact then is not in it.
    pub update: ContactUpdate,
}

/// Two contacts that are two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separation {
    /// Its own id.
    pub id: Uuid,
    /// The one.
    pub one: ContactId,
    /// The other.
    pub other: ContactId,
}

/// What the events make.
#[derive(Debug)]
pub struct Rebuilt {
    /// The contacts, by id.
    pub contacts: Vec<Contact>,
    /// The merges that happened, in order, each loser pointing at the contact that lives on.
    pub merges: Vec<Merge>,
    /// For each step, the contact that it is for now, and the key that was not taken any more and why.
    pub steps: Vec<(ContactId, Option<(Rejected, Conflict)>)>,
}

impl Rebuilt {
    /// The contact that `id` is, or was merged into. None where the events do not make it.
    #[must_use]
    pub fn living(&self, id: ContactId) -> Option<ContactId> {
        let merged = self.merges.iter().find(|merge| merge.loser == id);
        let living = merged.map_or(id, |merge| merge.winner);
        self.contacts.iter().any(|contact| contact.id == living).then_some(living)
    }
}

/// Applies `said`, in the order given, keeping `separations`.
///
/// Guards do not hold: what is in the ledger has passed them.
///
/// # Errors
/// None that the policy used here can give.
pub fn rebuild(company: &CompanyId, said: &[Said], separations: &[Separation]) -> Result<Rebuilt, Conflict> {
    const POLICY: Policy = Policy { on_conflict: OnConflict::Merge, guards: None };
    let mut sides: HashMap<ContactId, Vec<Side>> = HashMap::new();
    for Separation { id, one, other } in separations {
        sides.entry(*one).or_default().push(Side { separation: *id, second: false });
        sides.entry(*other).or_default().push(Side { separation: *id, second: true });
    }
    let mut directory = Directory::default();
    let mut created = HashSet::new();
    let mut steps = Vec::with_capacity(said.len());
    for Said { contact, update } in said {
        // A contact is made by the same step as before, unless that step's contact is another one's now.
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
    let Changes { contacts, merges, .. } = directory.into_changes();
    Ok(Rebuilt { contacts, merges, steps })
}

#[cfg(test)]
mod tests;
