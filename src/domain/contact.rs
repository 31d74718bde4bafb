//! What one event says about a person, and the contact that all events together make.

pub mod directory;
pub mod erasure;
pub mod field;
pub mod placeholder;
pub mod quality;
pub mod rebuild;

use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::field::{Field, FieldMap},
    event::{CompanyId, Stamp},
    value::{
        email::Email,
        phone::{Phone, Strength},
    },
};

/// A contact's id within its company. Resolves for ever, through aliases after a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactId(pub Uuid);

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A canonical key that finds a contact within its company. Personal data: no `Display`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identifier {
    /// By email.
    Email(Email),
    /// By phone.
    Phone(Phone),
}

impl Identifier {
    /// `email` or `phone`, as in the database.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
        }
    }

    /// The field whose value it is.
    #[must_use]
    pub const fn field(&self) -> Field {
        match self {
            Self::Email(_) => Field::Email,
            Self::Phone(_) => Field::Phone,
        }
    }

    /// Whether it does not prove that two contacts are one person.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        matches!(self, Self::Phone(phone) if phone.strength() == Strength::Weak)
    }

    /// The canonical value. Personal data.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Email(email) => email.as_str(),
            Self::Phone(phone) => phone.as_str(),
        }
    }
}

/// A value that an event gave and that was not taken, or not understood, without the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rejected {
    /// The field.
    #[serde(serialize_with = "field_name")]
    pub field: Field,
    /// A stable code such as `not_a_phone_number`.
    pub reason: &'static str,
}

impl Rejected {
    /// The reason of a value that was taken as it was given, for it was not understood.
    pub const UNVERIFIED: &str = "unverified";
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn field_name<S: serde::Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(field.name())
}

/// What one CRM step of one event says about a person. Values are cleaned and canonical;
/// a field that is absent here is left as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactUpdate {
    /// When it was said.
    pub stamp: Stamp,
    /// The phone as a key. Also in `values`, as text.
    pub phone: Option<Phone>,
    /// The email as a key. Also in `values`, as text.
    pub email: Option<Email>,
    /// The new values, phone and email included.
    pub values: FieldMap<String>,
    /// What was given and not taken.
    pub rejected: Vec<Rejected>,
}

impl fmt::Debug for ContactUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<Field> = self.values.iter().map(|(field, _value)| field).collect();
        f.debug_struct("ContactUpdate")
            .field("stamp", &self.stamp)
            .field("fields", &fields)
            .field("rejected", &self.rejected)
            .finish_non_exhaustive()
    }
}

impl ContactUpdate {
    /// An update with these canonical values, as they were accepted before.
    #[must_use]
    pub fn from_accepted(stamp: Stamp, values: FieldMap<String>) -> Self {
        let phone = values.get(Field::Phone).map(|text| Phone::from_stored(text.as_str()));
        let email = values.get(Field::Email).map(|text| Email::from_stored(text.as_str()));
        let mut update = Self { stamp, phone, email, values, rejected: Vec::new() };
        update.settle_keys();
        update
    }

    /// A weak phone is a key only where it is the only one. A number with an extension, or one that no
    /// plan knows, finds the contact of exactly this text when an update gives no email. Beside an email
    /// it is a value and no key: it would join two contacts, for good, on a number that two people may
    /// share. So whether it links never depends on what is stored already, and the contact stays a
    /// function of the set of its events.
    pub(super) fn settle_keys(&mut self) {
        if self.email.is_some() && self.phone.as_ref().is_some_and(|phone| phone.strength() == Strength::Weak)
        {
            self.phone = None;
        }
    }

    /// The keys that this update gives.
    pub fn identifiers(&self) -> impl Iterator<Item = Identifier> {
        let phone = self.phone.clone().map(Identifier::Phone);
        phone.into_iter().chain(self.email.clone().map(Identifier::Email))
    }
}

/// A field's value and the event that it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The value. May be personal data, so `Debug` leaves it out.
    pub value: String,
    /// Where and when it was said.
    pub stamp: Stamp,
}

impl fmt::Debug for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamped").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

/// One side of a separation: an operator said that two contacts are two people. Contacts that have
/// the opposite sides of one separation are never merged, whatever else they are merged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side {
    /// The separation.
    pub separation: Uuid,
    /// Which of its two sides.
    pub second: bool,
}

impl Side {
    /// Whether `other` is the other side of the same separation.
    #[must_use]
    pub fn opposes(self, other: Self) -> bool {
        self.separation == other.separation && self.second != other.second
    }

    /// The side whose stored form this is.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        let (separation, side) = text.split_once('/')?;
        Some(Self { separation: separation.parse().ok()?, second: side == "b" })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.separation, if self.second { 'b' } else { 'a' })
    }
}

/// A contact as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// Its company.
    pub company: CompanyId,
    /// Starts at 1 and grows by one with every change.
    pub version: i64,
    /// The winning value of each field.
    pub values: FieldMap<Stamped>,
    /// The keys that find it, former ones included, sorted.
    pub keys: Vec<Identifier>,
    /// What it must not be merged with.
    pub sides: Vec<Side>,
    /// Time of the earliest event of this contact.
    pub created_at: OffsetDateTime,
    /// Time of the latest event that gave a value which still stands.
    pub updated_at: OffsetDateTime,
}

impl Contact {
    /// Whether an operator keeps the two apart.
    #[must_use]
    pub fn is_separated_from(&self, other: &Self) -> bool {
        self.sides.iter().any(|mine| other.sides.iter().any(|theirs| mine.opposes(*theirs)))
    }

    /// How many keys of this kind find it.
    #[must_use]
    pub fn count_of(&self, kind: &str) -> usize {
        self.keys.iter().filter(|key| key.kind() == kind).count()
    }
}

/// What an update did to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// There was no such contact.
    Created,
    /// A value changed, or another contact was merged into it.
    Updated,
    /// Nothing changed.
    Unchanged,
}

impl Operation {
    /// The name on the wire and the last part of the routing key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}
