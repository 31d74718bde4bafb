//! Splits messages into events that can be applied and dead letters.

use std::{
    hash::{BuildHasher as _, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use super::{window::Demand, worker::UpsertWorker};
use crate::{
    amqp::{Received, Topology, headers, properties},
    domain::{
        chain::{
            outgoing::ReplyTo,
            plan::{Plan, plan},
            reply::ReplyQueues,
            rules::Rules,
            run::Firing,
        },
        contact::Identifier,
        fault::{Fault, Reason, Stage},
        trace_context::TraceContext,
        trigger::{cache::TriggerCache, fired},
    },
    postgres::{
        dead_letters::{Message, NewDeadLetter},
        ledger::EventKey,
    },
    telemetry::traces::{Attribute, Kind, Span, Traces, continued},
    workers::{dead_letter, spans},
};

/// A message that cannot be applied.
pub(super) struct Rejected {
    /// Its number in the window.
    pub(super) number: u64,
    pub(super) dead: NewDeadLetter,
}

/// A valid message, and the plan of its event.
pub(super) struct Accepted {
    /// Its number in the window, once it is taken.
    pub(super) number: u64,
    pub(super) message: Received,
    pub(super) plan: Plan,
    /// The identifiers that its CRM steps give.
    pub(super) identifiers: Vec<Identifier>,
    /// [`crate::domain::event::EventRef::key`] of the event.
    pub(super) key: Uuid,
    /// [`fired::meaning`] of the message body.
    pub(super) meaning: [u8; 32],
    trace: TraceContext,
    /// Ended by the commit.
    pub(super) span: Option<Span>,
    reply_to: Option<ReplyTo>,
    /// The dead letter that this message replays.
    pub(super) replay_of: Option<Uuid>,
}

impl Accepted {
    fn new(message: Received, plan: Plan, traces: &Traces) -> Self {
        let key = plan.event.event.key();
        let came_with = came_with(&message);
        let span = traces.event(&came_with, key, spans::UPSERT, Kind::Consumer);
        let company = || Attribute::Company(plan.event.company.to_string());
        Self {
            number: 0,
            identifiers: plan.identifiers().collect(),
            key,
            meaning: fired::meaning(&message.body),
            trace: continued(&came_with, span.as_ref()),
            span: span.map(|span| span.with(company())),
            reply_to: properties::reply_to(&message.properties),
            replay_of: properties::replayed_dead_letter(&message.properties),
            message,
            plan,
        }
    }

    pub(super) fn firing(&self) -> Firing<'_> {
        Firing { plan: &self.plan, trace: &self.trace, reply_to: self.reply_to.as_ref() }
    }

    /// The event in the ledger.
    pub(super) fn event(&self) -> EventKey<'_> {
        (self.plan.event.company.as_str(), self.key)
    }

    /// The message as its dead letter would have it.
    pub(super) fn as_message(&self) -> Message<'_> {
        Message { company: self.plan.event.company.as_str(), meaning: &self.meaning }
    }
}

/// A message after triage.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is accepted; a box would cost each an allocation"
)]
pub(super) enum Triaged {
    Accepted(Accepted),
    Rejected(NewDeadLetter),
}

/// Triages the messages of one consumer.
pub(super) struct Triage {
    rules: Rules,
    reply_queues: ReplyQueues,
    triggers: Arc<TriggerCache>,
    hasher: RandomState,
    max_clock_skew: Duration,
    /// A larger message is processed alone.
    max_bytes: usize,
    traces: Traces,
    unanswered: u32,
}

impl Triage {
    /// Triages for this worker.
    pub(super) fn of(worker: &UpsertWorker) -> Self {
        let settings = &worker.settings;
        Self {
            rules: worker.rules.clone(),
            reply_queues: Topology::new(&settings.amqp.namespace).reply_queues(&settings.amqp.reply_queues),
            max_clock_skew: settings.events.max_clock_skew,
            max_bytes: settings.upsert.batch_bytes,
            triggers: Arc::clone(&worker.triggers),
            hasher: RandomState::new(),
            traces: worker.traces.clone(),
            unanswered: 0,
        }
    }

    /// Decodes and plans a message that is processed at `now`.
    pub(super) fn decide(&mut self, message: Received, now: OffsetDateTime) -> Triaged {
        let latest = now + self.max_clock_skew;
        let Self { rules, triggers, .. } = self;
        let planned = catch_unwind(AssertUnwindSafe(|| {
            let event = fired::decode(&message.body, triggers)?.not_after(latest)?;
            plan(event, rules)
        }));
        match planned {
            Ok(Ok(plan)) => {
                let mut accepted = Accepted::new(message, plan, &self.traces);
                let refused = accepted.reply_to.take_if(|to| !self.reply_queues.allow(&to.queue));
                self.unanswered += u32::from(refused.is_some());
                Triaged::Accepted(accepted)
            }
            Ok(Err(fault)) => Triaged::Rejected(dead_letter(&message, fault)),
            Err(_) => {
                let fault = Fault::new(Reason::CrashLoop, "decoding this message panicked; please report it");
                Triaged::Rejected(undecoded(&message, fault))
            }
        }
    }

    /// What a message needs from its transaction.
    pub(super) fn demand(&self, triaged: &Triaged) -> Demand {
        match triaged {
            Triaged::Accepted(accepted) => {
                let company = &accepted.plan.event.company;
                let mut keys = Vec::with_capacity(1 + accepted.identifiers.len());
                keys.push(self.hasher.hash_one(accepted.event()));
                keys.extend(accepted.identifiers.iter().map(|key| self.hasher.hash_one((company, key))));
                let (bytes, steps) = (accepted.message.body.len(), accepted.plan.steps.len());
                Demand { keys, bytes, decoded: accepted.plan.size(), steps, alone: false }
            }
            // The same meaning is the same dead letter, and an event has one end.
            Triaged::Rejected(dead) => {
                let event = dead.event().map(|event| self.hasher.hash_one(event));
                let keys = event.into_iter().chain([self.hasher.hash_one(dead.meaning)]).collect();
                let bytes = dead.body.len() + dead.properties.len();
                Demand { keys, bytes, alone: bytes > self.max_bytes, ..Demand::default() }
            }
        }
    }

    /// Logs one line for all messages since the last call.
    pub(super) fn report(&mut self) {
        let messages = std::mem::take(&mut self.unanswered);
        if messages > 0 {
            warn!(
                messages,
                "ignored `reply_to` of {messages} messages: it names a queue of this service, or one that \
                 amqp.reply_queues does not allow"
            );
        }
    }
}

/// The trace of a message: that of its headers, or else that of its envelope, see [`fired::trace_of`].
fn came_with(message: &Received) -> TraceContext {
    let headers =
        TraceContext::new(message.header(headers::TRACEPARENT), message.header(headers::TRACESTATE));
    if headers.traceparent().is_some() { headers } else { fired::trace_of(&message.body) }
}

/// The dead letter of a message that must not be decoded.
pub(super) fn undecoded(message: &Received, fault: Fault) -> NewDeadLetter {
    dead_letter(message, fired::with_origin(&message.body, fault))
}

/// The dead letter of a message that worker 1 cannot apply.
pub(super) fn dead_letter(message: &Received, fault: Fault) -> NewDeadLetter {
    dead_letter::of_message(message, Stage::Upsert, fault)
}
