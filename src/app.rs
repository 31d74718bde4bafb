//! The composition root: turns the settings into the components of each role, connected by channels.

mod lifecycle;

use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::lifecycle::Tasks;
use crate::{
    amqp::{self, Topology, TopologyError},
    console::{Console, OneTimeCode},
    domain::trigger::cache::{Compiler, TriggerCache},
    health::Health,
    metrics::{self, Metrics, Pool},
    postgres::{
        Database,
        effects::{events::EventBatch, requests::RequestBatch},
    },
    settings::Settings,
    telemetry::{chain, otlp, traces::Traces},
    workers::{
        backoff::Backoff,
        component,
        dead_letter_collector::DeadLetterCollector,
        maintenance::Maintenance,
        operations::Operations,
        outbox_relay::OutboxRelay,
        presence::{Presence, PresenceKeeper},
        queue_depths::QueueDepths,
        rates::Rates,
        room::{BatchSender, InMemory, Room},
        sampler::{self, Sampler},
        upsert::{Endpoints, Experience, GiveUpPolicy, UpsertWorker},
        wake_ups::WakeUps,
        webhook::{Channels, WebhookWorker},
    },
};

/// Maximum size of the webhooks of one process that worker 1 has committed and worker 2 has not taken, in bytes.
const REQUESTS_IN_MEMORY: usize = 16 << 20;

/// The names of the startup connections in `/readyz`.
const BROKER: &str = "broker";
const POSTGRES: &str = "postgres";

/// What a process can be started to do; without a choice it has all roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Worker 1 and the outbox relay.
    Upsert,
    /// Worker 2 and the outbox relay.
    Webhook,
    /// The collector of the broker's dead-letter queue, and operations on many dead letters or deliveries.
    DeadLetter,
    /// The console, the API, metrics and health checks over HTTP.
    Console,
}

/// The service in this process.
pub struct App {
    settings: Arc<Settings>,
    database: Database,
    /// The registration of the process must be renewed in time, so it does not share a connection.
    for_presence: Database,
    for_sampler: Database,
    roles: Vec<Role>,
    health: Health,
    metrics: Arc<Metrics>,
    traces: Traces,
    stop: CancellationToken,
    link: Option<OneTimeCode>,
}

impl App {
    /// Prepares the service with these roles, without connecting to anything.
    ///
    /// # Errors
    /// When `postgres.url` is not an address.
    pub fn new(settings: Settings, roles: &[Role]) -> anyhow::Result<Self> {
        let purpose = purpose(roles);
        let (database, for_presence) = Database::with_reserved(&settings.postgres, &purpose)
            .context("postgres.url is not an address")?;
        let for_sampler = Database::new(&sampler::settings(&settings.postgres), component::SAMPLER)
            .context("postgres.url is not an address")?;
        Ok(Self {
            settings: Arc::new(settings),
            database,
            for_presence,
            for_sampler,
            roles: roles.to_vec(),
            health: Health::default(),
            metrics: Metrics::new(),
            traces: Traces::default(),
            stop: CancellationToken::new(),
            link: None,
        })
    }

    /// Lets `/sign-in/once/<code>` open the console once.
    #[must_use]
    pub fn with_link(self, link: OneTimeCode) -> Self {
        Self { link: Some(link), ..self }
    }

    /// Ends the service when canceled, as a first signal does.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The health of the components.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Runs until the stop token or a signal, then drains within the grace period.
    ///
    /// # Errors
    /// When it cannot start, when a task exits unexpectedly, or when draining takes too long.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let exporter = self.prepare_traces()?;
        let start = async |tasks: &mut Tasks| {
            // A server: what others record while they end is exported, too.
            if let Some(exporter) = exporter {
                tasks.spawn_server("traces", |stop| exporter.run(stop));
            }
            self.start(tasks).await
        };
        let stopping = || self.health.stopping();
        lifecycle::run(&self.stop, self.settings.shutdown.grace, stopping, start).await
    }

    fn prepare_traces(&mut self) -> anyhow::Result<Option<otlp::Exporter>> {
        let namespace = &self.settings.amqp.namespace;
        let started = otlp::start(&self.settings.telemetry, namespace, &self.metrics)?;
        Ok(started.map(|(traces, exporter)| {
            self.traces = traces;
            exporter
        }))
    }

    async fn start(&self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let has = |role| self.roles.contains(&role);
        for component in self.roles.iter().flat_map(|&role| self.components(role)) {
            // The process is not ready until every component has reported.
            self.health.failing(&component, "starting");
        }
        if has(Role::Console) {
            self.watch();
            let (asking, depths) = QueueDepths::new(Arc::clone(&self.settings));
            tasks.spawn(component::QUEUE_DEPTHS, asking.run(self.stop.clone()));
            let (settings, metrics) = (Arc::clone(&self.settings), Arc::clone(&self.metrics));
            let (link, health, traces) = (self.link.as_ref(), self.health.clone(), self.traces.clone());
            let console = Console::bind(settings, link, health, depths, metrics, traces).await?;
            info!(address = %self.settings.http.bind, "serving http://{}", self.settings.http.bind);
            tasks.spawn_server("console", |stop| console.run(stop));
        }
        // Registered while the broker is awaited. The registration ends when the last component has dropped it.
        let presence =
            (has(Role::Upsert) || has(Role::Webhook)).then(|| self.start_presence(tasks, has(Role::Webhook)));
        tokio::try_join!(self.check_topology(), self.check_database())?;
        if has(Role::Console) {
            let (metrics, health) = (Arc::clone(&self.metrics), self.health.clone());
            let max_lag = self.settings.health.max_lag;
            let sampler = Sampler { database: self.for_sampler.clone(), metrics, health, max_lag };
            tasks.spawn(component::SAMPLER, sampler.run(self.stop.clone()));
        }
        if self.roles.iter().any(|role| *role != Role::Console) {
            let rates = Rates { database: self.database.clone(), metrics: Arc::clone(&self.metrics) };
            tasks.spawn(component::RATES, rates.run(self.stop.clone()));
        }
        if has(Role::DeadLetter) {
            let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
            let (metrics, traces) = (Arc::clone(&self.metrics), self.traces.clone());
            let health = self.health.clone();
            let collector = DeadLetterCollector { settings, database, health, metrics, traces };
            tasks.spawn(component::DEAD_LETTER_COLLECTOR, collector.run(self.stop.clone()));
            let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
            let (health, traces) = (self.health.clone(), self.traces.clone());
            let operations = Operations { settings, database, health, traces };
            tasks.spawn(component::OPERATIONS, operations.run(self.stop.clone()));
        }
        if let Some(presence) = presence
            // The first event is already judged by the database's clock.
            && self.stop.run_until_cancelled(presence.registered()).await == Some(true)
        {
            self.start_workers(tasks, presence)?;
        }
        Ok(())
    }

    /// Starts the workers, and what they share.
    fn start_workers(&self, tasks: &mut Tasks, presence: Presence) -> anyhow::Result<()> {
        let has = |role| self.roles.contains(&role);
        let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
        let maintenance = Maintenance { settings, database, health: self.health.clone() };
        tasks.spawn(component::MAINTENANCE, maintenance.run(self.stop.clone()));
        // The relay ends when the last worker has dropped its sender.
        let event_batches = self.start_relay(tasks, presence.clone());
        let room = Room::new(REQUESTS_IN_MEMORY);
        room.watch(&self.metrics, metrics::Room::Requests);
        let (sender, request_batches) = BatchSender::new(room);
        if has(Role::Upsert) {
            let sender = has(Role::Webhook).then_some(sender);
            self.start_upsert(tasks, &event_batches, sender.as_ref(), &presence);
        }
        if has(Role::Webhook) {
            self.start_webhook(tasks, request_batches, event_batches, presence)?;
        }
        Ok(())
    }

    /// The components of a role that report their health.
    fn components(&self, role: Role) -> Vec<String> {
        let shared = [component::OUTBOX_RELAY, component::PRESENCE, component::CLOCK, component::MAINTENANCE]
            .map(str::to_owned);
        match role {
            Role::Upsert => {
                (1..=self.settings.upsert.consumers).map(component::upsert_worker).chain(shared).collect()
            }
            Role::Webhook => {
                let workers = [component::WAKE_UPS, component::WEBHOOK_WORKER];
                workers.map(str::to_owned).into_iter().chain(shared).collect()
            }
            Role::DeadLetter => {
                [component::DEAD_LETTER_COLLECTOR, component::OPERATIONS].map(str::to_owned).into()
            }
            Role::Console => Vec::new(),
        }
    }

    /// Lets the metrics read the state of the process.
    fn watch(&self) {
        let health = self.health.clone();
        self.metrics.ready.watch((), move || Some(if health.is_ready() { 1.0 } else { 0.0 }));
        for (pool, database) in [
            (Pool::Workers, &self.database),
            (Pool::Presence, &self.for_presence),
            (Pool::Sampler, &self.for_sampler),
        ] {
            let counted = database.clone();
            self.metrics.watch_pool(pool, database.max_connections(), move || counted.connections());
        }
    }

    fn start_presence(&self, tasks: &mut Tasks, sends_webhooks: bool) -> Presence {
        let (keeper, presence) =
            PresenceKeeper::new(self.for_presence.clone(), self.health.clone(), sends_webhooks);
        tasks.spawn(component::PRESENCE, keeper.run());
        presence
    }

    fn start_relay(&self, tasks: &mut Tasks, presence: Presence) -> BatchSender<EventBatch> {
        let room = Room::new(self.settings.outbox.in_flight_bytes);
        room.watch(&self.metrics, metrics::Room::Outbox);
        let (sender, event_batches) = BatchSender::new(room.clone());
        let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
        let (health, metrics) = (self.health.clone(), Arc::clone(&self.metrics));
        let outbox = OutboxRelay::new(settings, database, event_batches, room, presence, health, metrics)
            .traced(self.traces.clone());
        tasks.spawn(component::OUTBOX_RELAY, outbox.run(self.stop.clone()));
        sender
    }

    fn start_upsert(
        &self,
        tasks: &mut Tasks,
        event_batches: &BatchSender<EventBatch>,
        request_batches: Option<&BatchSender<RequestBatch>>,
        presence: &Presence,
    ) {
        let compiler: Compiler = |compile| tokio::task::block_in_place(compile);
        let triggers = Arc::new(TriggerCache::new(self.settings.upsert.cache_bytes, compiler));
        for name in (1..=self.settings.upsert.consumers).map(component::upsert_worker) {
            let worker = UpsertWorker {
                rules: self.settings.rules(),
                triggers: Arc::clone(&triggers),
                endpoints: Endpoints::new(&self.settings.webhook),
                settings: Arc::clone(&self.settings),
                database: self.database.clone(),
                event_batches: event_batches.clone(),
                request_batches: request_batches.cloned(),
                presence: presence.clone(),
                experience: Experience::default(),
                give_up_policy: GiveUpPolicy::default(),
                health: self.health.clone(),
                metrics: Arc::clone(&self.metrics),
                traces: self.traces.clone(),
                name: name.clone(),
            };
            tasks.spawn(name, worker.run(self.stop.clone()));
        }
    }

    fn start_webhook(
        &self,
        tasks: &mut Tasks,
        request_batches: mpsc::UnboundedReceiver<InMemory<RequestBatch>>,
        event_batches: BatchSender<EventBatch>,
        presence: Presence,
    ) -> anyhow::Result<()> {
        let (worker, wake_ups) = mpsc::channel(1);
        let consumer = WakeUps {
            settings: Arc::clone(&self.settings),
            worker,
            health: self.health.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        tasks.spawn(component::WAKE_UPS, consumer.run(self.stop.clone()));
        let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
        let channels = Channels { request_batches, wake_ups, event_batches };
        let worker = WebhookWorker::new(
            settings,
            database,
            channels,
            presence,
            self.health.clone(),
            Arc::clone(&self.metrics),
            self.traces.clone(),
        )?;
        tasks.spawn(component::WEBHOOK_WORKER, worker.run(self.stop.clone()));
        Ok(())
    }

    /// Waits for the broker and declares the topology once, so that a queue with other arguments prevents the
    /// start instead of being retried forever.
    async fn check_topology(&self) -> anyhow::Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.declare().await {
                Ok(()) => {
                    self.health.ready(BROKER);
                    return Ok(());
                }
                Err(error)
                    if error.downcast_ref::<TopologyError>().is_some_and(TopologyError::is_permanent) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    let error = chain(error.as_ref());
                    warn!(error, "waiting for the broker");
                    self.health.failing(BROKER, error);
                }
            }
            if !backoff.wait(&self.stop).await {
                return Ok(());
            }
        }
    }

    /// Waits for the database and its migrations, and refuses a database or a connection that can never be used.
    async fn check_database(&self) -> anyhow::Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.database.check(true).await {
                Ok(()) => {
                    self.health.ready(POSTGRES);
                    return Ok(());
                }
                Err(error) if error.is_permanent() => return Err(error.into()),
                Err(error) => {
                    let error = chain(&error);
                    warn!(error, "waiting for the database");
                    self.health.failing(POSTGRES, error);
                }
            }
            if !backoff.wait(&self.stop).await {
                return Ok(());
            }
        }
    }

    async fn declare(&self) -> anyhow::Result<()> {
        let settings = &self.settings.amqp;
        let connection = amqp::connect(settings, "start").await?;
        Topology::new(&settings.namespace).declare_over(&connection, settings.connect_timeout).await?;
        Ok(())
    }
}

/// The roles in a fixed order, for the database's list of sessions: `upsert+webhook`.
fn purpose(roles: &[Role]) -> String {
    let variants = Role::value_variants().iter().filter(|role| roles.contains(role));
    let names = variants.filter_map(|role| Some(role.to_possible_value()?.get_name().to_owned()));
    names.collect::<Vec<_>>().join("+")
}
