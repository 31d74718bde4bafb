//! Contacts: the update from one event, and the contact that results from all its updates.

pub mod directory;
pub mod erasure;
pub mod field;
pub mod placeholder;
pub mod quality;
pub mod rebuild;

use std::fmt;

use strum::IntoStaticStr;
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

/// Unique within a company. After a merge it still resolves, as an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactId(pub Uuid);

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A canonical email or phone that finds a contact within its company. Personal data: no `Display`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Identifier {
    /// Always strong.
    Email(Email),
    /// Strong or weak.
    Phone(Phone),
}

impl Identifier {
    /// `email` or `phone`, the name in the database.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// The field that it is a value of.
    #[must_use]
    pub const fn field(&self) -> Field {
        match self {
            Self::Email(_) => Field::Email,
            Self::Phone(_) => Field::Phone,
        }
    }

    /// Whether it finds a contact without proving that two contacts are one person.
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

/// A value that was not stored, or stored without being understood. Does not contain the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rejected {
    /// The field that the value was for.
    #[serde(serialize_with = "field_name")]
    pub field: Field,
    /// A stable code such as `not_a_phone_number`.
    pub reason: &'static str,
}

impl Rejected {
    /// The reason for a value that was not understood and is stored as given.
    pub const UNVERIFIED: &str = "unverified";
    /// The reason for a second phone number that cannot be used; the first is stored.
    pub const ONE_OF_TWO: &str = "one_of_two";
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn field_name<S: serde::Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(field.name())
}

/// The canonical values that one CRM step gives for a contact. A field without a value here does not
/// change.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactUpdate {
    /// Event and step that the values come from.
    pub stamp: Stamp,
    /// The phone, if it is an identifier. Also in `values`, as text.
    pub phone: Option<Phone>,
    /// The email, if it is an identifier. Also in `values`, as text.
    pub email: Option<Email>,
    /// The new values, phone and email included.
    pub values: FieldMap<String>,
    /// The values that were not stored or not understood.
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
    /// Restores an update from the canonical values that it was accepted with.
    #[must_use]
    pub fn from_accepted(stamp: Stamp, values: FieldMap<String>) -> Self {
        let phone = values.get(Field::Phone).map(|text| Phone::from_stored(text.as_str()));
        let email = values.get(Field::Email).map(|text| Email::from_stored(text.as_str()));
        let mut update = Self { stamp, phone, email, values, rejected: Vec::new() };
        update.settle_keys();
        update
    }

    /// Keeps a weak phone as an identifier only if it is the only one.
    ///
    /// Next to an email it is just a value: as an identifier it would merge two contacts on a number that
    /// two people may share. The rule looks at the update alone, not at stored contacts, so the contact
    /// stays a function of the set of its events.
    pub(super) fn settle_keys(&mut self) {
        let is_weak = |phone: &Phone| phone.strength() == Strength::Weak;
        if self.email.is_some() && self.phone.as_ref().is_some_and(is_weak) {
            self.phone = None;
        }
    }

    /// Phone and email, if they are identifiers.
    pub fn identifiers(&self) -> impl Iterator<Item = Identifier> {
        let phone = self.phone.clone().map(Identifier::Phone);
        phone.into_iter().chain(self.email.clone().map(Identifier::Email))
    }
}

/// A field's value and its stamp.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamped {
    /// May be personal data, so `Debug` omits it.
    pub value: String,
    /// Event and step that the value comes from.
    pub stamp: Stamp,
}

impl fmt::Debug for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamped").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

/// One side of a separation, the rule that keeps two unmerged contacts apart.
///
/// Contacts on opposite sides of a separation are never merged, no matter what else merges with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side {
    /// Id that both sides share.
    pub separation: Uuid,
    /// `false` on the first side, `true` on the second.
    pub second: bool,
}

impl Side {
    /// Whether `other` is the other side of the same separation.
    #[must_use]
    pub fn opposes(self, other: Self) -> bool {
        self.separation == other.separation && self.second != other.second
    }

    /// Parses the stored form, `<separation>/a` or `<separation>/b`.
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

/// The current state of a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The id that it was created with.
    pub id: ContactId,
    /// The tenant.
    pub company: CompanyId,
    /// Starts at 1 and grows by 1 with every change.
    pub version: i64,
    /// The value with the greatest stamp, per field.
    pub values: FieldMap<Stamped>,
    /// The identifiers that find it, former ones included, sorted.
    pub keys: Vec<Identifier>,
    /// Its separations from other contacts, sorted.
    pub sides: Vec<Side>,
    /// Time of its earliest event, in microseconds.
    pub created_at: OffsetDateTime,
    /// Time of the latest event with a current value, in microseconds.
    pub updated_at: OffsetDateTime,
}

impl Contact {
    /// Whether a separation keeps the two apart.
    #[must_use]
    pub fn is_separated_from(&self, other: &Self) -> bool {
        self.sides.iter().any(|mine| other.sides.iter().any(|theirs| mine.opposes(*theirs)))
    }

    /// The number of identifiers of this kind.
    #[must_use]
    pub fn count_of(&self, kind: &str) -> usize {
        self.keys.iter().filter(|key| key.kind() == kind).count()
    }
}

/// The effect of an update on a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Operation {
    /// No identifier of the update was known.
    Created,
    /// A value changed, or another contact was merged into this one.
    Updated,
    /// The contact already has all the values, or newer ones.
    Unchanged,
}

impl Operation {
    /// The name in events, and the last word of the routing key.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}
