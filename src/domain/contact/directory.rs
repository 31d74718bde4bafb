//! Finds, updates and merges contacts in memory.
//!
//! The caller loads every contact that the updates can touch, applies them, and writes the result of
//! [`Directory::into_changes`]. Under the policy `merge` without guards the order of the updates does not
//! matter, except for ids and versions: per field the greatest stamp wins, and a contact is a connected
//! component of identifiers.

mod draft;
mod policy;

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};

pub use self::policy::{Conflict, Guards, OnConflict, Policy, Rule};
use self::{draft::Draft, policy::Link};
use crate::domain::{
    contact::{Contact, ContactId, ContactUpdate, Identifier, Operation, Rejected, Side, field::Field},
    event::{CompanyId, Stamp},
};

/// Contacts of any number of companies, by id and by identifier.
#[derive(Debug, Default)]
pub struct Directory {
    contacts: BTreeMap<(CompanyId, ContactId), Draft>,
    owners: HashMap<(CompanyId, Identifier), ContactId>,
    new_identifiers: Vec<(CompanyId, Identifier)>,
    moved_identifiers: Vec<(CompanyId, Identifier)>,
    removed: Vec<(CompanyId, ContactId)>,
    merges: Vec<Merge>,
}

/// One contact was merged into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The tenant.
    pub company: CompanyId,
    /// The contact that was merged away; its id becomes an alias.
    pub loser: ContactId,
    /// The version that it had.
    pub version: i64,
    /// The contact that it was merged into.
    pub into: ContactId,
    /// The surviving contact at the end of the batch.
    pub winner: ContactId,
    /// The event that caused the merge.
    pub stamp: Stamp,
}

/// The result of one update.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The effect on the contact.
    pub operation: Operation,
    /// The contact that was created or updated.
    pub id: ContactId,
    /// The contact's version after the update.
    pub version: i64,
    /// The fields whose value changed, sorted by name. After a merge, compared to the surviving contact's
    /// values before it.
    pub changed: Vec<Field>,
    /// The contacts that the update merged into this one.
    pub merged: Vec<ContactId>,
    /// The identifier that was not accepted because it belongs to another contact, and the conflict.
    pub kept_apart: Option<(Rejected, Conflict)>,
}

/// The rows to write, sorted by key so that all workers lock in the same order.
#[derive(Debug, Default)]
pub struct Changes {
    /// New contacts.
    pub created: Vec<Contact>,
    /// Stored contacts that changed.
    pub changed: Vec<Contact>,
    /// Stored contacts that were merged away.
    pub removed: Vec<(CompanyId, ContactId)>,
    /// New identifiers and their owners.
    pub identifiers: Vec<(CompanyId, Identifier, ContactId)>,
    /// Stored identifiers that a merge moved, and their new owners.
    pub moved: Vec<(CompanyId, Identifier, ContactId)>,
    /// Merges in the order in which they happened.
    pub merges: Vec<Merge>,
}

impl Directory {
    /// Whether it has no contact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty()
    }

    /// Adds a stored contact, unless the directory already has it.
    pub fn add(&mut self, contact: Contact) {
        let key = (contact.company.clone(), contact.id);
        if let btree_map::Entry::Vacant(entry) = self.contacts.entry(key) {
            for key in &contact.keys {
                self.owners.insert((contact.company.clone(), key.clone()), contact.id);
            }
            entry.insert(Draft::stored(contact));
        }
    }

    /// The contact in its current state.
    #[must_use]
    pub fn get(&self, company: &CompanyId, id: ContactId) -> Option<&Contact> {
        self.contacts.get(&(company.clone(), id)).map(|draft| &draft.contact)
    }

    /// A copy with only the contacts that these identifiers find, for a trial run of an event.
    #[must_use]
    pub fn around(&self, company: &CompanyId, keys: impl Iterator<Item = Identifier>) -> Self {
        let mut around = Self::default();
        for key in keys {
            let owner = self.owners.get(&(company.clone(), key));
            if let Some(contact) = owner.and_then(|id| self.get(company, *id)) {
                around.add(contact.clone());
            }
        }
        around
    }

    /// Puts a contact on one side of a separation.
    pub fn separate(&mut self, company: &CompanyId, id: ContactId, side: Side) {
        if let Some(draft) = self.contacts.get_mut(&(company.clone(), id)) {
            draft.separate(&[side]);
        }
    }

    /// Applies one update. A created contact gets the id `fresh`.
    ///
    /// # Errors
    /// The conflict that forbids the update. The directory is unchanged.
    pub fn apply(
        &mut self,
        company: &CompanyId,
        update: &ContactUpdate,
        fresh: ContactId,
        policy: &Policy,
    ) -> Result<Applied, Conflict> {
        let known = self.known(company, update);
        let kept_apart = self.judge(company, update, known, policy)?;
        let dropped = kept_apart.map(|(rejected, _)| rejected.field);
        let mut drafts = self.take(company, known, dropped).into_iter();
        let (created, mut winner) = match drafts.next() {
            Some(draft) => (false, draft),
            None => (true, Draft::fresh(company, update, fresh)),
        };
        // Only a merge brings values that are not in the update.
        let before = (drafts.len() > 0).then(|| winner.contact.values.clone());
        let merged: Vec<ContactId> = drafts.map(|loser| self.merge(&mut winner, loser, update)).collect();
        self.register(company, update, &mut winner, dropped);
        let written = winner.write(update, dropped);
        let changed = before.map_or(written, |before| winner.differences(&before));
        let operation = match (created, changed.is_empty() && merged.is_empty()) {
            (true, _) => Operation::Created,
            (false, true) => Operation::Unchanged,
            (false, false) => Operation::Updated,
        };
        winner.finish(operation, update);
        let (id, version) = (winner.contact.id, winner.contact.version);
        self.contacts.insert((company.clone(), id), winner);
        Ok(Applied { operation, id, version, changed, merged, kept_apart })
    }

    /// Coalesces all updates, so that each contact is written once.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        let Self { contacts, owners, new_identifiers, moved_identifiers, mut removed, merges } = self;
        removed.sort_unstable();
        let with_owner = |mut keys: Vec<(CompanyId, Identifier)>| {
            keys.sort_unstable();
            keys.dedup();
            let owner = |key: (CompanyId, Identifier)| {
                let owner = *owners.get(&key)?;
                Some((key.0, key.1, owner))
            };
            keys.into_iter().filter_map(owner).collect()
        };
        let (identifiers, moved) = (with_owner(new_identifiers), with_owner(moved_identifiers));
        let mut changes = Changes { removed, identifiers, moved, merges, ..Changes::default() };
        for draft in contacts.into_values() {
            let written = if draft.is_stored() { &mut changes.changed } else { &mut changes.created };
            written.extend(draft.into_change());
        }
        changes
    }

    /// The owners of the update's phone and email.
    fn known(&self, company: &CompanyId, update: &ContactUpdate) -> Known {
        let owner = |key: Identifier| self.owners.get(&(company.clone(), key)).copied();
        Known {
            phone: update.phone.clone().and_then(|phone| owner(Identifier::Phone(phone))),
            email: update.email.clone().and_then(|email| owner(Identifier::Email(email))),
        }
    }

    /// Decides whether the update may be applied, and which identifier it must do without.
    fn judge(
        &self,
        company: &CompanyId,
        update: &ContactUpdate,
        known: Known,
        policy: &Policy,
    ) -> Result<Option<(Rejected, Conflict)>, Conflict> {
        let contact = |id: Option<ContactId>| self.get(company, id?);
        match (contact(known.phone), contact(known.email)) {
            (Some(phone), Some(email)) if phone.id != email.id => {
                let conflict = |rule| Conflict { rule, contact: phone.id, other: email.id };
                match policy.link(phone, email, update).map_err(conflict)? {
                    Link::Merge => Ok(None),
                    Link::KeepApart { dropped, rule } => {
                        let conflict = match dropped {
                            Field::Phone => Conflict { rule, contact: email.id, other: phone.id },
                            _ => conflict(rule),
                        };
                        Ok(Some((Rejected { field: dropped, reason: rule.rejection() }, conflict)))
                    }
                }
            }
            (Some(one), None) | (None, Some(one)) => {
                let new = update.identifiers().filter(|key| !one.keys.contains(key));
                for key in new {
                    let conflict = |rule| Conflict { rule, contact: one.id, other: one.id };
                    policy.one_more(one, &key).map_err(conflict)?;
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Takes the known contacts out of the map. The surviving one comes first: the older one or, if they are
    /// equally old, the one with the smaller id.
    fn take(&mut self, company: &CompanyId, known: Known, dropped: Option<Field>) -> Vec<Draft> {
        let phone = known.phone.filter(|_| dropped != Some(Field::Phone));
        let email = known.email.filter(|_| dropped != Some(Field::Email));
        let ids = phone.into_iter().chain(email);
        // If both identifiers have the same owner, the second finds it gone.
        let mut drafts: Vec<Draft> =
            ids.filter_map(|id| self.contacts.remove(&(company.clone(), id))).collect();
        drafts.sort_by_key(|draft| (draft.contact.created_at, draft.contact.id));
        drafts
    }

    /// Moves values, identifiers and separations to the winner and makes the loser's id an alias.
    fn merge(&mut self, winner: &mut Draft, loser: Draft, update: &ContactUpdate) -> ContactId {
        let company = loser.contact.company.clone();
        let (winner_id, loser_id, stored) = (winner.contact.id, loser.contact.id, loser.is_stored());
        let version = loser.contact.version;
        for key in winner.absorb(loser) {
            let key = (company.clone(), key);
            self.owners.insert(key.clone(), winner_id);
            // An identifier that is new in this batch is inserted, not moved.
            if !self.new_identifiers.contains(&key) {
                self.moved_identifiers.push(key);
            }
        }
        for earlier in &mut self.merges {
            if earlier.company == company && earlier.winner == loser_id {
                earlier.winner = winner_id;
            }
        }
        if stored {
            self.removed.push((company.clone(), loser_id));
        }
        let stamp = update.stamp.clone();
        self.merges.push(Merge {
            company,
            loser: loser_id,
            version,
            into: winner_id,
            winner: winner_id,
            stamp,
        });
        loser_id
    }

    /// Registers the update's identifiers that have no owner yet.
    fn register(
        &mut self,
        company: &CompanyId,
        update: &ContactUpdate,
        owner: &mut Draft,
        dropped: Option<Field>,
    ) {
        for identifier in update.identifiers().filter(|key| Some(key.field()) != dropped) {
            if let hash_map::Entry::Vacant(entry) = self.owners.entry((company.clone(), identifier)) {
                owner.add_key(entry.key().1.clone());
                self.new_identifiers.push(entry.key().clone());
                entry.insert(owner.contact.id);
            }
        }
    }
}

/// The contacts that an update's identifiers belong to.
#[derive(Clone, Copy)]
struct Known {
    phone: Option<ContactId>,
    email: Option<ContactId>,
}

#[cfg(test)]
mod tests;
