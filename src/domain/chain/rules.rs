//! The rules for planning events.

use std::sync::Arc;

use crate::domain::{
    contact::placeholder::Placeholders,
    event::CompanyId,
    value::phone::{Region, Regions},
};

/// The settings that planning depends on.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Steps that run if the event has no `maxInteractions`.
    pub default_max_interactions: u32,
    /// The region of each company, for national phone numbers and for dates.
    pub regions: Arc<Regions>,
    /// What to do with an update that gives neither phone nor email.
    pub on_unidentified: OnUnidentified,
    /// Maximum length of a value, in characters.
    pub max_value_length: usize,
    /// Texts that mean "no value".
    pub placeholders: Arc<Placeholders>,
}

impl Rules {
    /// The region of a company.
    #[must_use]
    pub fn region_of(&self, company: &CompanyId) -> Region {
        self.regions.of(company)
    }
}

/// What to do with an update that gives neither phone nor email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum OnUnidentified {
    /// Create a contact.
    Create,
    /// Make the event a dead letter, `identifier_invalid`.
    Reject,
}
