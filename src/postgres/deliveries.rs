//! Webhook deliveries: inserted with their cause, claimed under a lease, recorded once attempted.
//!
//! Postgres owns the retry clock: every due time derives from the database's `now()`, so the clocks of the
//! workers need not agree. A claim moves `next_attempt_at` to the end of its lease and stores a token. An
//! outcome with an outdated token changes nothing.

mod claim;
mod details;
mod digest;
mod read;
mod record;
mod resend;
mod supersede;

use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

pub use claim::{Claim, ClaimedDelivery, claim, next_due, release};
pub use details::{DeadLetterRef, Details, details};
pub use digest::make_digests;
pub use read::{Filter, State, Summary, keys, list, matching, summaries};
pub use record::{Recorded, record};
pub use resend::{Locked, discard, lock, make_due, restart};
pub use supersede::{Yielded, supersede};

use super::columns::{column, interval};
use crate::domain::webhook::{delivery::NewDelivery, request::WebhookRequest};

/// Inserts deliveries, due at once or at the end of their digest window. A delivery that is already there stays
/// as it is.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert(conn: &mut PgConnection, deliveries: &[NewDelivery]) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let rows = deliveries;
    sqlx::query_file!(
        "src/postgres/deliveries/insert.sql",
        &column(rows, |row| row.company.as_str()) as &[&str],
        &column(rows, NewDelivery::id),
        &column(rows, |row| row.event.key()),
        &column(rows, |row| i16::try_from(row.step).unwrap_or(i16::MAX)),
        &column(rows, |row| row.event.source()) as &[&str],
        &column(rows, |row| row.event.id()) as &[&str],
        &column(rows, |row| row.trigger.as_str()) as &[&str],
        &column(rows, |row| row.contact.map(|(contact, _)| contact.0)) as &[Option<Uuid>],
        &column(rows, |row| row.trace.traceparent()) as &[Option<&str>],
        &column(rows, |row| row.trace.tracestate()) as &[Option<&str>],
        &column(rows, |row| row.request.method.name()) as &[&str],
        &column(rows, |row| row.request.url.as_str()) as &[&str],
        &column(rows, |row| headers(&row.request)),
        &column(rows, |row| row.request.body.as_deref()) as &[Option<&[u8]>],
        &column(rows, |row| row.fault.as_deref()) as &[Option<&str>],
        &column(rows, NewDelivery::endpoint_id),
        &column(rows, |row| row.contact.map(|(_, version)| version)) as &[Option<i64>],
        &column(rows, |row| row.newest_only),
        &column(rows, |row| row.awaited),
        &column(rows, |row| row.digest_window.map(interval)) as &[Option<PgInterval>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// `[["name", "value"], …]`: a list, because a header may occur twice and order may matter.
fn headers(request: &WebhookRequest) -> serde_json::Value {
    request.headers.iter().map(|(name, value)| serde_json::json!([name, value])).collect()
}
