//! Makes dead letters of messages.

use lapin::BasicProperties;

use crate::{
    amqp::{Received, properties},
    domain::{
        event::EventRef,
        fault::{Fault, Stage},
        trigger::fired,
    },
    postgres::dead_letters::NewDeadLetter,
};

/// The dead letter of a message that cannot be processed. At stage upsert it names the event in the ledger, and the dead letter
/// that the message replays.
pub(super) fn of_message(message: &Received, stage: Stage, fault: Fault) -> NewDeadLetter {
    let event_key = fault.company.as_ref().and(fault.event.as_ref()).map(EventRef::key);
    let replay_of = properties::replayed_dead_letter(&message.properties);
    let is_upsert = stage == Stage::Upsert;
    NewDeadLetter {
        company: fault.company.map(|company| company.to_string()).unwrap_or_default(),
        stage,
        reason: fault.reason,
        message: fault.message,
        meaning: fired::meaning(&message.body),
        body: message.body.clone(),
        routing_key: message.routing_key.clone(),
        properties: properties::to_text(&message.properties),
        source: fault.event.as_ref().map(|event| event.source().to_owned()),
        event_id: fault.event.as_ref().map(|event| event.id().to_owned()),
        event_key: event_key.filter(|_| is_upsert),
        trigger: fault.trigger,
        delivery_id: None,
        endpoint_id: None,
        attempts: 1,
        replay_of: replay_of.filter(|_| is_upsert),
        known_at: None,
        is_blank: false,
    }
}

/// The dead letter with nothing but what is needed to replay it: the database rejects a value of the rest.
pub(super) fn without_context(dead: NewDeadLetter) -> NewDeadLetter {
    NewDeadLetter {
        routing_key: String::new(),
        properties: properties::to_text(&BasicProperties::default()),
        source: None,
        event_id: None,
        event_key: None,
        trigger: None,
        ..dead
    }
}
