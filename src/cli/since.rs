//! A moment in the past, as an option gives it: a time, or how long ago.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::exit::Usage;

/// The value of `--since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Moment(OffsetDateTime),
    Ago(Duration),
}

impl Since {
    /// What a listing by time shows that names none.
    pub(super) const DAY: Self = Self::Ago(Duration::from_hours(24));

    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::Moment(moment));
        }
        let ago = humantime::parse_duration(text).map_err(|_| "expected 2026-11-22T10:00:00Z or 24h")?;
        Ok(Self::Ago(ago))
    }

    /// # Errors
    /// When it is before all time.
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
