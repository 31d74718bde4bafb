//! What a batch of fresh events does: applied updates, ledger entries, messages and deliveries.
//! Computed in memory between the read and the writes of the transaction.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{UpsertWorker, triage::Accepted};
use crate::{
    domain::{
        contact::{ContactId, ContactUpdate},
        directory::{Applied, Directory},
        outgoing::{Origin, Outgoing, Publisher},
        plan::{Step, Work},
        variables::{ContactView, Variables},
        webhook_action::WebhookAction,
        webhook_request::render,
    },
    postgres::{
        deliveries::NewDelivery,
        ledger::{self, Entry},
        outbox::OutboxMessage,
    },
};

/// Most bytes of all rendered requests of one event together.
const MOST_RENDERED: usize = 2 * 1024 * 1024;

/// The effects of a batch.
pub(super) struct Effects<'a> {
    events: Vec<Event<'a>>,
    pub(super) outbox: Vec<OutboxMessage>,
    pub(super) deliveries: Vec<NewDelivery>,
}

/// One event and what its CRM steps did.
struct Event<'a> {
    accepted: &'a Accepted<'a>,
    updates: Vec<(&'a Step, &'a ContactUpdate, Applied)>,
}

impl<'a> Effects<'a> {
    pub(super) fn of(
        worker: &'a UpsertWorker,
        fresh: &[&'a Accepted<'a>],
        directory: &mut Directory,
    ) -> Self {
        let events = &worker.settings.events;
        let publisher = Publisher {
            source: &events.source,
            include_identity: events.include_identity,
            now: OffsetDateTime::now_utc(),
        };
        let mut effects =
            Self { events: Vec::with_capacity(fresh.len()), outbox: Vec::new(), deliveries: Vec::new() };
        for accepted in fresh {
            effects.run(&publisher, accepted, directory);
        }
        effects
    }

    /// The ledger rows, in the order of the events and their steps.
    pub(super) fn ledger_entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::with_capacity(self.events.len());
        for event in &self.events {
            if event.updates.is_empty() {
                entries.push(event.entry((0, 0), event.first_trigger(), None));
            }
            for (ordinal, (step, update, applied)) in (0..).zip(&event.updates) {
                let effect = ledger::Effect {
                    id: applied.contact.id,
                    operation: applied.operation,
                    version: applied.contact.version,
                    changed: &applied.changed,
                    merged: &applied.merged,
                    values: &update.values,
                    rejected: &update.rejected,
                };
                entries.push(event.entry((ordinal, step.index), step.trigger.name(), Some(effect)));
            }
        }
        entries
    }

    fn run(&mut self, publisher: &Publisher<'_>, accepted: &'a Accepted<'a>, directory: &mut Directory) {
        let plan = &accepted.plan;
        let mut updates = Vec::new();
        // The event that a webhook without a body sends: that of the CRM step before, where it stands in
        // the outbox, or one of its own.
        let (mut upserted_at, mut requested) = (None, None);
        let mut room = MOST_RENDERED;
        for step in &plan.steps {
            let origin = Origin {
                event: &plan.event,
                trigger: step.trigger.name(),
                step: step.index,
                max_interactions: plan.max_interactions,
            };
            match &step.work {
                Work::UpsertContact(update) => {
                    let applied = directory.apply(&plan.event.company, update, ContactId(Uuid::now_v7()));
                    if !applied.merged.is_empty() {
                        self.publish(accepted, publisher, publisher.contact_merged(origin, &applied));
                    }
                    let upserted = publisher.contact_upserted(origin, &applied, &update.rejected);
                    upserted_at = Some(self.outbox.len());
                    self.publish(accepted, publisher, upserted);
                    updates.push((step, update, applied));
                }
                Work::Webhook(action) => {
                    let upserted = upserted_at.and_then(|at: usize| self.outbox.get(at));
                    let body = match upserted {
                        Some(upserted) => &upserted.body,
                        None => requested.get_or_insert_with(|| publisher.webhook_requested(origin).body),
                    };
                    let contact = updates.last().map(|(.., applied)| applied);
                    let delivery = delivery(publisher, accepted, step, action, contact, body);
                    self.deliveries.push(within(&mut room, action, delivery));
                }
            }
        }
        if updates.is_empty()
            && let Some(step) = plan.steps.first()
        {
            let (event, trigger) = (&plan.event, step.trigger.name());
            let max_interactions = plan.max_interactions;
            let origin = Origin { event, trigger, step: step.index, max_interactions };
            self.publish(accepted, publisher, publisher.webhook_requested(origin));
        }
        self.events.push(Event { accepted, updates });
    }

    fn publish(&mut self, accepted: &Accepted<'_>, publisher: &Publisher<'_>, event: Outgoing) {
        self.outbox.push(OutboxMessage {
            company: accepted.plan.event.company.to_string(),
            id: event.id,
            routing_key: event.routing_key,
            kind: event.kind.to_owned(),
            source: publisher.source.to_owned(),
            subject: event.subject,
            correlation_id: accepted.plan.event.event.id().to_owned(),
            traceparent: accepted.traceparent.map(str::to_owned),
            tracestate: accepted.tracestate.map(str::to_owned),
            time: publisher.now,
            body: event.body,
        });
    }
}

impl Event<'_> {
    fn entry<'e>(
        &'e self,
        (ordinal, step): (u16, u16),
        trigger: &'e str,
        contact: Option<ledger::Effect<'e>>,
    ) -> Entry<'e> {
        let plan = &self.accepted.plan;
        Entry {
            company: &plan.event.company,
            event: &plan.event.event,
            key: self.accepted.key,
            ordinal,
            step,
            time: plan.event.time,
            digest: self.accepted.digest,
            trigger,
            assistant: plan.event.assistant_id.as_deref(),
            session: plan.event.session_id.as_deref(),
            traceparent: self.accepted.traceparent,
            tracestate: self.accepted.tracestate,
            skipped: plan.skipped,
            contact,
        }
    }

    fn first_trigger(&self) -> &str {
        self.accepted.plan.event.triggers.first().map_or("", |trigger| trigger.name())
    }
}

/// The delivery, or its fault where the requests of one event become too large together: a chain of
/// many steps that each repeat a long value must not take the memory of all.
fn within(room: &mut usize, action: &WebhookAction, delivery: NewDelivery) -> NewDelivery {
    let size = delivery.request.size();
    if delivery.fault.is_none() && size > *room {
        let fault = format!("the webhooks of one event are larger than {MOST_RENDERED} bytes together");
        return NewDelivery { request: action.as_written(), fault: Some(fault), ..delivery };
    }
    *room = room.saturating_sub(size);
    delivery
}

fn delivery(
    publisher: &Publisher<'_>,
    accepted: &Accepted<'_>,
    step: &Step,
    action: &WebhookAction,
    contact: Option<&Applied>,
    body: &[u8],
) -> NewDelivery {
    let event = &accepted.plan.event;
    let variables = Variables {
        event_id: event.event.id(),
        company_id: event.company.as_str(),
        session_id: event.session_id.as_deref(),
        assistant_id: event.assistant_id.as_deref(),
        images: &event.images,
        arguments: &event.arguments,
        client_data: &event.client_data,
        contact: contact.map(|applied| ContactView {
            contact: &applied.contact,
            operation: applied.operation,
            include_identity: publisher.include_identity,
        }),
    };
    // The contact is applied all the same; the webhook worker makes this step alone a dead letter.
    let (request, fault) = match render(action, &variables, body) {
        Ok(request) => (request, None),
        Err(invalid) => (action.as_written(), Some(invalid.to_string())),
    };
    NewDelivery {
        company: event.company.clone(),
        event: event.event.clone(),
        step: step.index,
        trigger: step.trigger.name().to_owned(),
        contact: contact.map(|applied| applied.contact.id),
        traceparent: accepted.traceparent.map(str::to_owned),
        tracestate: accepted.tracestate.map(str::to_owned),
        request,
        fault,
    }
}
