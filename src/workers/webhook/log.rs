//! The log lines of recorded attempts.

use tracing::{info, warn};

use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::{Next, Outcome},
            breaker::State,
        },
    },
    postgres::endpoints::Change,
};

/// One line for each unrecorded outcome.
pub(super) fn lost(lost: &[Key]) {
    for Key { company, id } in lost {
        warn!(
            delivery.id = %id,
            company.id = company,
            "delivery {id} changed while it was sent; its outcome is not recorded"
        );
    }
}

/// One line for each failed attempt.
pub(super) fn outcomes<'a>(recorded: impl Iterator<Item = (&'a Key, &'a Outcome, &'a Next)>) {
    for (Key { company, id }, outcome, next) in recorded {
        match next {
            Next::Delivered => {}
            Next::Retry { after, .. } => {
                let (class, delay_ms) = (outcome.class.name(), after.as_millis());
                info!(
                    delivery.id = %id,
                    company.id = company,
                    class,
                    delay_ms,
                    "delivery {id} failed ({class}); next attempt in {delay_ms} ms"
                );
            }
            Next::Dead(reason, _) => {
                let reason = reason.name();
                warn!(
                    delivery.id = %id,
                    company.id = company,
                    reason,
                    "delivery {id} became a dead letter ({reason})"
                );
            }
        }
    }
}

/// One line for each endpoint that was disabled or asked for a hold, and for each breaker that opened or closed.
pub(super) fn changes(changes: &[Change]) {
    for change in changes {
        let Key { company, id } = &change.key;
        if change.is_gone {
            warn!(
                endpoint.id = %id,
                company.id = company,
                "endpoint {id} is gone and was disabled; its deliveries wait until an operator enables it"
            );
        }
        match (change.was, change.breaker.state) {
            (State::Open, State::Open) | (State::Closed, State::Closed) => {}
            (_, State::Open) if change.hold.is_some() => {
                let delay_ms = change.opens_for().unwrap_or_default().as_millis();
                info!(
                    endpoint.id = %id,
                    company.id = company,
                    delay_ms,
                    "endpoint {id} asked to wait; next request in {delay_ms} ms"
                );
            }
            (_, State::Open) => {
                let delay_ms = change.opens_for().unwrap_or_default().as_millis();
                warn!(
                    endpoint.id = %id,
                    company.id = company,
                    delay_ms,
                    "the breaker of endpoint {id} opened; next request in {delay_ms} ms"
                );
            }
            (_, State::Closed) => {
                info!(endpoint.id = %id, company.id = company, "the breaker of endpoint {id} closed");
            }
            _ => {}
        }
    }
}
