//! Deliveries: webhook steps to be sent.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::ContactId,
    event::{CompanyId, EventRef, Key},
    trace_context::TraceContext,
    webhook::{request::WebhookRequest, requested::DeliveryMessage},
};

/// The lane of deliveries without an endpoint: none of them is ever sent.
pub const NO_ENDPOINT: Uuid = Uuid::nil();

/// One webhook step of one event, rendered.
#[derive(Clone)]
pub struct Delivery {
    /// Company and delivery; the id is also the `webhook-id` of each of its requests.
    pub key: Key,
    /// When its event was applied, by the clock of that process.
    pub created_at: OffsetDateTime,
    /// [`EventRef::key`] of its event.
    pub event_key: Uuid,
    /// The step within the event's chain, counted from 1.
    pub step: u16,
    /// CloudEvents `source` of its event.
    pub source: String,
    /// CloudEvents `id` of its event.
    pub event_id: String,
    /// Name of the trigger that the step belongs to.
    pub trigger: String,
    /// The contact that the chain upserted before, and its version.
    pub contact: Option<(ContactId, i64)>,
    /// The receiver, whose lane it waits in; [`NO_ENDPOINT`] if the URL cannot be used.
    pub endpoint_id: Uuid,
    /// The receiver's address as written; empty if the URL cannot be used.
    pub endpoint_url: String,
    /// Whether an older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// How long it waits for others, to be sent with them as a digest.
    pub digest_window: Option<Duration>,
    /// Whether somebody waits for the result of the chain.
    pub awaited: bool,
    /// Whether it must wait in its lane in any case, because its endpoint has a rate limit.
    pub limited: bool,
    /// The trace of the event.
    pub trace: TraceContext,
    /// The request to send; with a fault, method and URL as the author wrote them.
    pub request: WebhookRequest,
    /// Why it cannot be sent. Worker 2 makes such a delivery a dead letter.
    pub fault: Option<String>,
}

impl Delivery {
    /// The lane that it waits in.
    #[must_use]
    pub fn lane(&self) -> Key {
        Key { company: self.key.company.clone(), id: self.endpoint_id }
    }

    /// Whether it may be sent straight from memory, if its lane lets it. All others wait as rows, because what happens to
    /// them depends on other deliveries.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.fault.is_none()
            && !self.newest_only
            && !self.awaited
            && !self.limited
            && self.digest_window.is_none()
            && self.endpoint_id != NO_ENDPOINT
    }

    /// The message of its dead letter.
    #[must_use]
    pub fn message(&self) -> DeliveryMessage<'_> {
        let Self { key, trigger, event_id, source, .. } = self;
        DeliveryMessage { delivery: key, trigger, event_id, source }
    }
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Attempts so far, in all rounds.
    pub attempts: u32,
    /// Attempts that the retry schedule of this round does not count. A round begins when the delivery is created,
    /// replayed or resent.
    pub schedule_from: u32,
    /// Time since this round began.
    pub age: Duration,
}

impl Progress {
    /// Attempts of this round that count.
    #[must_use]
    pub const fn attempts_in_round(&self) -> u32 {
        self.attempts.saturating_sub(self.schedule_from)
    }
}

/// The id of a step's delivery, derived from event and step, so a redelivered event has the same deliveries.
#[must_use]
pub fn delivery_id(event: &EventRef, company: &CompanyId, step: u16) -> Uuid {
    event.id_of(company, "webhook", step)
}
