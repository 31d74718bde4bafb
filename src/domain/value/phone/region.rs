//! The region of each company: where its national phone numbers belong and how it writes dates.

use std::{collections::HashMap, fmt};

use rlibphonenumber::PHONE_NUMBER_UTIL;

use crate::domain::event::CompanyId;

/// A region with a phone numbering plan (ISO 3166-1 alpha-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Region {
    pub(super) plan: rlibphonenumber::Region,
    /// Two capital letters.
    code: [u8; 2],
}

/// The text is not an ISO 3166-1 alpha-2 code, or the region does not have its own numbering plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the two-letter code (ISO 3166-1) of a region that has phone numbers, such as BR")]
pub struct UnknownRegion;

impl Region {
    /// Takes a two-letter code in any case.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let letters = code.to_ascii_uppercase().into_bytes().try_into().ok()?;
        let plan = rlibphonenumber::Region::from_code(code).ok()?;
        PHONE_NUMBER_UTIL.get_country_code_for_region(plan).map(|_calling_code| Self { plan, code: letters })
    }

    /// Two capital letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or_default()
    }
}

impl TryFrom<String> for Region {
    type Error = UnknownRegion;

    fn try_from(code: String) -> Result<Self, UnknownRegion> {
        Self::new(&code).ok_or(UnknownRegion)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The region of each company.
#[derive(Clone, Debug)]
pub struct Regions {
    default: Region,
    by_company: HashMap<CompanyId, Region>,
}

impl Regions {
    /// `default` is the region of companies that `by_company` does not list.
    #[must_use]
    pub fn new(default: Region, by_company: impl IntoIterator<Item = (CompanyId, Region)>) -> Self {
        Self { default, by_company: by_company.into_iter().collect() }
    }

    /// Looks up a company.
    #[must_use]
    pub fn of(&self, company: &CompanyId) -> Region {
        self.by_company.get(company).copied().unwrap_or(self.default)
    }
}
