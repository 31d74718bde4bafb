//! Turns a row of `contacts` into a contact.

use sqlx::error::BoxDynError;
use time::OffsetDateTime;
use uuid::Uuid;

use super::provenance;
use crate::domain::{
    contact::{
        Contact, ContactId, Identifier, Side, Stamped,
        field::{Field, FieldMap},
    },
    event::CompanyId,
    value::{email::Email, phone::Phone},
};

/// The columns of `contacts`.
pub(super) struct ContactRow {
    pub(super) company_id: String,
    pub(super) contact_id: Uuid,
    pub(super) version: i64,
    pub(super) name: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) email: Option<String>,
    pub(super) company: Option<String>,
    pub(super) position: Option<String>,
    pub(super) birthday: Option<String>,
    pub(super) zip_code: Option<String>,
    pub(super) country: Option<String>,
    pub(super) state: Option<String>,
    pub(super) city: Option<String>,
    pub(super) district: Option<String>,
    pub(super) street: Option<String>,
    pub(super) number: Option<String>,
    pub(super) complement: Option<String>,
    pub(super) provenance: String,
    pub(super) phones: Vec<String>,
    pub(super) emails: Vec<String>,
    pub(super) separations: Vec<String>,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
}

impl TryFrom<ContactRow> for Contact {
    type Error = sqlx::Error;

    fn try_from(row: ContactRow) -> Result<Self, sqlx::Error> {
        let (company, contact) = (row.company_id.clone(), row.contact_id);
        row.read().map_err(|error| {
            sqlx::Error::Decode(UnreadableContact { company, contact, why: error.to_string() }.into())
        })
    }
}

/// Says which row is unreadable and why, without what it contains.
#[derive(Debug, thiserror::Error)]
#[error("contact {contact} of company {company} cannot be read: {why}")]
struct UnreadableContact {
    company: String,
    contact: Uuid,
    /// Without its causes: an error of the JSON parser may quote the JSON.
    why: String,
}

impl ContactRow {
    fn read(self) -> Result<Contact, BoxDynError> {
        let columns = [
            (Field::Name, self.name),
            (Field::Identity, self.identity),
            (Field::Phone, self.phone),
            (Field::Email, self.email),
            (Field::Company, self.company),
            (Field::Position, self.position),
            (Field::Birthday, self.birthday),
            (Field::ZipCode, self.zip_code),
            (Field::Country, self.country),
            (Field::State, self.state),
            (Field::City, self.city),
            (Field::District, self.district),
            (Field::Street, self.street),
            (Field::Number, self.number),
            (Field::Complement, self.complement),
        ];
        let stamps = provenance::from_json(&self.provenance)?;
        let mut values = FieldMap::default();
        for (field, value) in columns {
            if let Some(value) = value {
                let stamp = stamps.get(field).ok_or_else(|| format!("no provenance of `{field}`"))?.clone();
                values.insert(field, Stamped { value, stamp });
            }
        }
        let emails = self.emails.into_iter().map(|email| Identifier::Email(Email::from_stored(email)));
        let phones = self.phones.into_iter().map(|phone| Identifier::Phone(Phone::from_stored(phone)));
        let mut keys: Vec<Identifier> = emails.chain(phones).collect();
        keys.sort_unstable();
        let sides =
            self.separations.iter().map(|side| Side::from_stored(side).ok_or("invalid side of a separation"));
        let mut sides = sides.collect::<Result<Vec<Side>, _>>()?;
        sides.sort_unstable();
        Ok(Contact {
            id: ContactId(self.contact_id),
            company: CompanyId::new(&self.company_id)?,
            version: self.version,
            values,
            keys,
            sides,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}
