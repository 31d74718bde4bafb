//! One namespace and database for the real binary, and its measurements.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use contact_relay::{
    amqp::{self, Topology},
    dev::services::Services,
    postgres::Database,
    settings::Settings,
};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::Connection as _;
use tokio::process::{Child, Command};

use crate::{load, receiver::Receiver};

/// The measurements of one part of the benchmark.
pub(crate) struct Measured {
    pub(crate) events: usize,
    elapsed: Duration,
    /// CPU time of the service's process.
    pub(crate) cpu: Option<Duration>,
    /// Peak resident memory of the service's process, in bytes.
    pub(crate) peak_rss: Option<u64>,
}

impl Measured {
    pub(crate) fn of(events: usize, elapsed: Duration) -> Self {
        Self { events, elapsed, cpu: None, peak_rss: None }
    }

    /// Events per second.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }
}

pub(crate) struct Stage {
    binary: PathBuf,
    settings: Settings,
    environment: Vec<(String, String)>,
}

impl Stage {
    /// A new namespace and database with the schema of `binary`.
    pub(crate) async fn new(
        base: &Settings,
        services: &Services,
        binary: &Path,
        name: &str,
    ) -> anyhow::Result<Self> {
        let admin = Database::new(&base.postgres)?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(admin.pool()).await?;
        let mut settings = base.clone();
        let (server, _) =
            services.postgres_url().rsplit_once('/').context("an address ends in a database")?;
        let url = format!("{server}/{name}");
        settings.postgres.url = SecretString::from(url.as_str());
        settings.amqp.namespace = format!("bench-{name}");
        let connection = amqp::connect(&settings.amqp, "bench").await?;
        let channel = connection.create_channel().await?;
        Topology::new(&settings.amqp.namespace).declare(&channel).await?;
        let set = |key: &str, value: &str| (format!("CONTACT_RELAY__{key}"), value.to_owned());
        let environment = vec![
            set("AMQP__URL", services.amqp_url()),
            set("AMQP__NAMESPACE", &settings.amqp.namespace),
            set("POSTGRES__URL", &url),
            set("WEBHOOK__ALLOW_HTTP", "true"),
            set("WEBHOOK__ALLOWED_NETWORKS", "127.0.0.0/8"),
            set("HTTP__BIND", "127.0.0.1:0"),
            set("LOG__FILTER", "warn"),
        ];
        let stage = Self { binary: binary.to_owned(), settings, environment };
        let status = stage.command("migrate").status().await?;
        anyhow::ensure!(status.success(), "migrate ended with {status}");
        Ok(stage)
    }

    /// The settings of its processes.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Stores contacts as events would; the `n`th has the identifiers of [`load::stored`].
    pub(crate) async fn store_contacts(&self, contacts: usize) -> anyhow::Result<()> {
        // Outside the service's pool, which limits statements to seconds.
        let mut conn = sqlx::PgConnection::connect(self.settings.postgres.url.expose_secret()).await?;
        for statement in [
            "INSERT INTO contacts (company_id, contact_id, version, name, phone, email, company, provenance,
                 created_at, updated_at, phones, emails)
             SELECT 'bench', gen_random_uuid(), 1, 'Lead ' || n, '+55219' || lpad(n::text, 8, '0'),
                 'stored-' || n || '@customers.example', 'Analytical Engines',
                 '{\"events\": [{\"time\": 1767225600000000, \"id\": \"e\", \"source\": \"/s\", \"step\": 1}],
                   \"fields\": {\"name\": 0, \"phone\": 0, \"email\": 0, \"company\": 0}}',
                 '2026-01-01', '2026-01-01', ARRAY['+55219' || lpad(n::text, 8, '0')],
                 ARRAY['stored-' || n || '@customers.example']
             FROM generate_series(0, $1 - 1) AS n",
            "INSERT INTO contact_identifiers SELECT company_id, 'phone', phone, contact_id FROM contacts WHERE $1 > 0",
            "INSERT INTO contact_identifiers SELECT company_id, 'email', email, contact_id FROM contacts WHERE $1 > 0",
        ] {
            sqlx::query(statement).bind(i64::try_from(contacts)?).execute(&mut conn).await?;
        }
        sqlx::query("VACUUM ANALYZE").execute(&mut conn).await?;
        Ok(())
    }

    /// Publishes events. One in five is about one of `contacts` stored contacts.
    pub(crate) async fn preload_about_stored(&self, events: usize, contacts: usize) -> anyhow::Result<()> {
        let topology = Topology::new(&self.settings.amqp.namespace);
        load::publish_about_stored(&self.settings, &topology.events(), events, contacts).await
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).envs(self.environment.iter().cloned()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) async fn preload(&self, receiver: &Receiver, events: usize) -> anyhow::Result<()> {
        let topology = Topology::new(&self.settings.amqp.namespace);
        load::publish(&self.settings, &topology.events(), "trigger.fired", &receiver.url, 0..events).await
    }

    /// Runs worker 1 until everything is committed and published.
    pub(crate) async fn upsert_alone(&self, events: usize) -> anyhow::Result<Measured> {
        let (service, began) = self.start(&["upsert"])?;
        let queue = Topology::new(&self.settings.amqp.namespace).webhook();
        self.until_depth(&queue, |depth| depth >= events).await?;
        service.end(events, began.elapsed()).await
    }

    /// Runs worker 2 until everything has reached the receiver.
    pub(crate) async fn webhook_alone(&self, receiver: &Receiver, events: usize) -> anyhow::Result<Measured> {
        receiver.reset().await?;
        let (service, began) = self.start(&["webhook"])?;
        receiver.wait_for(events).await?;
        service.end(events, began.elapsed()).await
    }

    /// Runs all roles until everything has reached the receiver.
    pub(crate) async fn chain(&self, receiver: &Receiver, events: usize) -> anyhow::Result<Measured> {
        receiver.reset().await?;
        let (service, began) = self.start(&[])?;
        receiver.wait_for(events).await?;
        service.end(events, began.elapsed()).await
    }

    /// Measures resident memory when idle, and the latency of steadily published events.
    pub(crate) async fn latency(
        &self,
        receiver: &Receiver,
        rate: u32,
        seconds: u32,
    ) -> anyhow::Result<(u64, Vec<Duration>)> {
        let (service, _) = self.start(&[])?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle = service.status("VmRSS:")?;
        receiver.reset().await?;
        let topology = Topology::new(&self.settings.amqp.namespace);
        let mut publisher = amqp::Publisher::connect(&self.settings.amqp, "load").await?;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
        let events = (rate * seconds) as usize;
        for number in 0..events {
            tick.tick().await;
            let body = load::event(10_000_000 + number, &receiver.url);
            let message = load::message(&topology.events(), "trigger.fired", body);
            for sent in publisher.publish(&[message]).await? {
                sent?;
            }
        }
        receiver.wait_for(events).await?;
        service.end(events, Duration::from_secs(1)).await?;
        Ok((idle, receiver.delays().await?))
    }

    /// Measures the peak resident memory of all roles started on a full queue.
    pub(crate) async fn peak_rss(&self, time: Duration) -> anyhow::Result<u64> {
        let (service, _) = self.start(&[])?;
        tokio::time::sleep(time).await;
        let peak = service.status("VmHWM:")?;
        service.end(0, time).await?;
        Ok(peak)
    }

    fn start(&self, roles: &[&str]) -> anyhow::Result<(Service, Instant)> {
        let mut command = self.command("run");
        for role in roles {
            command.args(["--role", role]);
        }
        let began = Instant::now();
        Ok((Service(command.spawn()?), began))
    }

    async fn until_depth(&self, queue: &str, reached: impl Fn(usize) -> bool) -> anyhow::Result<()> {
        let connection = amqp::connect(&self.settings.amqp, "bench").await?;
        let channel = connection.create_channel().await?;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
            let state = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            if reached(state.message_count() as usize) {
                return Ok(());
            }
        }
    }
}

/// A running process of the service.
struct Service(Child);

impl Service {
    /// Reads the measurements and stops the process gracefully.
    async fn end(mut self, events: usize, elapsed: Duration) -> anyhow::Result<Measured> {
        let cpu = self.cpu()?;
        let peak_rss = self.status("VmHWM:")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()?)?).context("a pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.0.wait().await?;
        anyhow::ensure!(status.success(), "the service ended with {status}");
        Ok(Measured { cpu: Some(cpu), peak_rss: Some(peak_rss), ..Measured::of(events, elapsed) })
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.0.id().context("the service has ended")
    }

    /// User and system time, from /proc/PID/stat (proc(5), fields 14 and 15, in 1/100 s).
    fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let (_, fields) = stat.rsplit_once(')').context("a stat line")?;
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// A line of /proc/PID/status, given in kB, in bytes.
    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1000)
    }
}
