//! Runs the chain of one event: from its plan and the known contacts to everything that the event does.
//!
//! Worker 1 writes the result to Postgres; `trigger preview` shows it. Both call this function, so a preview cannot
//! differ from the service.

use crate::domain::{
    chain::{
        completed::{self, AppliedChain, AwaitedChain},
        entry::Entry,
        outgoing::{Origin, OutgoingEvent, Publisher, ReplyTo},
        plan::{Plan, Step, Work},
    },
    contact::{
        ContactId, ContactUpdate,
        directory::{Applied, Conflict, Directory, Policy, Rule},
    },
    event::Key,
    fault::{Fault, Reason},
    trace_context::TraceContext,
    trigger::fired::TriggerFired,
    webhook::{
        action::{WebhookAction, render::render},
        delivery::{Delivery, NO_ENDPOINT, delivery_id},
        digest,
        endpoint::Endpoint,
        terms::EndpointTerms,
        variables::ContactView,
    },
};

/// Bytes of all rendered requests of one event together. Without this limit a chain of many steps that repeat
/// a long value could exhaust the memory of the process.
const MAX_RENDERED_BYTES: usize = 2 * 1024 * 1024;

/// An event that is ready to run.
#[derive(Clone, Copy)]
pub struct Firing<'a> {
    /// Its steps.
    pub plan: &'a Plan,
    /// The trace that it belongs to.
    pub trace: &'a TraceContext,
    /// Where its sender waits for the result.
    pub reply_to: Option<&'a ReplyTo>,
}

/// The settings that determine what an event does.
pub struct Deployment<'a> {
    /// Source and time of the published events.
    pub publisher: Publisher<'a>,
    /// When contacts may merge.
    pub policy: Policy,
    /// The terms of endpoints.
    pub terms: &'a EndpointTerms,
}

/// Everything that one event does, apart from the contacts, which are changed in the directory.
pub struct Run<'a> {
    firing: Firing<'a>,
    upserts: Vec<Upsert<'a>>,
    /// The events to publish, in order.
    pub events: Vec<OutgoingEvent>,
    /// The webhooks to send.
    pub deliveries: Vec<Delivery>,
    /// Set if somebody waits for the result and webhooks are still to be sent.
    pub awaited: Option<AwaitedChain>,
}

struct Upsert<'a> {
    step: &'a Step,
    update: &'a ContactUpdate,
    applied: Applied,
}

/// The conflict of a step, which keeps the whole event from being applied.
#[derive(Debug)]
pub struct Refusal {
    /// The step, counted from 1.
    pub step: u16,
    /// The rule that forbids it.
    pub rule: Rule,
    /// The conflict between contacts that exist without this event; `None` if there are none.
    pub conflict: Option<Conflict>,
}

/// Runs a chain against `contacts`, which must contain every contact that its identifiers can find. `new_id`
/// returns the ids of new contacts.
///
/// # Errors
/// A conflict in any step refuses the whole event, and `contacts` stays as it was.
pub fn run<'a>(
    firing: Firing<'a>,
    contacts: &mut Directory,
    deployment: &Deployment<'_>,
    mut new_id: impl FnMut() -> ContactId,
) -> Result<Run<'a>, Refusal> {
    rehearse(firing.plan, contacts, &deployment.policy, &mut new_id)?;
    let Publisher { include_identity, .. } = deployment.publisher;
    let company = &firing.plan.event.company;
    let mut run = Run::new(firing);
    let mut default_body = DefaultBody::default();
    let mut room = MAX_RENDERED_BYTES;
    for step in &firing.plan.steps {
        let origin = firing.origin(step);
        match &step.work {
            Work::UpsertContact(update) => {
                let applied =
                    contacts.apply(company, update, new_id(), &deployment.policy).map_err(|conflict| {
                        Refusal::new(step, conflict, company_contacts(contacts, firing.plan))
                    })?;
                if let Some(contact) = contacts.get(company, applied.id) {
                    let publisher = &deployment.publisher;
                    if !applied.merged.is_empty() {
                        run.events.push(publisher.contact_merged(origin, &applied, contact));
                    }
                    let rejected = &update.rejected;
                    run.events.push(publisher.contact_upserted(origin, &applied, contact, rejected));
                    default_body.upserted = Some(run.events.len() - 1);
                }
                run.upserts.push(Upsert { step, update, applied });
            }
            Work::Webhook(action) => {
                let contact = run.upserts.last().and_then(|upsert| {
                    let contact = contacts.get(company, upsert.applied.id)?;
                    Some(ContactView { contact, operation: upsert.applied.operation, include_identity })
                });
                let body = default_body.of(&run.events, &deployment.publisher, origin);
                let delivery = firing.delivery(step, action, contact, deployment, body);
                run.deliveries.push(within(&mut room, action, delivery));
            }
        }
    }
    run.finish(&deployment.publisher);
    Ok(run)
}

/// Applies all CRM steps to copies of their contacts. Only a chain with several CRM steps can meet a conflict
/// after it has changed something; others are not rehearsed.
fn rehearse(
    plan: &Plan,
    contacts: &Directory,
    policy: &Policy,
    mut new_id: impl FnMut() -> ContactId,
) -> Result<(), Refusal> {
    let company = &plan.event.company;
    if plan.updates().nth(1).is_none() {
        return Ok(());
    }
    let mut copies = contacts.around(company, plan.identifiers());
    for (step, update) in plan.updates() {
        copies
            .apply(company, update, new_id(), policy)
            .map_err(|conflict| Refusal::new(step, conflict, company_contacts(contacts, plan)))?;
    }
    Ok(())
}

fn company_contacts(contacts: &Directory, plan: &Plan) -> impl Fn(ContactId) -> bool {
    |id| contacts.get(&plan.event.company, id).is_some()
}

/// The body of a webhook without its own: the event of the last CRM step before it, or
/// `webhook.requested` without one.
#[derive(Default)]
struct DefaultBody {
    /// Index of the last `contact.upserted` in the events of the run.
    upserted: Option<usize>,
    requested: Option<OutgoingEvent>,
}

impl DefaultBody {
    fn of<'e>(
        &'e mut self,
        events: &'e [OutgoingEvent],
        publisher: &Publisher<'_>,
        origin: Origin<'_>,
    ) -> &'e [u8] {
        let upserted = self.upserted.and_then(|index| events.get(index));
        let event = match upserted {
            Some(upserted) => upserted,
            None => self.requested.get_or_insert_with(|| publisher.webhook_requested(origin)),
        };
        &event.body
    }
}

/// Replaces the request with a fault if it does not fit the `room` that the event's earlier requests left.
fn within(room: &mut usize, action: &WebhookAction, delivery: Delivery) -> Delivery {
    let size = delivery.request.size();
    if delivery.fault.is_none() && size > *room {
        let fault = format!("the webhooks of one event are larger than {MAX_RENDERED_BYTES} bytes together");
        return Delivery { request: action.as_written(), fault: Some(fault), ..delivery };
    }
    *room = room.saturating_sub(size);
    delivery
}

impl<'a> Firing<'a> {
    fn origin(&self, step: &'a Step) -> Origin<'a> {
        Origin {
            event: &self.plan.event,
            trigger: step.trigger.name(),
            step: step.index,
            max_interactions: self.plan.max_interactions,
            trace: self.trace,
        }
    }

    fn is_awaited(&self) -> bool {
        self.reply_to.is_some() || completed::is_interpreted(self.plan)
    }

    fn delivery(
        &self,
        step: &Step,
        action: &WebhookAction,
        contact: Option<ContactView<'_>>,
        deployment: &Deployment<'_>,
        default_body: &[u8],
    ) -> Delivery {
        let event = &self.plan.event;
        let awaited = self.is_awaited();
        let endpoint = action.endpoint_url().map(|url| Endpoint::new(&event.company, url));
        let terms = endpoint.as_ref().map(|one| deployment.terms.of(event.company.as_str(), one.url()));
        let terms = terms.unwrap_or_default();
        // The contact is still applied; worker 2 dead-letters this step alone.
        let variables = event.variables(contact);
        let (request, fault) = match render(action, terms.profile, &variables, default_body) {
            Ok(request) => (request, None),
            Err(invalid) => (action.as_written(), Some(invalid.to_string())),
        };
        // A result that somebody waits for must not wait for a digest.
        let digestible = !awaited && fault.is_none() && digest::is_digestible(terms.profile, &request);
        Delivery {
            key: Key {
                company: event.company.to_string(),
                id: delivery_id(&event.event, &event.company, step.index),
            },
            created_at: deployment.publisher.now,
            event_key: event.event.key(),
            step: step.index,
            source: event.event.source().to_owned(),
            event_id: event.event.id().to_owned(),
            trigger: step.trigger.name().to_owned(),
            contact: contact.map(|view| (view.contact.id, view.contact.version)),
            endpoint_id: endpoint.as_ref().map_or(NO_ENDPOINT, Endpoint::id),
            endpoint_url: endpoint.as_ref().map(Endpoint::url).unwrap_or_default().to_owned(),
            newest_only: terms.newest_only && contact.is_some(),
            digest_window: terms.digest_window.filter(|_| digestible),
            awaited,
            limited: terms.send_interval.is_some(),
            trace: self.trace.clone(),
            request,
            fault,
        }
    }
}

impl<'a> Run<'a> {
    fn new(firing: Firing<'a>) -> Self {
        Self { firing, upserts: Vec::new(), events: Vec::new(), deliveries: Vec::new(), awaited: None }
    }

    /// Adds the events that depend on the whole chain.
    fn finish(&mut self, publisher: &Publisher<'_>) {
        let plan = self.firing.plan;
        if self.upserts.is_empty()
            && let Some(first) = plan.steps.first()
        {
            self.events.push(publisher.webhook_requested(self.firing.origin(first)));
        }
        if !self.firing.is_awaited() {
            return;
        }
        let upserted = self.upserts.iter().map(|upsert| (upsert.applied.operation, upsert.applied.id));
        let awaited = AwaitedChain {
            company: plan.event.company.clone(),
            chain: AppliedChain::new(plan, upserted),
            reply_to: self.firing.reply_to.cloned(),
            trace: self.firing.trace.clone(),
            created_at: publisher.now,
        };
        if self.deliveries.is_empty() {
            self.events.push(awaited.completed(publisher, &[]));
        } else {
            self.awaited = Some(awaited);
        }
    }

    /// The size of its events and webhooks, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let events: usize = self.events.iter().map(|event| event.body.len()).sum();
        events + self.deliveries.iter().map(|delivery| delivery.request.size()).sum::<usize>()
    }

    /// The entries of the contacts' history, in the order in which the steps were applied.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let trace = self.firing.trace.ids().map(|ids| ids.trace);
        let entries = self.upserts.iter().map(move |upsert| upsert.entry(&self.firing.plan.event, trace));
        entries.enumerate().map(|(index, mut entry)| {
            if index == 0 {
                entry.webhooks = self.firing.plan.webhooks().collect();
            }
            entry
        })
    }

    /// The conflicts that kept two contacts apart, each with its step.
    pub fn conflicts(&self) -> impl Iterator<Item = (u16, &Conflict)> {
        self.upserts.iter().filter_map(|upsert| {
            let (_, conflict) = upsert.applied.kept_apart.as_ref()?;
            Some((upsert.step.index, conflict))
        })
    }

    /// The event that ran.
    #[must_use]
    pub const fn firing(&self) -> &Firing<'a> {
        &self.firing
    }
}

impl Upsert<'_> {
    fn entry<'e>(&'e self, event: &'e TriggerFired, trace: Option<u128>) -> Entry<'e> {
        Entry {
            company: &event.company,
            event: &event.event,
            time: event.time,
            step: self.step.index,
            trigger: self.step.trigger.name(),
            contact: self.applied.id,
            operation: self.applied.operation,
            version: self.applied.version,
            changed: &self.applied.changed,
            merged: &self.applied.merged,
            values: &self.update.values,
            rejected: &self.update.rejected,
            kept_apart: self.applied.kept_apart.map(|(rejected, _)| rejected),
            webhooks: Vec::new(),
            trace,
        }
    }
}

impl Refusal {
    fn new(step: &Step, conflict: Conflict, is_known: impl Fn(ContactId) -> bool) -> Self {
        Self { step: step.index, rule: conflict.rule, conflict: conflict.among(is_known) }
    }

    /// The fault of the event.
    #[must_use]
    pub fn fault(&self, plan: &Plan) -> Fault {
        let contacts = match self.conflict {
            None => "a contact of the same event".to_owned(),
            Some(Conflict { contact, other, .. }) if contact == other => format!("contact {contact}"),
            Some(Conflict { contact, other, .. }) => format!("contacts {contact} and {other}"),
        };
        let message = format!("step {}: {} ({contacts})", self.step, self.rule.sentence());
        plan.event.fault(Reason::ContactConflict, message)
    }
}
