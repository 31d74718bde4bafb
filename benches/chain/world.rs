//! The private services and the receiver of one run.

use anyhow::Context as _;
use contact_relay::{
    amqp,
    dev::services::{Mode, Options, Services},
    settings::{self, Settings},
};
use lapin::{
    options::{QueueDeclareOptions, QueuePurgeOptions},
    types::FieldTable,
};
use secrecy::SecretString;
use sqlx::{Connection as _, PgConnection};

use crate::receiver::Receiver;

pub(crate) struct World {
    services: Services,
    settings: Settings,
    receiver: Receiver,
    versions: String,
}

impl World {
    /// Starts private services that keep their data: commits and confirms reach the disk as in production.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let binary = env!("CARGO_BIN_EXE_contact-relay").into();
        let options = Options { mode: Mode::Kept, fresh: true, ..Options::disposable(binary) };
        eprintln!("starting private services");
        let services = Services::start(options).await?;
        let url = |name: &str, value: &str| (format!("CONTACT_RELAY__{name}__URL").into(), value.into());
        let environment = [url("AMQP", services.amqp_url()), url("POSTGRES", services.postgres_url())];
        let settings = settings::load(None, environment)?.settings;
        let mut conn = PgConnection::connect(services.postgres_url()).await?;
        let postgres: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut conn).await?;
        let cores = std::thread::available_parallelism()?;
        let profile =
            if cfg!(debug_assertions) { ", without optimization: the figures mean nothing" } else { "" };
        let versions = format!("{cores} cores, Postgres {postgres}{profile}");
        Ok(Self { services, settings, receiver: Receiver::start().await?, versions })
    }

    /// Stops the services and removes their data.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let state = self.services.state().to_owned();
        self.services.stop().await?;
        Ok(std::fs::remove_dir_all(state)?)
    }

    /// What the figures depend on.
    pub(crate) fn versions(&self) -> &str {
        &self.versions
    }

    pub(crate) const fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    pub(crate) fn amqp_url(&self) -> &str {
        self.services.amqp_url()
    }

    /// URL of a database that no part uses.
    pub(crate) fn postgres_url(&self) -> &str {
        self.services.postgres_url()
    }

    /// Creates a database. Returns the settings for it, with the AMQP namespace of the same name.
    pub(crate) async fn create_database(&self, name: &str) -> anyhow::Result<Settings> {
        self.administer(format!("CREATE DATABASE \"{name}\"")).await?;
        let (server, _) = self.postgres_url().rsplit_once('/').context("a URL without a database")?;
        let mut settings = self.settings.clone();
        settings.postgres.url = SecretString::from(format!("{server}/{name}"));
        name.clone_into(&mut settings.amqp.namespace);
        Ok(settings)
    }

    /// Removes a database, so that neither its size nor its vacuum affects the next part. Postgres ends a vacuum that runs
    /// in it, and gives sessions that are about to end some seconds.
    pub(crate) async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        self.administer(format!("DROP DATABASE \"{name}\"")).await
    }

    async fn administer(&self, statement: String) -> anyhow::Result<()> {
        let mut conn = PgConnection::connect(self.postgres_url()).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut conn).await?;
        Ok(())
    }

    /// A channel for questions about queues.
    pub(crate) async fn queues(&self) -> anyhow::Result<Queues> {
        let connection = amqp::connect(&self.settings.amqp, "bench").await?;
        let channel = connection.create_channel().await?;
        Ok(Queues { channel, _connection: connection })
    }
}

/// Looks at queues.
pub(crate) struct Queues {
    channel: lapin::Channel,
    _connection: amqp::Connection,
}

impl Queues {
    /// Messages that wait, without those that a consumer has and has not acknowledged.
    pub(crate) async fn depth(&self, queue: &str) -> anyhow::Result<usize> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let state = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok(state.message_count() as usize)
    }

    pub(crate) async fn purge(&self, queue: &str) -> anyhow::Result<()> {
        self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    pub(crate) const fn channel(&self) -> &lapin::Channel {
        &self.channel
    }
}
