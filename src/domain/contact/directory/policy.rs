//! What happens when one event names two contacts: merge them, prefer one, or refuse the event; and
//! what no merge may do. Rules only: nothing here changes a contact.

use crate::domain::{
    contact::{Contact, ContactId, ContactUpdate, Identifier, field::Field},
    value::identity,
};

/// What happens when phone and email match two contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum OnConflict {
    /// The two become one.
    Merge,
    /// The event is for the phone's contact; its email is not taken.
    PreferPhone,
    /// The event is for the email's contact; its phone is not taken.
    PreferEmail,
    /// The event is a dead letter, `contact_conflict`.
    Reject,
}

/// The rules of a deployment about who is one person.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What happens when phone and email match two contacts.
    pub on_conflict: OnConflict,
    /// What no event may make of a contact. None while events are applied again that passed already.
    pub guards: Option<Guards>,
}

/// What no event may make of a contact.
#[derive(Clone, Copy, Debug)]
pub struct Guards {
    /// Most phones, and most emails, that find one contact.
    pub max_identifiers: usize,
}

/// Why two contacts were not merged, or an event was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `prefer_phone` decided.
    PreferPhone,
    /// `prefer_email` decided.
    PreferEmail,
    /// `reject` decided.
    Reject,
    /// An operator parted the two.
    Separated,
    /// They have different valid CPFs, so they are two people.
    DifferentCpf,
    /// One contact would have more phones than are allowed.
    TooManyPhones,
    /// One contact would have more emails than are allowed.
    TooManyEmails,
}

impl Rule {
    /// The name in listings and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreferPhone => "prefer_phone",
            Self::PreferEmail => "prefer_email",
            Self::Reject => "reject",
            Self::Separated => "separated",
            Self::DifferentCpf => "different_cpf",
            Self::TooManyPhones => "too_many_phones",
            Self::TooManyEmails => "too_many_emails",
        }
    }

    /// The code in `rejected` of a key that was not taken because of this rule.
    #[must_use]
    pub const fn rejection(self) -> &'static str {
        match self {
            Self::Separated => "contacts_kept_apart",
            _ => "belongs_to_another_contact",
        }
    }

    /// What an operator reads in the dead letter.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::PreferPhone | Self::PreferEmail | Self::Reject | Self::Separated => {
                "phone and email belong to two contacts, and contacts.on_conflict forbids to merge them"
            }
            Self::DifferentCpf => {
                "phone and email belong to two contacts with different CPFs: they are not merged"
            }
            Self::TooManyPhones => {
                "the contact would have more phones than contacts.max_identifiers: is one email shared?"
            }
            Self::TooManyEmails => {
                "the contact would have more emails than contacts.max_identifiers: is one phone shared?"
            }
        }
    }
}

/// Two contacts that an event linked and that were not merged; or one that would have had too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Why.
    pub rule: Rule,
    /// The contact that the event was applied to; of a refused event the phone's.
    pub contact: ContactId,
    /// The other one; the same where only one is concerned.
    pub other: ContactId,
}

impl Conflict {
    /// The same between contacts that are known: an event that was refused leaves none that it would have
    /// created. None where it leaves none at all.
    #[must_use]
    pub fn among(self, is_known: impl Fn(ContactId) -> bool) -> Option<Self> {
        let Self { rule, contact, other } = self;
        match (is_known(contact), is_known(other)) {
            (true, true) => Some(self),
            (true, false) => Some(Self { rule, contact, other: contact }),
            (false, true) => Some(Self { rule, contact: other, other }),
            (false, false) => None,
        }
    }
}

/// What the policy makes of an event that names two contacts.
pub(super) enum Link {
    /// They become one.
    Merge,
    /// The event is for one of them, and the other's key is not taken.
    KeepApart { dropped: Field, rule: Rule },
}

impl Policy {
    /// Decides about an event whose phone belongs to one contact and whose email to another.
    pub(super) fn link(
        &self,
        phone: &Contact,
        email: &Contact,
        update: &ContactUpdate,
    ) -> Result<Link, Rule> {
        if phone.is_separated_from(email) {
            // Under every policy, so that the same events give the same contacts whatever it is.
            return Ok(Link::KeepApart { dropped: Field::Email, rule: Rule::Separated });
        }
        match self.on_conflict {
            OnConflict::Merge => {}
            OnConflict::PreferPhone => {
                return Ok(Link::KeepApart { dropped: Field::Email, rule: Rule::PreferPhone });
            }
            OnConflict::PreferEmail => {
                return Ok(Link::KeepApart { dropped: Field::Phone, rule: Rule::PreferEmail });
            }
            OnConflict::Reject => return Err(Rule::Reject),
        }
        if self.guards.is_some() && !have_one_cpf(phone, email, update) {
            return Err(Rule::DifferentCpf);
        }
        for (kind, rule) in [("phone", Rule::TooManyPhones), ("email", Rule::TooManyEmails)] {
            self.room(phone.count_of(kind) + email.count_of(kind), rule)?;
        }
        Ok(Link::Merge)
    }

    /// Whether a contact may have one key more, that it does not have yet.
    pub(super) fn one_more(&self, contact: &Contact, key: &Identifier) -> Result<(), Rule> {
        let rule = match key {
            Identifier::Phone(_) => Rule::TooManyPhones,
            Identifier::Email(_) => Rule::TooManyEmails,
        };
        self.room(contact.count_of(key.kind()) + 1, rule)
    }

    fn room(&self, keys: usize, rule: Rule) -> Result<(), Rule> {
        match self.guards {
            Some(guards) if keys > guards.max_identifiers => Err(rule),
            _ => Ok(()),
        }
    }
}

/// Whether all valid CPFs that the contacts have and the event says are the same.
fn have_one_cpf(phone: &Contact, email: &Contact, update: &ContactUpdate) -> bool {
    let stored = [phone, email].map(|contact| contact.values.get(Field::Identity).map(|value| &value.value));
    let said = update.values.get(Field::Identity);
    let mut cpfs = stored.into_iter().chain([said]).flatten().filter_map(|text| identity::as_cpf(text));
    let first = cpfs.next();
    cpfs.all(|cpf| Some(cpf) == first)
}
