//! How Rust values become parameters: the columns of `UNNEST`, and intervals.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::Key;

/// One column of `rows`.
pub(super) fn column<'a, T, C>(rows: &'a [T], of: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// The two columns of keys.
pub(super) fn key_columns<'a>(keys: impl IntoIterator<Item = &'a Key>) -> (Vec<&'a str>, Vec<Uuid>) {
    keys.into_iter().map(|key| (key.company.as_str(), key.id)).unzip()
}

/// The nanoseconds of a time beyond its microseconds, which are all that `timestamptz` has.
pub(super) fn nanos(time: OffsetDateTime) -> i16 {
    i16::try_from(time.nanosecond() % 1000).unwrap_or_default()
}

/// In whole microseconds, the resolution of Postgres. A longer duration becomes the longest interval.
pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
