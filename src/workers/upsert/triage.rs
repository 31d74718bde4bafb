//! Splits the messages of a batch into those that can be applied and those that never can.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest as _, Sha256};
use tracing::warn;
use uuid::Uuid;

use crate::{
    amqp::{Received, Topology, properties},
    domain::{
        chain::{
            completed,
            plan::{Plan, Rules, Work, plan},
        },
        contact::{ContactUpdate, Identifier},
        fault::{Fault, Reason, Stage},
        trace_context,
        trigger::{cache::TriggerCache, fired},
    },
    postgres::{dead_letters::NewDeadLetter, ledger},
};

/// A message that is understood and valid.
pub(super) struct Accepted<'a> {
    pub(super) message: &'a Received,
    pub(super) plan: Plan,
    /// The event's key in the ledger.
    pub(super) key: Uuid,
    /// SHA-256 of the body.
    pub(super) digest: [u8; 32],
    pub(super) traceparent: Option<&'a str>,
    pub(super) tracestate: Option<&'a str>,
    /// The dead letter that this message replays.
    pub(super) replays: Option<Uuid>,
    /// The queue that the sender wants an answer on, and what it knows its request by.
    pub(super) reply_to: Option<(&'a str, Option<&'a str>)>,
}

impl Accepted<'_> {
    /// The ledger's row of a CRM step, or of an event without one. `position` is the caller's to set.
    pub(super) fn entry<'e>(
        &'e self,
        (ordinal, step): (u16, u16),
        trigger: &'e str,
        contact: Option<ledger::Effect<'e>>,
    ) -> ledger::Entry<'e> {
        let event = &self.plan.event;
        ledger::Entry {
            company: &event.company,
            event: &event.event,
            key: self.key,
            ordinal,
            step,
            time: event.time,
            digest: self.digest,
            trigger,
            assistant: event.assistant_id.as_deref(),
            session: event.session_id.as_deref(),
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            skipped: self.plan.skipped,
            position: 0,
            erased: false,
            contact,
        }
    }

    /// The ledger's row of an event about a person who has been erased: that it was seen, and no more.
    pub(super) fn entry_of_erased(&self) -> ledger::Entry<'_> {
        ledger::Entry {
            assistant: None,
            session: None,
            traceparent: None,
            tracestate: None,
            erased: true,
            ..self.entry((0, 0), self.first_trigger(), None)
        }
    }

    /// The keys that its CRM steps give.
    pub(super) fn identifiers(&self) -> impl Iterator<Item = Identifier> {
        let updates = self.plan.steps.iter().filter_map(|step| match &step.work {
            Work::UpsertContact(update) => Some(update),
            Work::Webhook(_) => None,
        });
        updates.flat_map(ContactUpdate::identifiers)
    }

    /// Whether somebody is told the end of its chain.
    pub(super) fn is_awaited(&self) -> bool {
        self.reply_to.is_some() || completed::is_interpreted(&self.plan)
    }

    /// Whether both say what the same event said.
    pub(super) fn is_same_event(&self, other: &Self) -> bool {
        self.key == other.key && self.plan.event.company == other.plan.event.company
    }

    pub(super) fn first_trigger(&self) -> &str {
        self.plan.event.triggers.first().map_or("", |trigger| trigger.name())
    }
}

/// A batch, split.
#[derive(Default)]
pub(super) struct Triaged<'a> {
    pub(super) accepted: Vec<Accepted<'a>>,
    pub(super) rejected: Vec<NewDeadLetter>,
}

pub(super) fn triage<'a>(
    messages: &[&'a Received],
    triggers: &mut TriggerCache,
    rules: &Rules,
    topology: &Topology,
) -> Triaged<'a> {
    let mut triaged = Triaged::default();
    let mut unanswered = 0_u32;
    for message in messages {
        let planned = catch_unwind(AssertUnwindSafe(|| {
            fired::decode(&message.body, triggers).and_then(|event| plan(event, rules))
        }));
        match planned {
            Ok(Ok(plan)) => {
                let mut accepted = accept(message, plan);
                // An answer would be taken for a message, fail, and be answered again or kept for ever.
                if accepted.reply_to.take_if(|(queue, _)| topology.is_own_queue(queue)).is_some() {
                    unanswered += 1;
                }
                triaged.accepted.push(accepted);
            }
            Ok(Err(fault)) => triaged.rejected.push(dead_letter(message, fault)),
            Err(_) => {
                *triggers = TriggerCache::default();
                let fault = Fault::new(Reason::CrashLoop, "decoding this message panicked; please report it");
                triaged.rejected.push(undecoded(message, fault));
            }
        }
    }
    if unanswered > 0 {
        warn!(
            messages = unanswered,
            "{unanswered} messages want an answer on a queue that this service consumes; they get none there"
        );
    }
    triaged
}

/// The dead letter of a message that must not be decoded.
pub(super) fn undecoded(message: &Received, fault: Fault) -> NewDeadLetter {
    dead_letter(message, fired::placed(&message.body, fault))
}

/// The dead letter of a message of this stage.
pub(super) fn dead_letter(message: &Received, fault: Fault) -> NewDeadLetter {
    NewDeadLetter {
        company: fault.company.map(|company| company.to_string()).unwrap_or_default(),
        stage: Stage::Upsert,
        reason: fault.reason,
        message: fault.message,
        body: message.body.clone(),
        routing_key: message.routing_key.clone(),
        properties: properties::to_json(&message.properties),
        source: fault.event.as_ref().map(|event| event.source().to_owned()),
        event_id: fault.event.as_ref().map(|event| event.id().to_owned()),
        trigger: fault.trigger,
        delivery_id: None,
        attempts: 1,
        replay_of: properties::replayed_dead_letter(&message.properties),
    }
}

fn accept(message: &Received, plan: Plan) -> Accepted<'_> {
    let (traceparent, tracestate) =
        trace_context::passed_on(message.header("traceparent"), message.header("tracestate"));
    Accepted {
        key: plan.event.event.key(),
        digest: Sha256::digest(&message.body).into(),
        traceparent,
        tracestate,
        replays: properties::replayed_dead_letter(&message.properties),
        reply_to: properties::reply_to(&message.properties),
        message,
        plan,
    }
}
