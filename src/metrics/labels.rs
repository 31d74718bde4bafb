//! The labels of all metrics. Each is a closed list: no company, contact, trigger, endpoint, host or address is ever one.

use strum::{IntoStaticStr, VariantArray};

use super::sets::{Label, Labels};
use crate::domain::{
    fault::{Reason, Stage},
    webhook::{attempt::Class, breaker::State},
};

macro_rules! labels {
    ($($(#[$doc:meta])* $type:ident = $name:literal { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
        #[strum(serialize_all = "snake_case")]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        named!($type = $name);
    )+};
}

macro_rules! named {
    ($type:ident = $name:literal) => {
        impl Label for $type {
            const NAME: &'static str = $name;

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

named!(Stage = "stage");
named!(Reason = "reason");
named!(Class = "class");
named!(State = "to");

labels! {
    /// The queue of a consumer.
    Queue = "queue" {
        /// Of worker 1.
        TriggerFired,
        /// Of worker 2, with wake-ups.
        Webhook,
        /// Of the collector.
        DeadLetters,
    }

    /// A stage that works in batches.
    Step = "stage" {
        /// Worker 1 applies events.
        Upsert,
        /// The outbox relay publishes events.
        Publish,
        /// Worker 2 records the outcomes of webhooks.
        Webhook,
        /// The collector stores what the broker has dead-lettered.
        DeadLetter,
    }

    /// A stage in which work waits.
    Waiting = "stage" {
        /// Messages that are not acknowledged.
        Upsert,
        /// Events that are not confirmed.
        Publish,
        /// Webhooks that are due and not sent.
        Webhook,
    }

    /// What happened to a span of a trace.
    Spans = "outcome" {
        /// The collector took it.
        Exported,
        /// Too many were waiting.
        Dropped,
        /// The collector refused it, or did not answer in time.
        Failed,
    }

    /// The status of a receiver's answer.
    Status = "status" {
        /// No answer came.
        None,
        /// 2xx.
        #[strum(serialize = "2xx")]
        Success,
        /// 3xx.
        #[strum(serialize = "3xx")]
        Redirect,
        /// 4xx.
        #[strum(serialize = "4xx")]
        Refused,
        /// 5xx.
        #[strum(serialize = "5xx")]
        Failed,
        /// Any other.
        Other,
    }

    /// What somebody shows to sign in.
    Proof = "with" {
        /// A token in a header of a request.
        Bearer,
        /// A token in the form of the console.
        Form,
        /// A link that signs in once.
        Link,
    }

    /// What a replay came to.
    Replayed = "outcome" {
        /// It ended well.
        Resolved,
        /// It became a dead letter again.
        Failed,
    }

    /// What happened to a dead letter at last.
    Settled = "state" {
        /// It was processed after all.
        Resolved,
        /// An operator discarded it.
        Discarded,
    }

    /// A dead letter that is not settled.
    Unsettled = "state" {
        /// It waits for a decision.
        Open,
        /// It is being replayed.
        Replaying,
    }

    /// An endpoint that does not get all requests at once.
    Trouble = "state" {
        /// An operator has paused it.
        Paused,
        /// It answered 410 Gone.
        Disabled,
        /// Its breaker is open, or it is on hold.
        Open,
        /// A request probes it.
        HalfOpen,
        /// It gets a limited number of requests.
        RampUp,
    }

    /// A lane in the memory of a process.
    Held = "state" {
        /// The process owns it.
        Owned,
        /// It has deliveries in memory that are not in flight.
        Waiting,
    }

    /// Memory with a limit.
    Room = "room" {
        /// Unacknowledged messages (`amqp.prefetch_bytes`).
        Inbox,
        /// Decoded messages (`upsert.decoded_bytes`).
        Decoded,
        /// Events that are committed and not published (`outbox.in_flight_bytes`).
        Outbox,
        /// Webhooks that are committed and that worker 2 has not taken.
        Requests,
        /// Answers to `reply_to` that wait.
        Replies,
        /// Webhooks in the queue of worker 2 (`webhook.queue_bytes`).
        WebhookQueue,
        /// Answers of receivers that are not recorded.
        WebhookAnswers,
    }

    /// A pool of connections to the database.
    Pool = "pool" {
        /// Of the workers.
        Workers,
        /// Of the registration of the process.
        Presence,
        /// Of the task that samples metrics.
        Sampler,
        /// Of the API and the console.
        Console,
        /// Of their changes that may take long.
        ConsoleChanges,
    }

    /// An operation on many dead letters or deliveries that has not ended.
    Running = "state" {
        /// It was started.
        Running,
        /// It was stopped, by an operator or by failures.
        Paused,
    }

    /// A pooled connection.
    Connections = "state" {
        /// Somebody works with it.
        Used,
        /// It is free.
        Idle,
    }
}

impl Status {
    /// Of this answer.
    #[must_use]
    pub const fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::None,
            Some(200..=299) => Self::Success,
            Some(300..=399) => Self::Redirect,
            Some(400..=499) => Self::Refused,
            Some(500..=599) => Self::Failed,
            Some(_) => Self::Other,
        }
    }
}

/// What a stage did with a message or a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Ending {
    /// Worker 1 applied the event.
    Applied,
    /// The event had ended before.
    Duplicate,
    /// The event is about a person who has been erased.
    Erased,
    /// Worker 1 made the message a dead letter.
    Refused,
    /// The broker confirmed an event.
    Published,
    /// A queue refused an event.
    PublishRefused,
    /// A queue did not confirm an event in time.
    PublishUnconfirmed,
    /// No queue was bound for an event that needs one.
    PublishUnroutable,
    /// The receiver took a webhook.
    Delivered,
    /// A webhook is attempted again.
    Retried,
    /// A webhook became a dead letter.
    DeliveryRefused,
    /// The collector stored a message of the broker's dead-letter queue.
    Collected,
}

impl Labels for Ending {
    fn all() -> Vec<Self> {
        Self::VARIANTS.to_vec()
    }

    fn place(self) -> usize {
        self as usize
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        let (step, outcome) = match self {
            Self::Applied => (Step::Upsert, "applied"),
            Self::Duplicate => (Step::Upsert, "duplicate"),
            Self::Erased => (Step::Upsert, "erased"),
            Self::Refused => (Step::Upsert, "dead_lettered"),
            Self::Published => (Step::Publish, "published"),
            Self::PublishRefused => (Step::Publish, "refused"),
            Self::PublishUnconfirmed => (Step::Publish, "unconfirmed"),
            Self::PublishUnroutable => (Step::Publish, "unroutable"),
            Self::Delivered => (Step::Webhook, "delivered"),
            Self::Retried => (Step::Webhook, "retried"),
            Self::DeliveryRefused => (Step::Webhook, "dead_lettered"),
            Self::Collected => (Step::DeadLetter, "stored"),
        };
        vec![(Step::NAME, step.into()), ("outcome", outcome)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_complete<L: Labels>() {
        let all = L::all();
        assert!(all.iter().enumerate().all(|(place, labels)| labels.place() == place));
        let mut pairs: Vec<_> = all.into_iter().map(Labels::pairs).collect();
        let count = pairs.len();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), count, "each combination is there once");
    }

    #[test]
    fn each_combination_of_labels_has_a_place_of_its_own() {
        is_complete::<()>();
        is_complete::<Ending>();
        is_complete::<(Class, Status)>();
        is_complete::<(Stage, Reason)>();
        is_complete::<(Stage, Reason, Settled)>();
        is_complete::<Room>();
    }
}
