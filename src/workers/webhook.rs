//! Worker 2: sends webhooks as HTTP requests and records their outcomes.
//!
//! What worker 1 of this process commits is sent directly from memory if its lane allows that (`direct`). What waits has
//! rows: this process owns a lane while it sends its due deliveries (`claims`). During a request the worker holds no
//! lock and no connection. If the process dies, another one takes its batches and lanes over, and sends with the same
//! `webhook-id`.
//!
//! ```text
//!  worker 1 ── RequestBatch ─▶ direct ──┐                                                          results
//!                                       ├─▶ queue ──▶ sender, a task each  ── Finished ──▶ recorder ──▶ outbox_relay
//!  wake_ups ── WakeUp ────▶ claims ─────┘     ▲                                            │  │  │
//!      ▲                     │  ▲  ▲          └───────────── room for others ──────────────┘  │  │
//!      └──── ack ────────────┘  │  └── rescheduled: a lane may be due, or can be released ────┘  │
//!                               └───── stuck: outcomes cannot be recorded, claim nothing ────────┘
//! ```

mod batches;
mod claims;
mod dead_letters;
mod digests;
mod direct;
pub mod endpoint_test;
mod job;
mod lanes;
mod limits;
mod loads;
mod log;
mod measures;
mod own_services;
mod queue;
mod recorder;
mod results;
mod routes;
mod sender;
mod skipping;
mod spans;
mod supersede;
mod visits;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

pub use self::routes::SetUpError;
use self::{
    claims::Claims, direct::DirectSender, lanes::Lanes, queue::Queue, recorder::Recorder, routes::Routes,
    sender::Sender,
};
use super::{
    component::WEBHOOK_WORKER,
    presence::Presence,
    room::{BatchSender, InMemory},
    wake_ups::WakeUp,
};
use crate::{
    domain::webhook::breaker::BreakerRule,
    health::Health,
    http_client::HttpClient,
    metrics::Metrics,
    postgres::{
        Database,
        effects::{events::EventBatch, requests::RequestBatch},
    },
    settings::{self, Settings},
    telemetry::traces::Traces,
};

/// How many deliveries are held in memory for each request that may be in flight. Fast receivers get what
/// worker 1 commits in bursts without a detour through rows.
const HELD: usize = 8;

/// Sends webhooks until it is stopped.
pub struct WebhookWorker {
    settings: Arc<Settings>,
    database: Database,
    request_batches: mpsc::UnboundedReceiver<InMemory<RequestBatch>>,
    wake_ups: mpsc::Receiver<WakeUp>,
    event_batches: BatchSender<EventBatch>,
    presence: Presence,
    health: Health,
    metrics: Arc<Metrics>,
    client: HttpClient,
    routes: Routes,
    traces: Traces,
}

/// The channels of the worker.
pub struct Channels {
    /// What worker 1 of this process commits.
    pub request_batches: mpsc::UnboundedReceiver<InMemory<RequestBatch>>,
    /// From the webhook queue.
    pub wake_ups: mpsc::Receiver<WakeUp>,
    /// To the relay: the results of chains that it completes.
    pub event_batches: BatchSender<EventBatch>,
}

impl WebhookWorker {
    /// Prepares the worker.
    ///
    /// # Errors
    /// When the system has no CA certificates, or a TLS file or signing secret of an endpoint is not usable.
    pub fn new(
        settings: Arc<Settings>,
        database: Database,
        Channels { request_batches, wake_ups, event_batches }: Channels,
        presence: Presence,
        health: Health,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> Result<Self, SetUpError> {
        let client = own_services::guarded_client(&settings);
        let routes = Routes::new(&settings.webhook)?;
        Ok(Self {
            settings,
            database,
            request_batches,
            wake_ups,
            event_batches,
            presence,
            health,
            metrics,
            client,
            routes,
            traces,
        })
    }

    /// Claims until `stop`, then waits until every request in flight has ended and is recorded.
    pub async fn run(self, stop: CancellationToken) {
        let (finished, outcomes) = mpsc::unbounded_channel();
        let rescheduled = Arc::new(Notify::new());
        let (stuck, recorder_stuck) = watch::channel(false);
        let webhook = &self.settings.webhook;
        let source = &self.settings.events.source;
        let lanes = Arc::new(Lanes::new(self.routes));
        let queue = Queue::new(webhook.concurrency, HELD * webhook.concurrency, webhook.queue_bytes);
        let sender = Arc::new(Sender::new(
            self.client,
            queue,
            finished,
            Arc::clone(&lanes),
            self.presence.clone(),
            self.traces,
            stop.clone(),
        ));
        measures::watch(&self.metrics, &sender, &lanes, webhook.queue_bytes);
        let recorder = Recorder {
            database: self.database.clone(),
            breaker: breaker_rule(webhook),
            lanes: Arc::clone(&lanes),
            sender: Arc::downgrade(&sender),
            presence: self.presence.clone(),
            health: self.health.clone(),
            rescheduled: Arc::clone(&rescheduled),
            stuck,
            event_batches: self.event_batches,
            source: source.clone(),
            metrics: self.metrics,
        };
        let direct = DirectSender {
            database: self.database.clone(),
            health: self.health,
            presence: self.presence,
            lanes: Arc::clone(&lanes),
            sender: Arc::clone(&sender),
            batches: Arc::default(),
            rescheduled: Arc::clone(&rescheduled),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(recorder.run(outcomes));
        tasks.spawn(direct.clone().run(self.request_batches, stop.clone()));
        let claims = Claims::new(direct, &self.settings, self.wake_ups, rescheduled, recorder_stuck);
        claims.run(&stop).await;
        sender.drained().await;
        // The recorder ends once nobody can send anything more.
        drop(sender);
        tasks.close();
        tasks.wait().await;
        info!(component = WEBHOOK_WORKER, "{WEBHOOK_WORKER} stopped");
    }
}

const fn breaker_rule(webhook: &settings::Webhook) -> BreakerRule {
    BreakerRule {
        failures: webhook.breaker_failures,
        after: webhook.breaker_after,
        wait: webhook.breaker_wait,
    }
}
