//! Who is who: applies updates to a set of contacts held in memory.
//!
//! The caller loads every contact that the updates can touch, applies them, and writes back what
//! [`Directory::into_changes`] tells. The outcome is a function of the set of updates, whatever
//! their order, ids and versions aside: per field the greatest stamp wins, and identity is the
//! connected components of the identifiers.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};

use super::{
    contact::{Contact, ContactId, ContactUpdate, Identifier, Operation, Stamped},
    event::CompanyId,
    field::{Field, FieldMap},
};

/// Contacts of any number of companies, by id and by identifier.
#[derive(Debug, Default)]
pub struct Directory {
    contacts: BTreeMap<(CompanyId, ContactId), Slot>,
    owners: HashMap<(CompanyId, Identifier), ContactId>,
    new_identifiers: Vec<(CompanyId, Identifier)>,
    removed: Vec<(CompanyId, ContactId)>,
    merges: Vec<Merge>,
}

#[derive(Debug)]
struct Slot {
    contact: Contact,
    stored: bool,
    changed: bool,
}

/// One contact absorbed another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The company of both.
    pub company: CompanyId,
    /// The id that becomes an alias.
    pub loser: ContactId,
    /// The contact that lives on, at the end of the batch.
    pub winner: ContactId,
    /// Key of the event that linked them.
    pub event_key: uuid::Uuid,
}

/// What one update did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Created, updated or unchanged.
    pub operation: Operation,
    /// The contact afterwards.
    pub contact: Contact,
    /// The fields whose value changed, in the order of their names: for a merge against what the
    /// contact that lives on said before.
    pub changed: Vec<Field>,
    /// The contacts that this update merged into this one.
    pub merged: Vec<ContactId>,
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
    /// Merges, each loser pointing at the contact that lives on.
    pub merges: Vec<Merge>,
}

impl Directory {
    /// Adds a stored contact. Adding it again is of no effect.
    pub fn add(&mut self, contact: Contact) {
        if let btree_map::Entry::Vacant(slot) = self.contacts.entry((contact.company.clone(), contact.id)) {
            slot.insert(Slot { contact, stored: true, changed: false });
        }
    }

    /// Says that `identifier` belongs to the stored contact `id`.
    pub fn own(&mut self, company: CompanyId, identifier: Identifier, id: ContactId) {
        self.owners.insert((company, identifier), id);
    }

    /// Applies one update. `fresh` becomes the id if a contact is created.
    pub fn apply(&mut self, company: &CompanyId, update: &ContactUpdate, fresh: ContactId) -> Applied {
        let mut known = self.take_known(company, update).into_iter();
        let winner = known.next();
        let created = winner.is_none();
        let mut winner = winner.unwrap_or_else(|| Slot::fresh(company, update, fresh));
        // Only a merge brings values that the update does not say.
        let before = (known.len() > 0).then(|| winner.contact.values.clone());
        let merged: Vec<ContactId> = known.map(|loser| self.merge(&mut winner, loser, update)).collect();
        self.claim(company, update, winner.contact.id);
        let written = winner.write(update);
        let changed = before.map_or(written, |before| differences(&before, &winner.contact.values));
        let operation = match (created, changed.is_empty() && merged.is_empty()) {
            (true, _) => Operation::Created,
            (false, true) => Operation::Unchanged,
            (false, false) => Operation::Updated,
        };
        winner.finish(operation, update);
        let contact = winner.contact.clone();
        self.contacts.insert((company.clone(), contact.id), winner);
        Applied { operation, contact, changed, merged }
    }

    /// What to write, coalesced: each contact once.
    #[must_use]
    pub fn into_changes(mut self) -> Changes {
        self.new_identifiers.sort_unstable();
        self.removed.sort_unstable();
        let owners = self.owners;
        let identifiers = self.new_identifiers.into_iter().filter_map(|key| {
            let owner = *owners.get(&key)?;
            Some((key.0, key.1, owner))
        });
        Changes {
            identifiers: identifiers.collect(),
            contacts: self
                .contacts
                .into_values()
                .filter(|slot| slot.changed)
                .map(|slot| slot.contact)
                .collect(),
            removed: self.removed,
            merges: self.merges,
        }
    }

    /// Takes the contacts that the update's identifiers find out of the map, the one that lives on
    /// first: that is the one that was there first, or the smaller id where both came at once.
    fn take_known(&mut self, company: &CompanyId, update: &ContactUpdate) -> Vec<Slot> {
        let mut known = Vec::new();
        for identifier in update.identifiers() {
            let owner = self.owners.get(&(company.clone(), identifier));
            known.extend(owner.and_then(|id| self.contacts.remove(&(company.clone(), *id))));
        }
        known.sort_by_key(|slot| (slot.contact.created_at, slot.contact.id));
        known
    }

    /// Moves what the loser has to the winner and makes the loser's id an alias.
    fn merge(&mut self, winner: &mut Slot, loser: Slot, update: &ContactUpdate) -> ContactId {
        let Slot { contact: loser, stored, .. } = loser;
        let company = &loser.company;
        winner.contact.created_at = winner.contact.created_at.min(loser.created_at);
        for (field, stamped) in loser.values {
            if winner.contact.values.get(field).is_none_or(|mine| mine.stamp < stamped.stamp) {
                winner.contact.values.insert(field, stamped);
            }
        }
        for owner in self.owners.iter_mut().filter(|((of, _), owner)| of == company && **owner == loser.id) {
            *owner.1 = winner.contact.id;
        }
        for merge in
            self.merges.iter_mut().filter(|merge| merge.company == *company && merge.winner == loser.id)
        {
            merge.winner = winner.contact.id;
        }
        if stored {
            self.removed.push((company.clone(), loser.id));
        }
        let event_key = update.stamp.event.key();
        self.merges.push(Merge {
            company: company.clone(),
            loser: loser.id,
            winner: winner.contact.id,
            event_key,
        });
        loser.id
    }

    fn claim(&mut self, company: &CompanyId, update: &ContactUpdate, owner: ContactId) {
        for identifier in update.identifiers() {
            if let hash_map::Entry::Vacant(slot) = self.owners.entry((company.clone(), identifier)) {
                self.new_identifiers.push(slot.key().clone());
                slot.insert(owner);
            }
        }
    }
}

impl Slot {
    fn fresh(company: &CompanyId, update: &ContactUpdate, id: ContactId) -> Self {
        let contact = Contact {
            id,
            company: company.clone(),
            version: 0,
            values: FieldMap::default(),
            created_at: update.stamp.time,
            updated_at: update.stamp.time,
        };
        Self { contact, stored: false, changed: true }
    }

    /// Takes the values that are newer than what stands, and returns the fields that now differ.
    fn write(&mut self, update: &ContactUpdate) -> Vec<Field> {
        let mut changed = Vec::new();
        for (field, value) in update.values.iter() {
            let before = self.contact.values.get(field);
            if before.is_some_and(|before| before.stamp >= update.stamp) {
                continue;
            }
            if before.is_none_or(|before| before.value != *value) {
                changed.push(field);
            }
            self.contact.values.insert(field, Stamped { value: value.clone(), stamp: update.stamp.clone() });
            self.changed = true;
        }
        in_order_of_names(changed)
    }

    fn finish(&mut self, operation: Operation, update: &ContactUpdate) {
        if operation != Operation::Unchanged {
            self.contact.version += 1;
            self.changed = true;
        }
        if update.stamp.time < self.contact.created_at {
            self.contact.created_at = update.stamp.time;
            self.changed = true;
        }
        let latest = self.contact.values.iter().map(|(_, stamped)| stamped.stamp.time).max();
        self.contact.updated_at = latest.unwrap_or(self.contact.created_at);
    }
}

fn differences(before: &FieldMap<Stamped>, after: &FieldMap<Stamped>) -> Vec<Field> {
    let differs = |field: &Field| {
        let [before, after] = [before, after].map(|map| map.get(*field).map(|stamped| &stamped.value));
        before != after
    };
    in_order_of_names(Field::ALL.into_iter().filter(differs).collect())
}

fn in_order_of_names(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort_unstable_by_key(|field| field.name());
    fields
}

#[cfg(test)]
mod tests;
