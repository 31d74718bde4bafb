//! What a batch of fresh events does: applied updates, ledger entries, messages and deliveries.
//! Computed in memory between the read and the writes of the transaction.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Endpoints, UpsertWorker,
    triage::{self, Accepted},
};
use crate::{
    domain::{
        chain::{
            completed::Chain,
            outgoing::{Origin, Outgoing, Publisher},
            plan::{Plan, Step, Work},
        },
        contact::{
            ContactId, ContactUpdate,
            directory::{Applied, Conflict, Directory, Policy, Rule},
        },
        fault::{Fault, Reason},
        webhook::{
            action::WebhookAction, action::render::render, digest, endpoint::Endpoint, variables::ContactView,
        },
    },
    postgres::{
        chain_results::NewChainResult,
        dead_letters::NewDeadLetter,
        deliveries::NewDelivery,
        ledger::{self, Entry},
        links::NewLink,
        outbox::OutboxMessage,
    },
};

/// Most bytes of all rendered requests of one event together.
const MOST_RENDERED: usize = 2 * 1024 * 1024;

/// The effects of a batch.
pub(super) struct Effects<'a> {
    events: Vec<Event<'a>>,
    refused: Vec<Refusal<'a>>,
    pub(super) outbox: Vec<OutboxMessage>,
    pub(super) deliveries: Vec<NewDelivery>,
    /// Chains whose end somebody waits for, and which have webhooks.
    pub(super) chain_results: Vec<NewChainResult>,
}

/// One event and what its CRM steps did.
struct Event<'a> {
    accepted: &'a Accepted<'a>,
    updates: Updates<'a>,
}

type Updates<'a> = Vec<(&'a Step, &'a ContactUpdate, Applied)>;

/// An event that was not applied because a step of it met a conflict.
struct Refusal<'a> {
    accepted: &'a Accepted<'a>,
    step: u16,
    rule: Rule,
    /// None where it was with a contact that the same event would have created.
    conflict: Option<Conflict>,
}

/// What the events of a batch have in common.
struct Context<'a> {
    endpoints: &'a Endpoints,
    publisher: Publisher<'a>,
    policy: Policy,
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
        let policy = worker.settings.contacts.policy();
        let context = Context { endpoints: &worker.endpoints, publisher, policy };
        let mut effects = Self {
            events: Vec::with_capacity(fresh.len()),
            refused: Vec::new(),
            outbox: Vec::new(),
            deliveries: Vec::new(),
            chain_results: Vec::new(),
        };
        for accepted in fresh {
            effects.run(&context, accepted, directory);
        }
        effects
    }

    /// The ledger rows, in the order in which the events and their steps were applied.
    pub(super) fn ledger_entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::with_capacity(self.events.len());
        for event in &self.events {
            if event.updates.is_empty() {
                entries.push(event.accepted.entry((0, 0), event.accepted.first_trigger(), None));
            }
            for (ordinal, (step, update, applied)) in (0..).zip(&event.updates) {
                let effect = ledger::Effect {
                    id: applied.id,
                    operation: applied.operation,
                    version: applied.version,
                    changed: &applied.changed,
                    merged: &applied.merged,
                    values: &update.values,
                    rejected: &update.rejected,
                    kept_apart: applied.kept_apart.map(|(rejected, _)| rejected),
                };
                entries.push(event.accepted.entry((ordinal, step.index), step.trigger.name(), Some(effect)));
            }
        }
        entries
    }

    /// What linked two contacts without merging them, applied and refused.
    pub(super) fn conflicts(&self) -> Vec<NewLink<'_>> {
        let applied = self.events.iter().flat_map(|event| {
            let steps = event.updates.iter();
            steps.filter_map(move |(step, _, applied)| {
                Some((event.accepted, step.index, &applied.kept_apart.as_ref()?.1))
            })
        });
        let refused = self.refused.iter();
        let refused = refused.filter_map(|one| Some((one.accepted, one.step, one.conflict.as_ref()?)));
        let link = |(accepted, step, conflict): (&'a Accepted<'a>, u16, _)| {
            let event = &accepted.plan.event;
            NewLink::conflict(&event.company, &event.event, step, conflict)
        };
        applied.chain(refused).map(link).collect()
    }

    /// The dead letters of the events that were refused.
    pub(super) fn dead_letters(&self) -> Vec<NewDeadLetter> {
        self.refused.iter().map(Refusal::dead_letter).collect()
    }

    /// Carries out one event, or nothing of it.
    fn run(&mut self, context: &Context<'_>, accepted: &'a Accepted<'a>, directory: &mut Directory) {
        let (outbox, deliveries) = (self.outbox.len(), self.deliveries.len());
        let tried = attempt(accepted, directory, &context.policy);
        match tried.and_then(|()| self.carry_out(context, accepted, directory)) {
            Ok(updates) => {
                if accepted.is_awaited() {
                    self.tell_end(&context.publisher, accepted, &updates);
                }
                self.events.push(Event { accepted, updates });
            }
            Err((step, conflict)) => {
                self.outbox.truncate(outbox);
                self.deliveries.truncate(deliveries);
                let known = conflict.among(|id| directory.get(&accepted.plan.event.company, id).is_some());
                self.refused.push(Refusal { accepted, step, rule: conflict.rule, conflict: known });
            }
        }
    }

    fn carry_out(
        &mut self,
        Context { endpoints, publisher, policy }: &Context<'_>,
        accepted: &'a Accepted<'a>,
        directory: &mut Directory,
    ) -> Result<Updates<'a>, (u16, Conflict)> {
        let plan = &accepted.plan;
        let mut updates = Updates::new();
        // The event that a webhook without a body sends: that of the CRM step before, where it stands in
        // the outbox, or one of its own.
        let (mut upserted_at, mut requested) = (None, None);
        let mut room = MOST_RENDERED;
        for step in &plan.steps {
            let origin = origin(plan, step);
            match &step.work {
                Work::UpsertContact(update) => {
                    let company = &plan.event.company;
                    let applied = directory
                        .apply(company, update, ContactId(Uuid::now_v7()), policy)
                        .map_err(|conflict| (step.index, conflict))?;
                    if let Some(contact) = directory.get(company, applied.id) {
                        if !applied.merged.is_empty() {
                            let merged = publisher.contact_merged(origin, &applied, contact);
                            self.publish(accepted, publisher, merged);
                        }
                        let upserted =
                            publisher.contact_upserted(origin, &applied, contact, &update.rejected);
                        upserted_at = Some(self.outbox.len());
                        self.publish(accepted, publisher, upserted);
                    }
                    updates.push((step, update, applied));
                }
                Work::Webhook(action) => {
                    let upserted = upserted_at.and_then(|at: usize| self.outbox.get(at));
                    let body = match upserted {
                        Some(upserted) => &upserted.body,
                        None => requested.get_or_insert_with(|| publisher.webhook_requested(origin).body),
                    };
                    let contact = updates.last().and_then(|(.., applied)| {
                        Some(ContactView {
                            contact: directory.get(&plan.event.company, applied.id)?,
                            operation: applied.operation,
                            include_identity: publisher.include_identity,
                        })
                    });
                    let delivery = delivery(endpoints, accepted, step, action, contact, body);
                    self.deliveries.push(within(&mut room, action, delivery));
                }
            }
        }
        if updates.is_empty()
            && let Some(step) = plan.steps.first()
        {
            self.publish(accepted, publisher, publisher.webhook_requested(origin(plan, step)));
        }
        Ok(updates)
    }

    /// The result of a chain: at once where no webhook is to be waited for.
    fn tell_end(&mut self, publisher: &Publisher<'_>, accepted: &Accepted<'_>, updates: &Updates<'_>) {
        let upserted = updates.iter().map(|(.., applied)| (applied.operation, applied.id));
        let chain = NewChainResult {
            company: accepted.plan.event.company.clone(),
            chain: Chain::new(&accepted.plan, upserted),
            reply_to: accepted.reply_to.map(|(queue, _)| queue.to_owned()),
            correlation_id: accepted.reply_to.and_then(|(_, id)| id).map(str::to_owned),
            traceparent: accepted.traceparent.map(str::to_owned),
            tracestate: accepted.tracestate.map(str::to_owned),
        };
        if chain.chain.webhooks().next().is_some() {
            self.chain_results.push(chain);
        } else {
            self.outbox.push(chain.completed(publisher, &[]));
        }
    }

    fn publish(&mut self, accepted: &Accepted<'_>, publisher: &Publisher<'_>, event: Outgoing) {
        let trigger = &accepted.plan.event;
        let correlation_id = trigger.event.id().to_owned();
        self.outbox.push(OutboxMessage {
            traceparent: accepted.traceparent.map(str::to_owned),
            tracestate: accepted.tracestate.map(str::to_owned),
            ..OutboxMessage::new(&trigger.company, event, publisher.source, correlation_id, publisher.now)
        });
    }
}

impl Refusal<'_> {
    fn dead_letter(&self) -> NewDeadLetter {
        let contacts = match self.conflict {
            None => "a contact of the same event".to_owned(),
            Some(Conflict { contact, other, .. }) if contact == other => format!("contact {contact}"),
            Some(Conflict { contact, other, .. }) => format!("contacts {contact} and {other}"),
        };
        let text = format!("step {}: {} ({contacts})", self.step, self.rule.sentence());
        let event = &self.accepted.plan.event;
        let fault = Fault {
            company: Some(event.company.clone()),
            event: Some(event.event.clone()),
            trigger: Some(self.accepted.first_trigger().to_owned()),
            ..Fault::new(Reason::ContactConflict, text)
        };
        triage::dead_letter(self.accepted.message, fault)
    }
}

/// Whether all CRM steps of an event may be applied. Only a chain that upserts more than once could be
/// refused after something has been done; it is tried on copies of its contacts first.
fn attempt(accepted: &Accepted<'_>, directory: &Directory, policy: &Policy) -> Result<(), (u16, Conflict)> {
    let company = &accepted.plan.event.company;
    let upserts = accepted.plan.steps.iter().filter_map(|step| match &step.work {
        Work::UpsertContact(update) => Some((step.index, update)),
        Work::Webhook(_) => None,
    });
    if upserts.clone().nth(1).is_none() {
        return Ok(());
    }
    let mut copies = directory.around(company, accepted.identifiers());
    for (step, update) in upserts {
        let fresh = ContactId(Uuid::now_v7());
        copies.apply(company, update, fresh, policy).map_err(|conflict| (step, conflict))?;
    }
    Ok(())
}

fn origin<'a>(plan: &'a Plan, step: &'a Step) -> Origin<'a> {
    Origin {
        event: &plan.event,
        trigger: step.trigger.name(),
        step: step.index,
        max_interactions: plan.max_interactions,
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
    endpoints: &Endpoints,
    accepted: &Accepted<'_>,
    step: &Step,
    action: &WebhookAction,
    contact: Option<ContactView<'_>>,
    body: &[u8],
) -> NewDelivery {
    let event = &accepted.plan.event;
    let awaited = accepted.is_awaited();
    let endpoint = action.endpoint_url().map(|url| Endpoint::new(&event.company, url));
    let terms = endpoint.as_ref().map(|endpoint| endpoints.terms(endpoint)).unwrap_or_default();
    // The contact is applied all the same; the webhook worker makes this step alone a dead letter.
    let (request, fault) = match render(action, terms.profile, &event.variables(contact), body) {
        Ok(request) => (request, None),
        Err(invalid) => (action.as_written(), Some(invalid.to_string())),
    };
    NewDelivery {
        company: event.company.clone(),
        event: event.event.clone(),
        step: step.index,
        trigger: step.trigger.name().to_owned(),
        contact: contact.map(|view| (view.contact.id, view.contact.version)),
        endpoint,
        newest_only: terms.newest_only && contact.is_some(),
        // Whoever waits for the chain's end does not wait for a digest.
        digest_window: terms
            .digest_window
            .filter(|_| !awaited && fault.is_none() && digest::is_digestible(terms.profile, &request)),
        awaited,
        traceparent: accepted.traceparent.map(str::to_owned),
        tracestate: accepted.tracestate.map(str::to_owned),
        request,
        fault,
    }
}
