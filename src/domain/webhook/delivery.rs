//! Deliveries: webhook steps that are to be sent.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::{
    contact::ContactId,
    event::{CompanyId, EventRef},
    trace_context::TraceContext,
    webhook::{endpoint::Endpoint, request::WebhookRequest},
};

/// The lane of deliveries without an endpoint: none of them is ever sent.
pub const NO_ENDPOINT: Uuid = Uuid::nil();

/// One webhook step of one event, rendered and not yet attempted.
pub struct NewDelivery {
    /// The company.
    pub company: CompanyId,
    /// The trigger event.
    pub event: EventRef,
    /// The step within the event's chain, counted from 1.
    pub step: u16,
    /// Name of the trigger that the step belongs to.
    pub trigger: String,
    /// The contact that the chain upserted before, and its version.
    pub contact: Option<(ContactId, i64)>,
    /// The receiver. `None` if the URL cannot be used; the delivery then has a fault.
    pub endpoint: Option<Endpoint>,
    /// Whether an older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// How long it waits for others, to be sent with them as a digest.
    pub digest_window: Option<Duration>,
    /// Whether somebody waits for the result of the chain.
    pub awaited: bool,
    /// The trace of the trigger event.
    pub trace: TraceContext,
    /// The request to send; with a fault, method and URL as the author wrote them.
    pub request: WebhookRequest,
    /// Why it cannot be sent. Worker 2 makes such a delivery a dead letter.
    pub fault: Option<String>,
}

impl NewDelivery {
    /// The id of the delivery and of each of its requests (`webhook-id`).
    #[must_use]
    pub fn id(&self) -> Uuid {
        delivery_id(&self.event, &self.company, self.step)
    }

    /// The id of the endpoint whose lane it waits in.
    #[must_use]
    pub fn endpoint_id(&self) -> Uuid {
        self.endpoint.as_ref().map_or(NO_ENDPOINT, Endpoint::id)
    }
}

/// The id of a step's delivery, derived from event and step, so a redelivered event has the same deliveries.
#[must_use]
pub fn delivery_id(event: &EventRef, company: &CompanyId, step: u16) -> Uuid {
    event.id_of(company, "webhook", step)
}
