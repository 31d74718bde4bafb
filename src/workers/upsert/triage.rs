//! Splits the messages of a batch into events that can be applied and dead letters.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::warn;
use uuid::Uuid;

use crate::{
    amqp::{Received, Topology, properties},
    domain::{
        chain::{
            outgoing::ReplyTo,
            plan::{Plan, plan},
            rules::Rules,
            run::Firing,
        },
        event::body_hash,
        fault::{Fault, Reason, Stage},
        trace_context::TraceContext,
        trigger::{cache::TriggerCache, fired},
    },
    postgres::dead_letters::NewDeadLetter,
};

/// A valid message, and the plan of its event.
pub(super) struct Accepted<'a> {
    pub(super) message: &'a Received,
    pub(super) plan: Plan,
    /// [`crate::domain::event::EventRef::key`] of the event.
    pub(super) key: Uuid,
    /// SHA-256 of the message body.
    pub(super) body_hash: [u8; 32],
    trace: TraceContext,
    reply_to: Option<ReplyTo>,
    /// The dead letter that this message replays.
    pub(super) replay_of: Option<Uuid>,
}

impl<'a> Accepted<'a> {
    fn new(message: &'a Received, plan: Plan) -> Self {
        Self {
            key: plan.event.event.key(),
            body_hash: body_hash(&message.body),
            trace: TraceContext::new(message.header("traceparent"), message.header("tracestate")),
            reply_to: properties::reply_to(&message.properties),
            replay_of: properties::replayed_dead_letter(&message.properties),
            message,
            plan,
        }
    }

    pub(super) fn firing(&self) -> Firing<'_> {
        Firing {
            plan: &self.plan,
            body_hash: self.body_hash,
            trace: &self.trace,
            reply_to: self.reply_to.as_ref(),
        }
    }

    pub(super) fn is_same_event(&self, other: &Self) -> bool {
        self.key == other.key && self.plan.event.company == other.plan.event.company
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
                let mut accepted = Accepted::new(message, plan);
                // This service would consume its own answer as a message.
                if accepted.reply_to.take_if(|reply_to| topology.is_own_queue(&reply_to.queue)).is_some() {
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
            "ignored `reply_to` of {unanswered} messages: it names a queue of this service"
        );
    }
    triaged
}

/// The dead letter of a message that must not be decoded.
pub(super) fn undecoded(message: &Received, fault: Fault) -> NewDeadLetter {
    dead_letter(message, fired::with_origin(&message.body, fault))
}

/// The dead letter of a message that worker 1 cannot apply.
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
