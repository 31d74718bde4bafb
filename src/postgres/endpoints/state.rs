//! The state of a lane, as its endpoint's row has it.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    event::Key,
    webhook::{
        breaker::{Breaker, State},
        lane::Lane,
    },
};

/// A lane and its state.
pub struct LaneRow {
    /// Company and endpoint.
    pub key: Key,
    /// The endpoint's address as written; empty for deliveries without an endpoint.
    pub url: String,
    /// Its state.
    pub lane: Lane,
    /// A process owns it, or should: some of its deliveries are due.
    pub has_backlog: bool,
    /// The database's `now()`.
    pub now: OffsetDateTime,
}

/// A lane that the caller owns now.
pub struct ClaimedLane {
    /// Its state.
    pub row: LaneRow,
    /// The bucket of its company.
    pub bucket: i16,
}

/// A lane's columns.
pub(in crate::postgres) struct Row {
    pub(in crate::postgres) company_id: String,
    pub(in crate::postgres) endpoint_id: Uuid,
    pub(in crate::postgres) url: String,
    pub(in crate::postgres) turn: i16,
    pub(in crate::postgres) max_in_flight: i32,
    pub(in crate::postgres) send_interval_us: i64,
    pub(in crate::postgres) is_stopped: bool,
    pub(in crate::postgres) held_until: OffsetDateTime,
    pub(in crate::postgres) next_slot_at: OffsetDateTime,
    pub(in crate::postgres) breaker: String,
    pub(in crate::postgres) breaker_until: OffsetDateTime,
    pub(in crate::postgres) openings: i32,
    pub(in crate::postgres) allowance: i32,
    pub(in crate::postgres) failures: i32,
    pub(in crate::postgres) failing_since: Option<OffsetDateTime>,
    pub(in crate::postgres) has_backlog: bool,
    pub(in crate::postgres) now: OffsetDateTime,
}

impl From<Row> for LaneRow {
    fn from(row: Row) -> Self {
        let counted = |number: i32| u32::try_from(number).unwrap_or_default();
        let interval = u64::try_from(row.send_interval_us).ok().filter(|us| *us > 0);
        let lane = Lane {
            max_in_flight: counted(row.max_in_flight).max(1),
            send_interval: interval.map(Duration::from_micros),
            is_stopped: row.is_stopped,
            held_until: row.held_until,
            next_slot_at: row.next_slot_at,
            breaker: Breaker {
                // The schema allows no other state.
                state: row.breaker.parse().unwrap_or(State::Closed),
                until: row.breaker_until,
                openings: counted(row.openings),
                allowance: counted(row.allowance),
                failures: counted(row.failures),
                failing_since: row.failing_since,
            },
        };
        let key = Key { company: row.company_id, id: row.endpoint_id };
        Self { key, url: row.url, lane, has_backlog: row.has_backlog, now: row.now }
    }
}

impl From<Row> for ClaimedLane {
    fn from(row: Row) -> Self {
        Self { bucket: row.turn, row: row.into() }
    }
}
