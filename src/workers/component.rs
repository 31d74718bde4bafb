//! The names of the components: the same in logs, in `/readyz`, in the broker's list of connections and as task
//! names.

/// Publishes committed events.
pub const OUTBOX_RELAY: &str = "outbox-relay";

/// Creates partitions, and removes what is no longer kept.
pub const MAINTENANCE: &str = "maintenance";

/// Finishes erasures that were interrupted. Separate from maintenance, whose rounds may take long or fail.
pub const ERASURES: &str = "erasures";

/// Keeps the process registered.
pub const PRESENCE: &str = "presence";

/// The clock of the process, compared with the database's.
pub const CLOCK: &str = "clock";

/// Work that has waited for too long.
pub const LAG: &str = "lag";

/// Samples the database for metrics and the lag.
pub const SAMPLER: &str = "sampler";

/// Stores how much work the process does.
pub const RATES: &str = "rates";

/// Asks how much waits in the queues.
pub const QUEUE_DEPTHS: &str = "queue-depths";

/// Worker 2.
pub const WEBHOOK_WORKER: &str = "webhook-worker";

/// The outcomes of webhooks that cannot be recorded. Separate from worker 2, which continues.
pub const WEBHOOK_OUTCOMES: &str = "webhook-outcomes";

/// Consumes the webhook queue and wakes worker 2.
pub const WAKE_UPS: &str = "webhook-wake-ups";

/// Consumes the broker's dead-letter queue.
pub const DEAD_LETTER_COLLECTOR: &str = "dead-letter-collector";

/// Works on the operations of operators.
pub const OPERATIONS: &str = "operations";

/// The consumers of worker 1, counted from 1.
#[must_use]
pub fn upsert_worker(number: usize) -> String {
    format!("upsert-{number}")
}
