//! Webhook deliveries: inserted once they wait or have been attempted, loaded by the owner of their lane, recorded
//! after each attempt.
//!
//! Postgres owns the retry clock: every due time derives from the database's `now()`, so the clocks of the processes
//! need not agree. A delivery that waits has a row in `webhook_pending`, which counts its attempts so far; an outcome
//! of another attempt changes nothing. Whatever makes a delivery due also schedules its lane, in the same transaction
//! ([`crate::postgres::endpoints::schedule`]).

mod details;
mod digest;
mod documents;
mod insert;
mod load;
mod read;
mod record;
mod resend;
mod slices;
mod summaries;
mod supersede;
mod waiting;

pub use details::{DeadLetterRef, Details, details};
pub use digest::make_digests;
pub use documents::documents;
pub use insert::{First, NewDelivery, existing, insert};
pub use load::{Cursor, Loaded, Visit, load};
pub use read::{Filter, State, Summary, matching, unrecorded};
pub use record::{Attempted, record};
pub use resend::{Locked, discard, lock, lock_lanes, lock_pending, lock_rows, make_due, restart, restore};
pub use slices::{Matching, by_slices, search, search_waiting};
pub use summaries::summaries;
pub use supersede::{Yielded, supersede};
pub use waiting::Waiting;

use time::OffsetDateTime;

use crate::domain::{event::Key, webhook::request::WebhookRequest};

/// Names the row of a delivery, and the partition that has it. A statement without the time searches all partitions.
#[derive(Clone, Debug)]
pub struct RowKey {
    /// The delivery.
    pub key: Key,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// `[["name", "value"], …]`: a list, because a header may occur twice and order may matter.
fn write_headers(request: &WebhookRequest) -> String {
    serde_json::to_string(&request.headers).unwrap_or_default()
}

/// `None` if they are unreadable.
fn read_headers(stored: &str) -> Option<Vec<(String, String)>> {
    serde_json::from_str(stored).ok()
}
