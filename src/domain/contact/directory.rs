//! Who is who: applies updates to a set of contacts held in memory.
//!
//! The caller loads every contact that the updates can touch, applies them, and writes back what
//! [`Directory::into_changes`] tells. Under the policy `merge` the outcome is a function of the set of
//! applied updates, whatever their order, ids and versions aside: per field the greatest stamp wins,
//! and identity is the connected components of the identifiers.

mod policy;
mod slot;

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};

pub use self::policy::{Conflict, Guards, OnConflict, Policy, Rule};
use self::{policy::Link, slot::Slot};
use crate::domain::{
    contact::{Contact, ContactId, ContactUpdate, Identifier, Operation, Rejected, Side, field::Field},
    event::{CompanyId, Stamp},
};

/// Contacts of any number of companies, by id and by identifier.
#[derive(Debug, Default)]
pub struct Directory {
    contacts: BTreeMap<(CompanyId, ContactId), Slot>,
    owners: HashMap<(CompanyId, Identifier), ContactId>,
    new_identifiers: Vec<(CompanyId, Identifier)>,
    moved_identifiers: Vec<(CompanyId, Identifier)>,
    removed: Vec<(CompanyId, ContactId)>,
    merges: Vec<Merge>,
}

/// One contact absorbed another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The company of both.
    pub company: CompanyId,
    /// The id that becomes an alias.
    pub loser: ContactId,
    /// The contact that absorbed it.
    pub into: ContactId,
    /// The contact that lives on, at the end of the batch.
    pub winner: ContactId,
    /// The event that linked them.
    pub stamp: Stamp,
}

/// What one update did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Created, updated or unchanged.
    pub operation: Operation,
    /// The contact.
    pub id: ContactId,
    /// Its version afterwards.
    pub version: i64,
    /// The fields whose value changed, in the order of their names: for a merge against what the
    /// contact that lives on said before.
    pub changed: Vec<Field>,
    /// The contacts that this update merged into this one.
    pub merged: Vec<ContactId>,
    /// The key that was not taken because it belongs to another contact, and the conflict about it.
    pub kept_apart: Option<(Rejected, Conflict)>,
}

/// What must be written, in key order: one lock order for all workers.
#[derive(Debug, Default)]
pub struct Changes {
    /// New and changed contacts.
    pub contacts: Vec<Contact>,
    /// Stored contacts that were merged away.
    pub removed: Vec<(CompanyId, ContactId)>,
    /// Identifiers that nobody owned before, and their owner.
    pub identifiers: Vec<(CompanyId, Identifier, ContactId)>,
    /// Stored identifiers that went to another contact by a merge, and that contact.
    pub moved: Vec<(CompanyId, Identifier, ContactId)>,
    /// Merges, each loser pointing at the contact that lives on, in the order in which they happened.
    pub merges: Vec<Merge>,
}

impl Directory {
    /// Adds a stored contact. Adding it again is of no effect.
    pub fn add(&mut self, contact: Contact) {
        let key = (contact.company.clone(), contact.id);
        if let btree_map::Entry::Vacant(slot) = self.contacts.entry(key) {
            for key in &contact.keys {
                self.owners.insert((contact.company.clone(), key.clone()), contact.id);
            }
            slot.insert(Slot::stored(contact));
        }
    }

    /// The contact with this id, as of now.
    #[must_use]
    pub fn get(&self, company: &CompanyId, id: ContactId) -> Option<&Contact> {
        self.contacts.get(&(company.clone(), id)).map(|slot| &slot.contact)
    }

    /// A directory of only those contacts that these keys find: enough to try what an event with these keys
    /// would do.
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

    /// Gives a contact a side of a separation.
    pub fn separate(&mut self, company: &CompanyId, id: ContactId, side: Side) {
        if let Some(slot) = self.contacts.get_mut(&(company.clone(), id)) {
            slot.separate(&[side]);
        }
    }

    /// Applies one update. `fresh` becomes the id if a contact is created.
    ///
    /// # Errors
    /// The conflict that forbids it; then nothing has changed.
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
        let mut slots = self.take(company, known, dropped).into_iter();
        let (created, mut winner) = match slots.next() {
            Some(slot) => (false, slot),
            None => (true, Slot::fresh(company, update, fresh)),
        };
        // Only a merge brings values that the update does not say.
        let before = (slots.len() > 0).then(|| winner.contact.values.clone());
        let merged: Vec<ContactId> = slots.map(|loser| self.merge(&mut winner, loser, update)).collect();
        self.claim(company, update, &mut winner, dropped);
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

    /// What to write, coalesced: each contact once.
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
        Changes {
            identifiers: with_owner(new_identifiers),
            moved: with_owner(moved_identifiers),
            contacts: contacts.into_values().filter_map(Slot::into_change).collect(),
            removed,
            merges,
        }
    }

    /// The owners of the update's phone and email.
    fn known(&self, company: &CompanyId, update: &ContactUpdate) -> Known {
        let owner = |key: Identifier| self.owners.get(&(company.clone(), key)).copied();
        Known {
            phone: update.phone.clone().and_then(|phone| owner(Identifier::Phone(phone))),
            email: update.email.clone().and_then(|email| owner(Identifier::Email(email))),
        }
    }

    /// Whether the update may be applied, and which of its keys must be left out.
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

    /// Takes the known contacts out of the map, the one that lives on first: that is the one that was
    /// there first, or the smaller id where both came at once.
    fn take(&mut self, company: &CompanyId, known: Known, dropped: Option<Field>) -> Vec<Slot> {
        let phone = known.phone.filter(|_| dropped != Some(Field::Phone));
        let email = known.email.filter(|_| dropped != Some(Field::Email));
        let ids = phone.into_iter().chain(email);
        // Where both keys have the same owner, it is no longer there for the second.
        let mut slots: Vec<Slot> =
            ids.filter_map(|id| self.contacts.remove(&(company.clone(), id))).collect();
        slots.sort_by_key(|slot| (slot.contact.created_at, slot.contact.id));
        slots
    }

    /// Moves what the loser has to the winner and makes the loser's id an alias.
    fn merge(&mut self, winner: &mut Slot, loser: Slot, update: &ContactUpdate) -> ContactId {
        let company = loser.contact.company.clone();
        let (winner_id, loser_id, stored) = (winner.contact.id, loser.contact.id, loser.is_stored());
        for key in winner.absorb(loser) {
            let key = (company.clone(), key);
            self.owners.insert(key.clone(), winner_id);
            // One that is new in this batch is inserted, not moved.
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
        self.merges.push(Merge { company, loser: loser_id, into: winner_id, winner: winner_id, stamp });
        loser_id
    }

    fn claim(
        &mut self,
        company: &CompanyId,
        update: &ContactUpdate,
        owner: &mut Slot,
        dropped: Option<Field>,
    ) {
        for identifier in update.identifiers().filter(|key| Some(key.field()) != dropped) {
            if let hash_map::Entry::Vacant(slot) = self.owners.entry((company.clone(), identifier)) {
                owner.add_key(slot.key().1.clone());
                self.new_identifiers.push(slot.key().clone());
                slot.insert(owner.contact.id);
            }
        }
    }
}

/// The contacts that an update's keys belong to.
#[derive(Clone, Copy)]
struct Known {
    phone: Option<ContactId>,
    email: Option<ContactId>,
}

#[cfg(test)]
mod tests;
