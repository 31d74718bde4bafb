//! The metrics of a process, for `/metrics`: workers record them, the console writes them out.
//!
//! Every series exists from the start, and none is added later: labels are closed lists (`labels`). Workers record
//! once per batch, with atomic operations. A scrape reads memory only; `workers::sampler` samples what only the
//! database knows. `docs/metrics.md` is generated from this module.

mod catalog;
mod document;
mod format;
mod instruments;
mod labels;
mod process;
mod sets;
mod watch;

use std::{fmt::Write as _, sync::Arc};

use prometheus_client::{encoding::text, metrics::info::Info, registry::Registry};

use self::{
    catalog::{About, Catalog},
    document::{INTRODUCTION, OF_DATABASE, OF_PROCESS},
};
pub use self::{
    format::Format,
    instruments::{Counter, Family, Gauge, Histogram, Probes, Since},
    labels::{
        Connections, Ending, Held, Pool, Proof, Queue, Replayed, Room, Running, Settled, Spans, Status, Step,
        Trouble, Unsettled, Waiting,
    },
    sets::{Label, Labels},
};
use crate::domain::{
    fault::{Reason, Stage},
    webhook::{attempt::Class, breaker::State},
};

/// Upper limits of the buckets of what should take milliseconds, in seconds.
const LATENCIES: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The same for webhooks, which may be retried for days.
const DELIVERIES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10_800.0,
    21_600.0, 43_200.0, 86_400.0, 172_800.0,
];

/// Upper limits of the buckets of batches.
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];

/// The metrics of a process.
#[derive(Debug)]
#[expect(missing_docs, reason = "each has a help text, once")]
pub struct Metrics {
    registry: Registry,
    /// Under its own names.
    process: Registry,
    tables: [String; 2],
    pub received: Family<Queue, Counter>,
    pub redelivered: Family<Queue, Counter>,
    pub failed_acks: Family<Queue, Counter>,
    pub lost_consumers: Family<Queue, Counter>,
    pub events: Family<Ending, Counter>,
    pub batch_sizes: Family<Step, Histogram>,
    pub batch_durations: Family<Step, Histogram>,
    pub failed_batches: Family<Step, Counter>,
    pub trigger_to_contact: Family<(), Histogram>,
    pub trigger_to_delivered: Family<(), Histogram>,
    pub confirms: Family<(), Histogram>,
    pub oldest_waiting: Probes<Waiting>,
    pub attempts: Family<(Class, Status), Counter>,
    pub attempt_durations: Family<(), Histogram>,
    pub in_flight: Probes<()>,
    pub held: Probes<()>,
    pub lanes: Probes<Held>,
    pub breaker_changes: Family<State, Counter>,
    pub dead_letters: Family<(Stage, Reason), Counter>,
    pub replays: Family<(Stage, Replayed), Counter>,
    pub room_used: Probes<Room>,
    pub room_limit: Probes<Room>,
    pub connections: Probes<(Pool, Connections)>,
    pub max_connections: Probes<Pool>,
    pub ready: Probes<()>,
    pub failed_sign_ins: Family<Proof, Counter>,
    pub lag: Family<Waiting, Gauge>,
    pub endpoints: Family<Trouble, Gauge>,
    pub unsettled: Family<(Stage, Reason, Unsettled), Gauge>,
    pub settled: Family<(Stage, Reason, Settled), Counter>,
    pub operations: Family<Running, Gauge>,
    pub operation_items: Family<Running, Gauge>,
    pub sampled_at: Family<(), Gauge>,
    pub failed_samples: Family<(), Counter>,
    pub spans: Family<Spans, Counter>,
}

impl Metrics {
    /// Registers all metrics.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a list; each entry is one metric")]
    pub fn new() -> Arc<Self> {
        let mut all = Catalog::new();
        let sum = |one: f64, other: f64| one + other;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        all.registry.register("build", "The version of this binary", build);
        let mut process = Registry::default();
        process.register_collector(Box::new(process::Process::new()));
        let metrics = Self {
            received: all.counters(
                About::process(
                    "messages_received",
                    "Messages that a consumer took, redelivered ones included",
                ),
            ),
            redelivered: all.counters(
                About::process(
                    "messages_redelivered",
                    "Messages among them that the broker had delivered before",
                ),
            ),
            failed_acks: all.counters(
                About::process(
                    "acks_failed",
                    "Acks that did not reach the broker, which redelivers the messages; they are found applied",
                ),
            ),
            lost_consumers: all.counters(
                About::process(
                    "consumers_lost",
                    "Consumers that were rebuilt after a failure of the broker or the connection",
                ),
            ),
            events: all.counters(
                About::process(
                    "events",
                    "Messages and deliveries by what a stage did with them; of stage publish, refused, unconfirmed and \
                     unroutable events are published again",
                ),
            ),
            batch_sizes: all.histograms(
                About::process(
                    "batch_size",
                    "Messages or outcomes of a batch that was committed; of stage publish, events that were sent \
                     together",
                ),
                SIZES,
            ),
            batch_durations: all.histograms(
                About::process(
                    "batch_duration",
                    "Time of the transaction of a committed batch; of stage publish, to write events to the connection",
                )
                .seconds(),
                LATENCIES,
            ),
            failed_batches: all.counters(
                About::process(
                    "batches_failed",
                    "Transactions that failed and are tried again, whole or halved; of stage publish, connections that \
                     were lost",
                ),
            ),
            trigger_to_contact: all.histograms(
                About::process(
                    "trigger_to_contact",
                    "Time from the moment when worker 1 took a message from its connection to the commit of its \
                     contact. It does not begin with the `time` of the event, because clocks of publishers differ, and \
                     it does not include the wait in the broker's queue",
                )
                .seconds(),
                LATENCIES,
            ),
            trigger_to_delivered: all.histograms(
                About::process(
                    "trigger_to_delivered",
                    "Time from the commit that created a webhook (`created_at`, by the database's clock) to the record \
                     of its success, retries and waits included; replayed and resent ones do not count",
                )
                .seconds(),
                DELIVERIES,
            ),
            confirms: all.histograms(
                About::process(
                    "publish_confirm",
                    "Time from sending an event to the broker's confirm",
                )
                .seconds(),
                LATENCIES,
            ),
            oldest_waiting: all.probes(
                About::process(
                    "oldest_waiting",
                    "Age of the oldest work in the memory of this process: of stage upsert, a message that is not \
                     acknowledged; publish, an event that is not confirmed; webhook, a webhook that is not sent",
                )
                .seconds(),
                f64::max,
            ),
            attempts: all.counters(
                About::process(
                    "webhook_attempts",
                    "Recorded attempts by their class and the status of the answer",
                ),
            ),
            attempt_durations: all.histograms(
                About::process(
                    "webhook_attempt_duration",
                    "Time of an attempt, from name resolution to the end of the answer",
                )
                .seconds(),
                LATENCIES,
            ),
            in_flight: all.probes(
                About::process(
                    "webhook_requests_in_flight",
                    "Webhook requests that have not ended",
                ),
                sum,
            ),
            held: all.probes(
                About::process(
                    "webhook_deliveries_held",
                    "Deliveries in memory, until their outcome is recorded",
                ),
                sum,
            ),
            lanes: all.probes(
                About::process(
                    "webhook_lanes",
                    "Lanes that the process owns, and lanes with deliveries in memory that are not in flight",
                ),
                sum,
            ),
            breaker_changes: all.counters(
                About::process(
                    "breaker_changes",
                    "Breakers of endpoints that changed to this state when an outcome was recorded; an open one also \
                     after a hold",
                ),
            ),
            dead_letters: all.counters(
                About::process(
                    "dead_letters_opened",
                    "Messages and deliveries that became dead letters, also those that had one already",
                ),
            ),
            replays: all.counters(
                About::process(
                    "replays",
                    "Replayed messages, and replayed or resent deliveries, by how they ended",
                ),
            ),
            room_used: all.probes(
                About::process(
                    "room_used",
                    "Memory in use, as estimated, of what has a limit",
                )
                .bytes(),
                sum,
            ),
            room_limit: all.probes(
                About::process(
                    "room_limit",
                    "The limit of that memory",
                )
                .bytes(),
                sum,
            ),
            connections: all.probes(
                About::process(
                    "database_connections",
                    "Open connections to the database",
                ),
                sum,
            ),
            max_connections: all.probes(
                About::process(
                    "database_connections_max",
                    "Maximum number of such connections",
                ),
                sum,
            ),
            ready: all.probes(
                About::process(
                    "ready",
                    "1 while `/readyz` answers 200",
                ),
                f64::max,
            ),
            failed_sign_ins: all.counters(About::process(
                "sign_ins_failed",
                "Requests and sign-ins with a token or link that is not valid, or that was refused unseen (429)",
            )),
            lag: all.gauges(
                About::database(
                    "lag",
                    "How long the oldest work that no process has taken is overdue: of stage publish (outbox lag) and \
                     webhook. 0 if nothing is. Always 0 for stage upsert, whose messages wait in the broker",
                )
                .seconds(),
            ),
            endpoints: all.gauges(
                About::database(
                    "endpoints",
                    "Endpoints that do not get all requests at once; 10,000 are counted at most",
                ),
            ),
            unsettled: all.gauges(
                About::database(
                    "dead_letters_unsettled",
                    "Dead letters that are open or being replayed; only the newest 10,000 are counted",
                ),
            ),
            settled: all.counters(
                About::database(
                    "dead_letters_settled",
                    "Dead letters that workers resolved or operators discarded, in any process, since this one started; \
                     counted 10 s later, and without those that retention or an erasure removed meanwhile",
                ),
            ),
            operations: all.gauges(
                About::database(
                    "operations",
                    "Operations on dead letters or deliveries that have not ended; 1,000 are counted at most",
                ),
            ),
            operation_items: all.gauges(
                About::database(
                    "operation_items_waiting",
                    "Dead letters or deliveries of those operations that have no outcome yet",
                ),
            ),
            sampled_at: all.gauges(
                About::database(
                    "sampled_at",
                    "When all metrics of this table were last sampled, in seconds since 1970",
                )
                .seconds(),
            ),
            failed_samples: all.counters(
                About::database(
                    "samples_failed",
                    "Parts of samples that failed; their metrics keep their former values",
                ),
            ),
            spans: all.counters(About::process("spans", "Spans of traces, by what happened to them")),
            registry: Registry::default(),
            process,
            tables: Default::default(),
        };
        let tables = all.tables();
        Arc::new(Self { registry: all.registry, tables, ..metrics })
    }

    /// All metrics in this format.
    #[must_use]
    pub fn write(&self, format: Format) -> String {
        let mut text = String::new();
        // Cannot fail: it is a string, and no metric refuses to be written.
        let _ = text::encode_registry(&mut text, &self.registry);
        let _ = text::encode(&mut text, &self.process);
        format.of(text)
    }

    /// The text of `docs/metrics.md`.
    #[must_use]
    pub fn document(&self) -> String {
        let [of_process, of_database] = &self.tables;
        let mut text = INTRODUCTION.to_owned();
        let _ = write!(text, "\n## Of a process\n\n{OF_PROCESS}\n\n{of_process}");
        let build =
            "| `contact_relay_build_info` | info | `version` | The version of this binary; always 1. |";
        let _ = writeln!(text, "{build}");
        for (name, kind, help) in process::FIGURES {
            let _ = writeln!(text, "| `{name}` | {kind} | | {help}. |");
        }
        let _ = write!(text, "\n## Of the database\n\n{OF_DATABASE}\n\n{of_database}");
        text
    }
}

/// For a gauge.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
