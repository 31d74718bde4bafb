//! What a command needs before it starts: nothing, the settings, or the settings and the database. The type of its
//! function says which.

use std::path::PathBuf;

use anyhow::Context as _;

use super::exit::Exit;
use crate::{
    http_client::{HttpClient, SetUpError},
    postgres::{ConnectError, Database},
    settings::{self, Effective, EndpointRule, LoadError, Log, Origin, Settings},
    telemetry,
};

/// A parsed command line. Nothing has been read or connected yet.
pub(super) struct Start {
    pub(super) config: Option<PathBuf>,
    /// The name of the command, for the database's list of sessions.
    pub(super) command: &'static str,
}

impl Start {
    /// The settings, for a command that only looks at them.
    pub(super) fn settings(&self) -> Result<Effective, LoadError> {
        settings::load(self.config.as_deref(), std::env::vars_os())
    }

    /// The settings, after the files that they name have been read as well. A command that does not need those files works
    /// without them.
    pub(super) fn checked(&self) -> Result<Effective, LoadError> {
        settings::load_and_check(self.config.as_deref(), std::env::vars_os(), file_faults)
    }

    /// Runs a command that serves until it is stopped, with logs as `log.filter` says.
    pub(super) fn serving(
        &self,
        command: impl AsyncFnOnce(Effective) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        let effective = self.settings()?;
        let log = effective.settings.log.clone();
        block_on(&log, command(effective))
    }

    /// Runs a command that needs to know where each setting comes from.
    pub(super) fn looking(
        &self,
        command: impl AsyncFnOnce(&Effective) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        let effective = self.settings()?;
        block_on(&quiet(&effective), command(&effective))
    }

    /// Runs a command that needs the settings.
    pub(super) fn with_settings(
        &self,
        command: impl AsyncFnOnce(&Settings) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        let effective = self.settings()?;
        block_on(&quiet(&effective), command(&effective.settings))
    }

    /// Runs a command that needs the settings and the database, with any schema.
    pub(super) fn with_any_schema(
        &self,
        command: impl AsyncFnOnce(&Database, &Settings) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        self.with_settings(async |settings| {
            let database = Database::connect(&settings.postgres, self.command).await?;
            command(&database, settings).await
        })
    }

    /// Runs a command that needs the database, with all migrations, and the settings.
    pub(super) fn with_database(
        &self,
        command: impl AsyncFnOnce(&Database, &Settings) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        self.with_settings(async |settings| {
            let database = Database::new(&settings.postgres, self.command).map_err(ConnectError::Url)?;
            database.check(true).await?;
            command(&database, settings).await
        })
    }
}

/// What is wrong with the files of single endpoints.
fn file_faults(settings: &Settings) -> Vec<(&'static str, String)> {
    let has_file = |(_, rule): &(usize, &EndpointRule)| {
        rule.ca_file.is_some() || rule.client_certificate_file.is_some() || rule.client_key_file.is_some()
    };
    let entries = (1..).zip(&settings.webhook.endpoints).filter(has_file);
    let faults = entries.flat_map(|(entry, rule)| {
        let (certificate, key) = (rule.client_certificate_file.as_deref(), rule.client_key_file.as_deref());
        let faults = HttpClient::tls_faults(rule.ca_file.as_deref(), certificate, key);
        let text = move |fault: SetUpError| format!("entry {entry}: {}", telemetry::chain(&fault));
        faults.into_iter().map(move |fault| ("webhook.endpoints", text(fault)))
    });
    faults.collect()
}

/// A command that ends by itself reports its errors on standard error. The libraries' logs would only repeat
/// them or report slowness, so they are printed only when the operator sets a filter.
fn quiet(effective: &Effective) -> Log {
    let mut log = effective.settings.log.clone();
    if effective.entries.get("log.filter").is_some_and(|entry| entry.origin == Origin::Default) {
        "warn,lapin=off,sqlx=error".clone_into(&mut log.filter);
    }
    log
}

fn block_on(log: &Log, command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    // The one TLS provider of all clients. An error only means that it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    telemetry::init(log)?;
    telemetry::log_panics();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the async runtime")?
        .block_on(command)
}
