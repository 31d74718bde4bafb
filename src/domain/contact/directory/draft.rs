//! A contact of a directory while updates are applied to it.

use strum::VariantArray as _;

use crate::domain::{
    contact::{
        Contact, ContactId, ContactUpdate, Identifier, Operation, Side, Stamped,
        field::{Field, FieldMap},
        placeholder::is_doubtful,
    },
    event::{CompanyId, Stamp, to_micros},
};

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) contact: Contact,
    stored: bool,
    changed: bool,
}

impl Draft {
    pub(super) fn stored(contact: Contact) -> Self {
        Self { contact, stored: true, changed: false }
    }

    pub(super) fn fresh(company: &CompanyId, update: &ContactUpdate, id: ContactId) -> Self {
        let contact = Contact {
            id,
            company: company.clone(),
            version: 0,
            values: FieldMap::default(),
            keys: Vec::new(),
            sides: Vec::new(),
            // As a stored contact has them, so that both have one order.
            created_at: to_micros(update.stamp.time),
            updated_at: to_micros(update.stamp.time),
        };
        Self { contact, stored: false, changed: true }
    }

    pub(super) const fn is_stored(&self) -> bool {
        self.stored
    }

    /// The contact, if it changed.
    pub(super) fn into_change(self) -> Option<Contact> {
        self.changed.then_some(self.contact)
    }

    /// Takes over another contact's values, identifiers and separations. Returns the identifiers.
    pub(super) fn absorb(&mut self, other: Self) -> Vec<Identifier> {
        let other = other.contact;
        let mine = &mut self.contact;
        mine.created_at = mine.created_at.min(other.created_at);
        for (field, stamped) in other.values {
            let theirs = (stamped.value.as_str(), &stamped.stamp);
            if mine.values.get(field).is_none_or(|mine| yields(field, mine, theirs)) {
                mine.values.insert(field, stamped);
            }
        }
        for key in &other.keys {
            self.add_key(key.clone());
        }
        self.separate(&other.sides);
        self.changed = true;
        other.keys
    }

    pub(super) fn add_key(&mut self, key: Identifier) {
        if let Err(index) = self.contact.keys.binary_search(&key) {
            self.contact.keys.insert(index, key);
            self.changed = true;
        }
    }

    pub(super) fn separate(&mut self, sides: &[Side]) {
        for side in sides {
            if let Err(index) = self.contact.sides.binary_search(side) {
                self.contact.sides.insert(index, *side);
                self.changed = true;
            }
        }
    }

    /// Writes the values to which the current ones yield. Returns the fields that changed.
    pub(super) fn write(&mut self, update: &ContactUpdate, dropped: Option<Field>) -> Vec<Field> {
        let mut changed = Vec::new();
        for (field, value) in update.values.iter().filter(|(field, _)| Some(*field) != dropped) {
            let before = self.contact.values.get(field);
            if before.is_some_and(|before| !yields(field, before, (value, &update.stamp))) {
                continue;
            }
            if before.is_none_or(|before| before.value != *value) {
                changed.push(field);
            }
            self.contact.values.insert(field, Stamped { value: value.clone(), stamp: update.stamp.clone() });
            self.changed = true;
        }
        sorted_by_name(changed)
    }

    /// The fields whose value differs from `before`.
    pub(super) fn differences(&self, before: &FieldMap<Stamped>) -> Vec<Field> {
        let differs = |field: &Field| {
            let [before, after] =
                [before, &self.contact.values].map(|map| map.get(*field).map(|stamped| &stamped.value));
            before != after
        };
        sorted_by_name(Field::VARIANTS.iter().copied().filter(differs).collect())
    }

    pub(super) fn finish(&mut self, operation: Operation, update: &ContactUpdate) {
        if operation != Operation::Unchanged {
            self.contact.version += 1;
            self.changed = true;
        }
        let time = to_micros(update.stamp.time);
        if time < self.contact.created_at {
            self.contact.created_at = time;
            self.changed = true;
        }
        let latest = self.contact.values.iter().map(|(_, stamped)| stamped.stamp.time).max();
        self.contact.updated_at = latest.map_or(self.contact.created_at, to_micros);
    }
}

/// Whether a value yields to another one of the same field: a doubtful one to every certain one, otherwise the
/// older to the newer. It depends on the two alone, so the greatest of all values does not depend on their order.
fn yields(field: Field, mine: &Stamped, (theirs, stamp): (&str, &Stamp)) -> bool {
    let rank = |value, stamp| (!is_doubtful(field, value), stamp);
    rank(mine.value.as_str(), &mine.stamp) < rank(theirs, stamp)
}

fn sorted_by_name(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort_unstable_by_key(|field| field.name());
    fields
}
