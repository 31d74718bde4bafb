//! The composition root: settings to pool, workers, console; start, stop, and the signals between.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    amqp::{self, Topology, TopologyError},
    console::Console,
    domain::{
        chain::{outgoing::OutgoingEvent, rules::Rules},
        contact::placeholder::Placeholders,
    },
    health::Health,
    postgres::Database,
    settings::Settings,
    telemetry::chain,
    workers::{
        backoff::Backoff,
        dead_letter_collector::{self, DeadLetterCollector},
        outbox_relay::{self, OutboxRelay},
        upsert::{Endpoints, UpsertWorker},
        wake_ups::{self, WakeUps},
        webhook::{self, WebhookWorker},
    },
};

/// A part of the service that a process may run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Worker 1 and the outbox relay.
    Upsert,
    /// Worker 2 and the outbox relay.
    Webhook,
    /// The collector of the broker's dead-letter queue.
    DeadLetter,
    /// HTTP: health, and what operators use.
    Console,
}

impl Role {
    /// All roles: what a process runs when none is named.
    pub const ALL: [Self; 4] = [Self::Upsert, Self::Webhook, Self::DeadLetter, Self::Console];
}

/// The service in this process.
pub struct App {
    settings: Arc<Settings>,
    database: Database,
    health: Health,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl App {
    /// Prepares the service; nothing is connected yet.
    ///
    /// # Errors
    /// When `postgres.url` is no address.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let database = Database::new(&settings.postgres).context("postgres.url is not an address")?;
        Ok(Self {
            settings: Arc::new(settings),
            database,
            health: Health::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        })
    }

    /// Ends the service when cancelled, as a first signal does.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// What the parts say of themselves.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Runs the roles until the stop token or a signal, then drains within the grace period.
    ///
    /// # Errors
    /// When it cannot start, when a part ended by itself, or when draining took too long.
    pub async fn run(mut self, roles: &[Role]) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let stop = self.stop.clone();
        let outcome = tokio::select! {
            () = signals.next() => Ok(()),
            () = stop.cancelled() => Ok(()),
            outcome = self.work(roles) => outcome,
        };
        let grace = self.settings.shutdown.grace;
        info!(grace_ms = grace.as_millis(), "stopping: the work in hand is finished first");
        stop.cancel();
        tokio::select! {
            drained = timeout(grace, self.drain()) => drained.context("work in hand outlasted shutdown.grace; it will be taken up again")?,
            () = signals.next() => anyhow::bail!("a second signal ended the process at once"),
        }
        info!("stopped");
        outcome
    }

    /// Starts the roles; returns only with an error.
    async fn work(&mut self, roles: &[Role]) -> anyhow::Result<()> {
        self.start(roles).await?;
        let ended = self.tasks.join_next().await;
        tell_of(ended);
        anyhow::bail!("a part of the service ended by itself")
    }

    async fn start(&mut self, roles: &[Role]) -> anyhow::Result<()> {
        let has = |role| roles.contains(&role);
        for part in roles.iter().flat_map(|&role| self.parts(role)) {
            // Not ready before every part has reported.
            self.health.failing(&part, "starting");
        }
        if has(Role::Console) {
            let console = Console::bind(self.settings.http.bind, self.health.clone()).await?;
            info!(address = %self.settings.http.bind, "serving http://{}", self.settings.http.bind);
            self.tasks.spawn(console.run(self.stop.clone()));
        }
        self.check_topology().await?;
        if has(Role::Upsert) || has(Role::Webhook) {
            // It ends with the last worker that has something to publish.
            let relay = self.start_relay();
            if has(Role::Upsert) {
                self.start_upsert(&relay);
            }
            if has(Role::Webhook) {
                self.start_webhook(relay)?;
            }
        }
        if has(Role::DeadLetter) {
            let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
            let collector = DeadLetterCollector { settings, database, health: self.health.clone() };
            self.tasks.spawn(collector.run(self.stop.clone()));
        }
        Ok(())
    }

    /// What a role reports as.
    fn parts(&self, role: Role) -> Vec<String> {
        match role {
            Role::Upsert => (1..=self.settings.upsert.consumers)
                .map(upsert_worker)
                .chain([outbox_relay::PART.to_owned()])
                .collect(),
            Role::Webhook => [wake_ups::PART, webhook::PART, outbox_relay::PART].map(str::to_owned).to_vec(),
            Role::DeadLetter => vec![dead_letter_collector::PART.to_owned()],
            Role::Console => Vec::new(),
        }
    }

    fn start_relay(&mut self) -> mpsc::Sender<Vec<OutgoingEvent>> {
        let (relay, committed) = mpsc::channel(8);
        let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
        let outbox = OutboxRelay { settings, database, committed, health: self.health.clone() };
        self.tasks.spawn(outbox.run(self.stop.clone()));
        relay
    }

    fn start_upsert(&mut self, relay: &mpsc::Sender<Vec<OutgoingEvent>>) {
        for number in 1..=self.settings.upsert.consumers {
            let worker = UpsertWorker {
                rules: rules(&self.settings),
                endpoints: Endpoints::new(&self.settings.webhook),
                settings: Arc::clone(&self.settings),
                database: self.database.clone(),
                relay: relay.clone(),
                health: self.health.clone(),
                name: upsert_worker(number),
            };
            self.tasks.spawn(worker.run(self.stop.clone()));
        }
    }

    fn start_webhook(&mut self, relay: mpsc::Sender<Vec<OutgoingEvent>>) -> anyhow::Result<()> {
        let (worker, wake_ups) = mpsc::channel(1);
        let consumer = WakeUps { settings: Arc::clone(&self.settings), worker, health: self.health.clone() };
        self.tasks.spawn(consumer.run(self.stop.clone()));
        let (settings, database) = (Arc::clone(&self.settings), self.database.clone());
        let worker = WebhookWorker::new(settings, database, wake_ups, relay, self.health.clone())?;
        self.tasks.spawn(worker.run(self.stop.clone()));
        Ok(())
    }

    /// Waits for the broker and declares the topology once, so that a mismatch refuses the start
    /// instead of going round in a loop.
    async fn check_topology(&self) -> anyhow::Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.declare().await {
                Ok(()) => {
                    self.health.ready("broker");
                    return Ok(());
                }
                Err(error)
                    if error.downcast_ref::<TopologyError>().is_some_and(TopologyError::is_mismatch) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    let error = chain(error.as_ref());
                    warn!(error, "waiting for the broker");
                    self.health.failing("broker", error);
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

    async fn drain(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            tell_of(Some(ended));
        }
    }
}

fn upsert_worker(number: usize) -> String {
    format!("upsert-{number}")
}

fn tell_of(ended: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = ended {
        error!(panicked = error.is_panic(), "a part of the service did not end in order");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The rules of planning that these settings make.
#[must_use]
pub fn rules(settings: &Settings) -> Rules {
    Rules {
        default_max_interactions: settings.chain.default_max_interactions,
        regions: settings.contacts.regions().into(),
        on_unidentified: settings.contacts.on_unidentified,
        max_value_length: settings.contacts.max_value_length,
        placeholders: Placeholders::new(&settings.placeholders).into(),
    }
}
