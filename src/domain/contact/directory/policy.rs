//! Decides what happens when one event matches two contacts (merge them, prefer one, or reject the event),
//! and what no event may do. Nothing here changes a contact.

use strum::IntoStaticStr;

use crate::domain::{
    contact::{Contact, ContactId, ContactUpdate, Identifier, field::Field},
    value::identity,
};

/// What happens if phone and email match two contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum OnConflict {
    /// The older contact absorbs the other one.
    Merge,
    /// The phone's contact is updated; the email is not accepted.
    PreferPhone,
    /// The email's contact is updated; the phone is not accepted.
    PreferEmail,
    /// The event becomes a dead letter, `contact_conflict`.
    Reject,
}

/// A deployment's rules for merging contacts.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Setting `contacts.on_conflict`.
    pub on_conflict: OnConflict,
    /// `None` when replaying events that have passed them.
    pub guards: Option<Guards>,
}

/// Limits that no event may exceed.
#[derive(Clone, Copy, Debug)]
pub struct Guards {
    /// Maximum phones, and maximum emails, of one contact.
    pub max_identifiers: usize,
}

/// The rule that prevented a merge or rejected an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Rule {
    /// Setting `contacts.on_conflict = "prefer_phone"`.
    PreferPhone,
    /// Setting `contacts.on_conflict = "prefer_email"`.
    PreferEmail,
    /// Setting `contacts.on_conflict = "reject"`.
    Reject,
    /// A separation keeps the two apart.
    Separated,
    /// The contacts have different valid CPFs, so they are two people.
    DifferentCpf,
    /// The contact would have more phones than [`Guards::max_identifiers`].
    TooManyPhones,
    /// The contact would have more emails than [`Guards::max_identifiers`].
    TooManyEmails,
}

impl Rule {
    /// The name in listings and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The reason in `rejected` for an identifier that this rule did not accept.
    #[must_use]
    pub const fn rejection(self) -> &'static str {
        match self {
            Self::Separated => "contacts_kept_apart",
            _ => "belongs_to_another_contact",
        }
    }

    /// The message of the dead letter.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::PreferPhone | Self::PreferEmail | Self::Reject | Self::Separated => {
                "phone and email belong to two contacts, and contacts.on_conflict does not merge them"
            }
            Self::DifferentCpf => {
                "phone and email belong to two contacts with different CPFs, so they are two people"
            }
            Self::TooManyPhones => {
                "the contact would have more phones than contacts.max_identifiers; do several people share its email?"
            }
            Self::TooManyEmails => {
                "the contact would have more emails than contacts.max_identifiers; do several people share its phone?"
            }
        }
    }
}

/// Two contacts that an event matched and that were not merged, or one that would exceed a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The rule that applied.
    pub rule: Rule,
    /// The contact that the event was applied to. If the event was rejected, the phone's contact.
    pub contact: ContactId,
    /// The other contact; the same one if only one is involved.
    pub other: ContactId,
}

impl Conflict {
    /// Limits the conflict to known contacts, because a rejected event does not create any. `None` if neither
    /// is known.
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

/// The decision about an event that matches two contacts.
pub(super) enum Link {
    /// The older contact absorbs the other one.
    Merge,
    /// The event updates one of them, without the other's identifier.
    KeepApart { dropped: Field, rule: Rule },
}

impl Policy {
    /// Decides about an event whose phone and email belong to different contacts.
    pub(super) fn link(
        &self,
        phone: &Contact,
        email: &Contact,
        update: &ContactUpdate,
    ) -> Result<Link, Rule> {
        // Nothing merges what an operator has separated.
        let is_separated = phone.is_separated_from(email);
        let keep_apart = |dropped, rule| {
            let rule = if is_separated { Rule::Separated } else { rule };
            Ok(Link::KeepApart { dropped, rule })
        };
        match self.on_conflict {
            OnConflict::Merge if is_separated => return keep_apart(Field::Email, Rule::Separated),
            OnConflict::Merge => {}
            OnConflict::PreferPhone => return keep_apart(Field::Email, Rule::PreferPhone),
            OnConflict::PreferEmail => return keep_apart(Field::Phone, Rule::PreferEmail),
            OnConflict::Reject => return Err(Rule::Reject),
        }
        if self.guards.is_some() && !have_one_cpf(phone, email, update) {
            return Err(Rule::DifferentCpf);
        }
        for (kind, rule) in [("phone", Rule::TooManyPhones), ("email", Rule::TooManyEmails)] {
            self.check_count(phone.count_of(kind) + email.count_of(kind), rule)?;
        }
        Ok(Link::Merge)
    }

    /// Checks that a contact may have one more identifier.
    pub(super) fn one_more(&self, contact: &Contact, key: &Identifier) -> Result<(), Rule> {
        let rule = match key {
            Identifier::Phone(_) => Rule::TooManyPhones,
            Identifier::Email(_) => Rule::TooManyEmails,
        };
        self.check_count(contact.count_of(key.kind()) + 1, rule)
    }

    fn check_count(&self, keys: usize, rule: Rule) -> Result<(), Rule> {
        match self.guards {
            Some(guards) if keys > guards.max_identifiers => Err(rule),
            _ => Ok(()),
        }
    }
}

/// Whether all valid CPFs of the two contacts and the event are the same.
fn have_one_cpf(phone: &Contact, email: &Contact, update: &ContactUpdate) -> bool {
    let stored = [phone, email].map(|contact| contact.values.get(Field::Identity).map(|value| &value.value));
    let said = update.values.get(Field::Identity);
    let mut cpfs = stored.into_iter().chain([said]).flatten().filter_map(|text| identity::as_cpf(text));
    let first = cpfs.next();
    cpfs.all(|cpf| Some(cpf) == first)
}
