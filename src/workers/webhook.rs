//! Worker 2: sends due deliveries from Postgres as HTTP requests and records their outcomes.
//!
//! Claim, commit; send; record. Across a request nothing is held but a lease. A delivery that was claimed and
//! not recorded (crash, kill) becomes due again when its lease expires, and is sent with the same `webhook-id`.
//!
//! ```text
//!             WakeUp               Claimed, a task each                Finished            results
//!  wake_ups ──────────▶ claims ─────────────────────────▶ attempt ────────────▶ recorder ──────────▶ outbox_relay
//!      ▲                 │ ▲ ▲                               │                    │ │ │
//!      └──── ack ────────┘ │ │                               ▼                    │ │ │
//!         (claimed)        │ │                            receiver                │ │ │
//!                          │ └── rescheduled: a delivery may be due earlier ──────┘ │ │
//!                          ├──── stuck: outcomes cannot be recorded, claim nothing ─┘ │
//!                          └──── permits of the batch, and of its lanes ──────────────┘
//! ```
//!
//! | Channel | Kind |
//! |---|---|
//! | `WakeUp`, its ack | `mpsc` of 1, `oneshot` |
//! | `Claimed` | a task for each; permits bound their number |
//! | `Finished` | unbounded `mpsc`, bounded by the permits; closed when the last attempt has ended |
//! | results | `mpsc` of the relay |
//! | `rescheduled`, `stuck` | `Notify`, `watch` |

mod attempt;
mod claims;
mod dead_letters;
mod digests;
pub mod endpoint_test;
mod lanes;
mod limits;
mod own_services;
mod recorder;
mod routes;
mod supersede;
mod throughput;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

pub use self::routes::SetUpError;
use self::{attempt::Sender, claims::Claims, lanes::Lanes, recorder::Recorder, routes::Routes};
use super::{component::WEBHOOK_WORKER, wake_ups::WakeUp};
use crate::{
    domain::{chain::outgoing::OutgoingEvent, webhook::breaker::BreakerRule},
    health::Health,
    http_client::HttpClient,
    postgres::{Database, chain_results::Terms},
    settings::Settings,
};

/// Maximum wait for a send slot before a claimed delivery is released.
const MAX_SLOT_WAIT: Duration = Duration::from_secs(5);

/// The part of a lease that remains for recording after the longest wait and the longest request. Short, because
/// a delivery whose worker was killed is not sent before its lease expires.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Sends due deliveries until it is stopped.
pub struct WebhookWorker {
    settings: Arc<Settings>,
    database: Database,
    wake_ups: mpsc::Receiver<WakeUp>,
    relay: mpsc::Sender<Vec<OutgoingEvent>>,
    health: Health,
    client: HttpClient,
    routes: Routes,
}

impl WebhookWorker {
    /// Prepares the worker. `relay` publishes the results of chains that it completes.
    ///
    /// # Errors
    /// When the system has no CA certificates, or a TLS file or signing secret of an endpoint is not usable.
    pub fn new(
        settings: Arc<Settings>,
        database: Database,
        wake_ups: mpsc::Receiver<WakeUp>,
        relay: mpsc::Sender<Vec<OutgoingEvent>>,
        health: Health,
    ) -> Result<Self, SetUpError> {
        let client = own_services::guarded_client(&settings);
        let routes = Routes::new(&settings.webhook)?;
        Ok(Self { settings, database, wake_ups, relay, health, client, routes })
    }

    /// Claims until `stop`, then waits until every request in flight has ended and is recorded.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let (finished, outcomes) = mpsc::unbounded_channel();
        let rescheduled = Arc::new(Notify::new());
        let (stuck, recorder_stuck) = watch::channel(false);
        let webhook = &self.settings.webhook;
        let source = &self.settings.events.source;
        let lanes = Arc::new(Lanes::new(self.routes));
        let recorder = Recorder {
            database: self.database.clone(),
            breaker: BreakerRule {
                failures: webhook.breaker_failures,
                after: webhook.breaker_after,
                wait: webhook.breaker_wait,
            },
            lanes: Arc::clone(&lanes),
            health: self.health.clone(),
            rescheduled: Arc::clone(&rescheduled),
            stuck,
            relay: self.relay,
            results: Terms { source: source.clone(), lease: self.settings.outbox.lease },
        };
        tasks.spawn(recorder.run(outcomes));
        let sender = Arc::new(Sender {
            client: self.client,
            slots: Semaphore::new(webhook.concurrency),
            max_slot_wait: MAX_SLOT_WAIT,
            finished,
            stop: stop.clone(),
        });
        let claims = Claims {
            database: self.database,
            health: self.health,
            terms: webhook.terms(),
            wake_ups: Some(self.wake_ups),
            unanswered: Vec::new(),
            lanes,
            // Twice what can be in flight, so that a free slot finds the next request claimed.
            permits: Arc::new(Semaphore::new(2 * webhook.concurrency)),
            min_permits: u32::try_from(webhook.concurrency / 2).unwrap_or(u32::MAX).max(1),
            lease: MAX_SLOT_WAIT + webhook.longest_timeout() + LEASE_MARGIN,
            max_age: webhook.max_age,
            source: source.clone(),
            poll_interval: webhook.poll_interval,
            next_poll: Instant::now(),
            rescheduled,
            recorder_stuck,
        };
        claims.run(&stop, &tasks, sender).await;
        tasks.close();
        tasks.wait().await;
        info!(component = WEBHOOK_WORKER, "{WEBHOOK_WORKER} stopped");
    }
}
