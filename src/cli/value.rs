//! Values of options: a name from a list, and a moment in the past.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use strum::VariantArray;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::exit::Usage;

/// Parses the name of a variant. Help and errors list the names.
pub(super) fn variant<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantArray + Copy + Into<&'static str> + Send + Sync,
{
    let name = |variant: &T| -> &'static str { (*variant).into() };
    PossibleValuesParser::new(T::VARIANTS.iter().map(name)).try_map(move |given| {
        T::VARIANTS.iter().copied().find(|variant| name(variant) == given).ok_or("unknown name")
    })
}

/// The value of `--since`: a moment, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Moment(OffsetDateTime),
    Ago(Duration),
}

impl Since {
    /// The default of listings that are indexed by time.
    pub(super) const DAY: Self = Self::Ago(Duration::from_hours(24));

    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::Moment(moment));
        }
        let ago = humantime::parse_duration(text).map_err(|_| "expected 2026-11-22T10:00:00Z or 24h")?;
        Ok(Self::Ago(ago))
    }

    /// # Errors
    /// When the moment is too early to be represented.
    pub(super) fn moment(self) -> Result<OffsetDateTime, Usage> {
        match self {
            Self::Moment(moment) => Ok(moment),
            Self::Ago(ago) => {
                let ago = time::Duration::try_from(ago).ok();
                let since = ago.and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago));
                since.ok_or_else(|| Usage("--since is too long ago".to_owned()))
            }
        }
    }
}
