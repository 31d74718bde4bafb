//! Explains reasons, states and waits, in a sentence for somebody who has just been woken up.

use crate::domain::fault::Reason;

/// What a reason means and what usually helps. Empty for one of a later version.
pub(super) fn reason(name: &str) -> &'static str {
    let Ok(reason) = name.parse::<Reason>() else { return "" };
    match reason {
        Reason::Undecodable => "The message is not JSON that can be read. The publisher must send it again.",
        Reason::UnsupportedVersion => "The publisher uses another version of CloudEvents than 1.0.",
        Reason::TooLarge => "The message is larger than 1 MiB.",
        Reason::EventInvalid => {
            "The event lacks a member or has one of the wrong type. Edit it, or fix the publisher."
        }
        Reason::TriggerInvalid => {
            "The trigger definition is invalid. Fix the trigger; `trigger check` lists every mistake."
        }
        Reason::ArgumentsInvalid => {
            "The arguments do not match the trigger's parameters. Edit them, or relax the schema."
        }
        Reason::IdentifierInvalid => {
            "The event has a phone or email that cannot be used, and no other. Edit it."
        }
        Reason::ContactConflict => "The event would merge contacts that must stay apart.",
        Reason::EventIdConflict => "Another event with the same source and id has already been applied.",
        Reason::WebhookInvalid => {
            "The webhook cannot be rendered: its URL, a header, a variable or its body is wrong."
        }
        Reason::WebhookBlocked => "The settings do not allow the webhook's address.",
        Reason::WebhookRejected => {
            "The receiver refused the request for good. Fix the request or the receiver, then replay."
        }
        Reason::WebhookExhausted => {
            "The receiver failed until the retry schedule ended. Replay once it works again."
        }
        Reason::CrashLoop => {
            "Processing it alone kept failing. Look at the service's log before you replay it."
        }
        Reason::Broker => {
            "The broker gave up on the message: delivery limit, overflow or expiry. A replay usually helps."
        }
    }
}

/// What the state of an endpoint means.
pub(super) fn endpoint(state: &str) -> &'static str {
    match state {
        "open" => "Webhooks are sent as they come.",
        "paused" => "An operator paused it: nothing is sent, and deliveries wait.",
        "disabled" => {
            "The receiver answered 410 Gone: nothing is sent until somebody enables it, and deliveries wait."
        }
        "held" => "The receiver asked for a wait (Retry-After).",
        "breaker_open" => "It failed so often that only single probes are sent. Deliveries wait.",
        "failing" => "The last attempt failed. Deliveries are still sent.",
        _ => "",
    }
}

/// What a pending delivery waits for.
pub(super) fn wait(name: &str) -> &'static str {
    match name {
        "in_flight" => "being sent",
        "endpoint_paused" => "the endpoint is paused",
        "endpoint_disabled" => "the endpoint is disabled",
        "breaker_open" => "the endpoint fails; waits for a probe",
        "endpoint_held" => "the receiver asked for a wait",
        "worker" => "waits for a worker",
        "retry" => "waits for its next attempt",
        "digest" => "waits to be sent in a digest",
        "due" => "waits for its first attempt",
        "rate" => "waits for the rate limit",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn every_reason_is_explained() {
        assert!(Reason::VARIANTS.iter().all(|known| !reason(known.name()).is_empty()));
        assert_eq!(reason("of_a_later_version"), "");
    }
}
