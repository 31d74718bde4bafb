//! The data of each event, in the order of its members.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::domain::contact::{Contact, ContactId, Rejected, field::Field};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpsertedData<'a> {
    pub(super) operation: &'static str,
    pub(super) contact: Published<'a>,
    #[serde(serialize_with = "as_names")]
    pub(super) changed: &'a [Field],
    #[serde(serialize_with = "as_ids")]
    pub(super) merged_contact_ids: &'a [ContactId],
    pub(super) rejected: Vec<&'a Rejected>,
    #[serde(flatten)]
    pub(super) cause: Cause<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MergedData<'a> {
    pub(super) contact: Published<'a>,
    #[serde(serialize_with = "as_ids")]
    pub(super) merged_contact_ids: &'a [ContactId],
    #[serde(flatten)]
    pub(super) cause: Cause<'a>,
}

#[derive(Serialize)]
pub(super) struct RequestedData<'a> {
    pub(super) company: Id<'a>,
    #[serde(flatten)]
    pub(super) cause: Cause<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnmergedData<'a> {
    pub(super) contact: Published<'a>,
    pub(super) restored_contacts: Vec<Published<'a>>,
    pub(super) aliases: Vec<Alias>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alias {
    pub(super) id: Uuid,
    pub(super) contact_id: Uuid,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErasedData<'a> {
    pub(super) contact: ErasedContact<'a>,
    #[serde(serialize_with = "as_ids")]
    pub(super) merged_contact_ids: &'a [ContactId],
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) erased_at: OffsetDateTime,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErasedContact<'a> {
    pub(super) id: Uuid,
    pub(super) company_id: &'a str,
}

/// The step that caused the event.
#[derive(Serialize)]
pub(super) struct Cause<'a> {
    pub(super) trigger: CausingTrigger<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<Id<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) assistant: Option<Id<'a>>,
    pub(super) interaction: Interaction,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CausingTrigger<'a> {
    pub(super) name: &'a str,
    pub(super) event_id: &'a str,
    pub(super) event_source: &'a str,
}

#[derive(Serialize)]
pub(super) struct Interaction {
    pub(super) index: u16,
    pub(super) max: u64,
}

#[derive(Serialize)]
pub(super) struct Id<'a> {
    pub(super) id: &'a str,
}

/// A contact with its values.
pub(super) struct Published<'a> {
    pub(super) contact: &'a Contact,
    pub(super) include_identity: bool,
}

impl Serialize for Published<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let contact = self.contact;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &contact.id.0)?;
        map.serialize_entry("companyId", contact.company.as_str())?;
        map.serialize_entry("version", &contact.version)?;
        for (field, stamped) in contact.values.iter() {
            if field != Field::Identity || self.include_identity {
                map.serialize_entry(field.name(), &stamped.value)?;
            }
        }
        map.serialize_entry("createdAt", &rfc3339(contact.created_at))?;
        map.serialize_entry("updatedAt", &rfc3339(contact.updated_at))?;
        map.end()
    }
}

fn as_names<S: Serializer>(fields: &&[Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|field| field.name()))
}

fn as_ids<S: Serializer>(ids: &&[ContactId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(|id| id.0))
}

pub(super) fn as_rfc3339<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// RFC 3339, UTC.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    // Fails only for years after 9999, which no accepted event has.
    time.format(&Rfc3339).unwrap_or_default()
}
