//! One namespace and database for the real binary, and the parts that run on it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use contact_relay::{amqp::Topology, settings::Settings};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use sqlx::Connection as _;
use tokio::process::{Child, Command};

use crate::{
    load::Load,
    probe::{Measured, Probe},
    processes,
    world::World,
};

/// For a process to stop after SIGTERM; longer than its own `shutdown.grace`.
const STOP: Duration = Duration::from_mins(1);

/// For a process to take all events that wait.
const TAKE: Duration = Duration::from_mins(5);

/// The part of the service that a part measures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// From the queue of fired triggers until everything is committed and published.
    Upsert,
    /// From there until everything has reached the receiver.
    Webhook,
    /// Both in one process.
    Chain,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Upsert, Self::Webhook, Self::Chain];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Upsert => "worker 1",
            Self::Webhook => "worker 2",
            Self::Chain => "chain",
        }
    }

    const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Upsert => &["upsert"],
            Self::Webhook => &["webhook"],
            Self::Chain => &[],
        }
    }
}

pub(crate) struct Stage<'a> {
    world: &'a World,
    binary: PathBuf,
    name: String,
    settings: Settings,
    environment: Vec<(String, String)>,
    /// The number of the next event, so that no two are about the same new contact by accident.
    next: usize,
    /// Processes of each part.
    pub(crate) processes: usize,
}

impl<'a> Stage<'a> {
    /// A stage for this build.
    pub(crate) async fn new(world: &'a World, name: &str) -> anyhow::Result<Self> {
        Self::with(world, name, Self::own_binary(), &[]).await
    }

    /// The service of this build.
    pub(crate) fn own_binary() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_contact-relay"))
    }

    /// A new namespace and database with the schema of `binary`. `extra` are further settings, each with the end
    /// of its variable's name.
    pub(crate) async fn with(
        world: &'a World,
        name: &str,
        binary: &Path,
        extra: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let name = format!("bench_{name}");
        let settings = world.create_database(&name).await?;
        let queues = world.queues().await?;
        Topology::new(&name).declare(queues.channel()).await?;
        let url = settings.postgres.url.expose_secret();
        let always = [
            ("AMQP__URL", world.amqp_url()),
            ("AMQP__NAMESPACE", &name),
            ("POSTGRES__URL", url),
            ("WEBHOOK__ALLOW_HTTP", "true"),
            ("WEBHOOK__ALLOWED_NETWORKS", "127.0.0.0/8"),
            ("HTTP__BIND", "127.0.0.1:0"),
            ("LOG__FILTER", "error"),
        ];
        let set = |(key, value): &(&str, &str)| (format!("CONTACT_RELAY__{key}"), (*value).to_owned());
        let environment = always.iter().chain(extra).map(set).collect();
        let binary = binary.to_owned();
        let stage = Self { world, binary, name, settings, environment, next: 0, processes: 1 };
        let status = stage.command("migrate").status().await?;
        anyhow::ensure!(status.success(), "migrate ended with {status}");
        Ok(stage)
    }

    /// Removes its queues, exchanges and database.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let queues = self.world.queues().await?;
        let topology = self.topology();
        for queue in [topology.trigger_fired(), topology.webhook(), topology.dead_letters()] {
            queues.channel().queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in [topology.events(), topology.dead_letters()] {
            queues.channel().exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        self.world.drop_database(&self.name).await
    }

    /// Changes settings of the service, each given with the end of its variable's name.
    pub(crate) fn set(&mut self, settings: &[(&str, &str)]) {
        let set = |(key, value): &(&str, &str)| (format!("CONTACT_RELAY__{key}"), (*value).to_owned());
        self.environment.extend(settings.iter().map(set));
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) const fn amqp(&self) -> &contact_relay::settings::Amqp {
        &self.settings.amqp
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::new(&self.name)
    }

    /// A connection outside of the service's pool, which limits statements to seconds.
    pub(crate) async fn connect(&self) -> anyhow::Result<sqlx::PgConnection> {
        Ok(sqlx::PgConnection::connect(self.settings.postgres.url.expose_secret()).await?)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).envs(self.environment.iter().cloned()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Takes the numbers of `events` new events.
    pub(crate) fn numbers(&mut self, events: usize) -> Range<usize> {
        let first = self.next;
        // One event in five is about the contact four before it, so every range begins with a new contact.
        self.next += events.next_multiple_of(5);
        first..first + events
    }

    /// Publishes events and waits for every confirm.
    pub(crate) async fn preload(&mut self, load: &Load, events: usize) -> anyhow::Result<()> {
        let (exchange, numbers) = (self.topology().events(), self.numbers(events));
        load.publish(&self.settings.amqp, &exchange, "trigger.fired", numbers).await
    }

    /// Runs a part on what is already in its queue, until everything is done or `limit` is over.
    pub(crate) async fn run(
        &self,
        part: Part,
        events: usize,
        limit: Option<Duration>,
    ) -> anyhow::Result<Measured> {
        let queues = self.world.queues().await?;
        let queue = self.topology().webhook();
        if part == Part::Upsert {
            queues.purge(&queue).await?;
        } else {
            self.world.receiver().take().await?;
        }
        let probe = Probe::begin(self.world, &self.name).await?;
        let service = self.start(part)?;
        let progress = async || match part {
            Part::Upsert => queues.depth(&queue).await,
            Part::Webhook | Part::Chain => self.world.receiver().count().await,
        };
        let watched = probe.watch(&service.pids()?, events, limit, progress).await?;
        let peak_rss = service.memory("VmHWM")?;
        service.stop().await?;
        let mut measured = probe.end(watched).await?;
        measured.peak_rss = Some(peak_rss);
        Ok(measured)
    }

    /// Publishes events and runs a part on them. Worker 2 alone takes what worker 1 has left.
    pub(crate) async fn measure(
        &mut self,
        part: Part,
        load: &Load,
        events: usize,
    ) -> anyhow::Result<Measured> {
        if part != Part::Webhook {
            self.preload(load, events).await?;
        }
        self.run(part, events, None).await
    }

    /// Starts the processes of a part.
    pub(crate) fn start(&self, part: Part) -> anyhow::Result<Service> {
        let mut command = self.command("run");
        for role in part.roles() {
            command.args(["--role", role]);
        }
        let processes = (0..self.processes.max(1)).map(|_| command.spawn());
        Ok(Service(processes.collect::<Result<_, _>>()?))
    }

    /// Waits until the service has taken every event from its queue.
    pub(crate) async fn until_taken(&self) -> anyhow::Result<()> {
        let queues = self.world.queues().await?;
        let queue = self.topology().trigger_fired();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let empty = async {
            while queues.depth(&queue).await? > 0 {
                tick.tick().await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(TAKE, empty).await.context("the service did not take all events in time")?
    }
}

/// Running processes of the service.
pub(crate) struct Service(Vec<Child>);

impl Service {
    /// Stops the processes gracefully.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for pid in self.pids()? {
            kill_process(Pid::from_raw(i32::try_from(pid)?).context("a pid")?, Signal::TERM)?;
        }
        for process in &mut self.0 {
            let status = tokio::time::timeout(STOP, process.wait()).await.context("the service hangs")??;
            anyhow::ensure!(status.success(), "the service ended with {status}");
        }
        Ok(())
    }

    /// Kills the processes, and waits until they are gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        for process in &mut self.0 {
            process.kill().await?;
        }
        Ok(())
    }

    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.0.iter().map(|process| process.id().context("the service has ended")).collect()
    }

    /// Memory of the largest process, in bytes: `VmRSS` or `VmHWM`.
    pub(crate) fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let sizes = self.pids()?.into_iter().map(|pid| processes::memory(pid, name));
        Ok(sizes.collect::<anyhow::Result<Vec<u64>>>()?.into_iter().max().unwrap_or_default())
    }
}
