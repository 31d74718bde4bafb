//! Webhook deliveries: inserted with their cause, claimed under a lease, recorded once attempted.
//!
//! Postgres owns the retry clock: every due time is reckoned from the database's `now()`, so the clocks
//! of the workers need not agree. A claim moves `next_attempt_at` to the end of its lease and leaves a
//! token; what is recorded under a token that is no longer there changes nothing.

mod claim;
mod details;
mod digest;
mod read;
mod record;
mod resend;
mod supersede;

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

pub use claim::{Claim, ClaimedDelivery, claim, next_due, release};
pub use details::{DeadLetterRef, Details, details};
pub use digest::make_digests;
pub use read::{Filter, State, Summary, keys, list, matching, summaries};
pub use record::{Recorded, record};
pub use resend::{Locked, discard, lock, make_due, restart};
pub use supersede::{Yielded, supersede};

use crate::domain::{
    contact::ContactId,
    event::{CompanyId, EventRef},
    webhook::{endpoint::Endpoint, request::WebhookRequest},
};

/// One webhook step of one event, rendered and not yet attempted.
pub struct NewDelivery {
    /// The company.
    pub company: CompanyId,
    /// The trigger event.
    pub event: EventRef,
    /// The step within the event's chain, counted from 1.
    pub step: u16,
    /// Name of the trigger whose step it is.
    pub trigger: String,
    /// The contact that the chain upserted before, in this version.
    pub contact: Option<(ContactId, i64)>,
    /// Whom it is sent to. `None` where the address cannot be used; such a delivery has a fault.
    pub endpoint: Option<Endpoint>,
    /// Whether an older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// Gathered for so long with others into one request.
    pub digest_window: Option<Duration>,
    /// Whether somebody is told the end of the chain.
    pub awaited: bool,
    /// W3C trace context of the trigger message.
    pub traceparent: Option<String>,
    /// W3C trace context of the trigger message.
    pub tracestate: Option<String>,
    /// What to send; as written by the author when it cannot be rendered.
    pub request: WebhookRequest,
    /// Why it cannot be rendered. Such a delivery is never sent: the webhook worker makes it a dead letter.
    pub fault: Option<String>,
}

impl NewDelivery {
    /// The id of the delivery and of every request for it (`webhook-id`): derived from event and
    /// step, so the same step is the same delivery whatever is redelivered.
    #[must_use]
    pub fn id(&self) -> Uuid {
        delivery_id(&self.event, &self.company, self.step)
    }

    fn endpoint_id(&self) -> Uuid {
        self.endpoint.as_ref().map_or(NO_ENDPOINT, Endpoint::id)
    }
}

/// The lane of what has no endpoint: it is never sent, only recorded.
const NO_ENDPOINT: Uuid = Uuid::nil();

/// The id of the delivery of this step of this event.
#[must_use]
pub fn delivery_id(event: &EventRef, company: &CompanyId, step: u16) -> Uuid {
    event.id_of(company, "webhook", step)
}

/// Inserts deliveries, due at once or at the end of their digest window. One that is there already stays as it is.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn insert(conn: &mut PgConnection, deliveries: &[NewDelivery]) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let text = |column: fn(&NewDelivery) -> &str| deliveries.iter().map(column).collect::<Vec<&str>>();
    let optional = |column: fn(&NewDelivery) -> Option<&str>| {
        deliveries.iter().map(column).collect::<Vec<Option<&str>>>()
    };
    let ids: Vec<Uuid> = deliveries.iter().map(NewDelivery::id).collect();
    let event_keys: Vec<Uuid> = deliveries.iter().map(|delivery| delivery.event.key()).collect();
    let steps: Vec<i16> =
        deliveries.iter().map(|delivery| i16::try_from(delivery.step).unwrap_or(i16::MAX)).collect();
    let contacts: Vec<Option<Uuid>> =
        deliveries.iter().map(|delivery| delivery.contact.map(|(contact, _)| contact.0)).collect();
    let versions: Vec<Option<i64>> =
        deliveries.iter().map(|delivery| delivery.contact.map(|(_, version)| version)).collect();
    let endpoints: Vec<Uuid> = deliveries.iter().map(NewDelivery::endpoint_id).collect();
    let newest_only: Vec<bool> = deliveries.iter().map(|delivery| delivery.newest_only).collect();
    let awaited: Vec<bool> = deliveries.iter().map(|delivery| delivery.awaited).collect();
    let windows: Vec<Option<i64>> =
        deliveries.iter().map(|delivery| delivery.digest_window.map(microseconds)).collect();
    let headers: Vec<serde_json::Value> =
        deliveries.iter().map(|delivery| headers(&delivery.request)).collect();
    let bodies: Vec<Option<&[u8]>> =
        deliveries.iter().map(|delivery| delivery.request.body.as_deref()).collect();
    sqlx::query_file!(
        "src/postgres/deliveries/insert.sql",
        &text(|delivery| delivery.company.as_str()) as &[&str],
        &ids,
        &event_keys,
        &steps,
        &text(|delivery| delivery.event.source()) as &[&str],
        &text(|delivery| delivery.event.id()) as &[&str],
        &text(|delivery| &delivery.trigger) as &[&str],
        &contacts as &[Option<Uuid>],
        &optional(|delivery| delivery.traceparent.as_deref()) as &[Option<&str>],
        &optional(|delivery| delivery.tracestate.as_deref()) as &[Option<&str>],
        &text(|delivery| delivery.request.method.name()) as &[&str],
        &text(|delivery| &delivery.request.url) as &[&str],
        &headers,
        &bodies as &[Option<&[u8]>],
        &optional(|delivery| delivery.fault.as_deref()) as &[Option<&str>],
        &endpoints,
        &versions as &[Option<i64>],
        &newest_only,
        &awaited,
        &windows as &[Option<i64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// `[["name", "value"], …]`: a list, because a header may stand twice and order may matter.
fn headers(request: &WebhookRequest) -> serde_json::Value {
    request.headers.iter().map(|(name, value)| serde_json::json!([name, value])).collect()
}

/// Whole microseconds, which is what Postgres counts.
fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
