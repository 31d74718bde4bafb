//! The typed settings. `settings::load` reads and checks them. `config/default.toml`, which is embedded in the binary,
//! describes every key. A wrong value is refused, never replaced by a default.

mod endpoints;
mod load;
mod types;
mod validate;

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::domain::{
    chain::rules::Rules,
    contact::{
        directory::{Guards, Policy},
        placeholder::Placeholders,
    },
    value::phone::Regions,
    webhook::egress::{self, AllowedNetwork},
};

pub use endpoints::{EndpointRule, EndpointSettings};

pub use crate::domain::webhook::terms::EndpointTerms;
pub use load::{DEFAULTS, Effective, Entry, Fault, LoadError, Origin, load, load_and_check};
pub use types::{
    CompanyRegion, HttpToken, LogFormat, MIN_TOKEN, OnConflict, OnUnidentified, PlaceholderLists, Region,
    Role, SynchronousCommit,
};

/// Every setting of a process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Settings {
    pub amqp: Amqp,
    pub postgres: Postgres,
    pub upsert: Upsert,
    pub chain: Chain,
    pub contacts: Contacts,
    pub placeholders: PlaceholderLists,
    pub events: Events,
    pub outbox: Outbox,
    pub webhook: Webhook,
    pub dead_letter: DeadLetter,
    pub retention: Retention,
    pub http: Http,
    pub health: Health,
    pub log: Log,
    pub telemetry: Telemetry,
    pub shutdown: Shutdown,
}

impl Settings {
    /// The rules for planning a chain.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            default_max_interactions: self.chain.default_max_interactions,
            regions: self.contacts.regions().into(),
            on_unidentified: self.contacts.on_unidentified,
            max_value_length: self.contacts.max_value_length,
            placeholders: Placeholders::new(&self.placeholders).into(),
        }
    }
}

/// Section `[amqp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Amqp {
    pub url: SecretString,
    pub namespace: String,
    #[serde(deserialize_with = "types::duration")]
    pub heartbeat: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub connect_timeout: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub publish_timeout: Duration,
    pub prefetch_bytes: usize,
    pub reply_queues: Vec<String>,
    pub management_url: SecretString,
}

/// Section `[postgres]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Postgres {
    pub url: SecretString,
    pub max_connections: u32,
    #[serde(deserialize_with = "types::duration")]
    pub acquire_timeout: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub statement_timeout: Duration,
    #[serde(deserialize_with = "types::by_name")]
    pub synchronous_commit: SynchronousCommit,
}

/// Section `[upsert]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Upsert {
    pub consumers: usize,
    pub batch_size: usize,
    pub batch_bytes: usize,
    pub decoded_bytes: usize,
    pub rendered_bytes: usize,
    pub cache_bytes: usize,
}

/// Section `[chain]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Chain {
    pub default_max_interactions: u32,
}

/// Section `[contacts]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Contacts {
    pub default_region: Region,
    pub regions: Vec<CompanyRegion>,
    #[serde(deserialize_with = "types::by_name")]
    pub on_conflict: OnConflict,
    #[serde(deserialize_with = "types::by_name")]
    pub on_unidentified: OnUnidentified,
    pub max_value_length: usize,
    pub max_identifiers: usize,
    pub suppression_pepper: SecretString,
}

impl Contacts {
    /// The rules that decide when two contacts are one person.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        Policy {
            on_conflict: self.on_conflict,
            guards: Some(Guards { max_identifiers: self.max_identifiers }),
        }
    }

    /// The region of each company.
    #[must_use]
    pub fn regions(&self) -> Regions {
        let by_company = self.regions.iter().map(|entry| (entry.company.clone(), entry.region));
        Regions::new(self.default_region, by_company)
    }
}

/// Section `[events]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Events {
    pub source: String,
    pub include_identity: bool,
    #[serde(deserialize_with = "types::duration")]
    pub max_clock_skew: Duration,
}

/// Section `[outbox]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Outbox {
    #[serde(deserialize_with = "types::duration")]
    pub retry_interval: Duration,
    pub in_flight_bytes: usize,
    #[serde(deserialize_with = "types::duration")]
    pub lease: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub sweep_interval: Duration,
}

/// Section `[webhook]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Webhook {
    pub concurrency: usize,
    pub queue_bytes: usize,
    pub max_in_flight: u32,
    #[serde(deserialize_with = "types::duration")]
    pub timeout: Duration,
    #[serde(deserialize_with = "types::durations")]
    pub retry_schedule: Vec<Duration>,
    pub retry_jitter: f64,
    #[serde(deserialize_with = "types::duration")]
    pub max_age: Duration,
    pub breaker_failures: u32,
    #[serde(deserialize_with = "types::duration")]
    pub breaker_after: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub breaker_wait: Duration,
    pub allow_http: bool,
    pub allowed_ports: Vec<u16>,
    pub allowed_networks: Vec<AllowedNetwork>,
    pub signing_secrets: Vec<SecretString>,
    #[serde(deserialize_with = "types::duration")]
    pub poll_interval: Duration,
    pub endpoints: Vec<EndpointRule>,
}

impl Webhook {
    /// The retry schedules: the general one, and those of single endpoints.
    #[must_use]
    pub fn retry_schedules(&self) -> Vec<Vec<Duration>> {
        let own = self.endpoints.iter().filter_map(EndpointRule::retry_schedule);
        std::iter::once(self.retry_schedule.clone()).chain(own).collect()
    }

    /// Where webhooks may go according to the settings. `own`, the service's own addresses, is left empty.
    #[must_use]
    pub fn egress(&self) -> egress::Policy {
        egress::Policy {
            allow_http: self.allow_http,
            allowed_ports: self.allowed_ports.clone(),
            allowed_networks: self.allowed_networks.clone(),
            own: Vec::new(),
        }
    }
}

/// Section `[dead_letter]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct DeadLetter {
    pub batch_size: usize,
    pub max_replays: u32,
}

/// Section `[retention]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Retention {
    #[serde(deserialize_with = "types::duration")]
    pub deliveries: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub attempts: Duration,
    #[serde(deserialize_with = "types::duration")]
    pub dead_letters: Duration,
    #[serde(deserialize_with = "types::optional_duration")]
    pub history: Option<Duration>,
}

/// Section `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Http {
    pub bind: SocketAddr,
    pub hosts: Vec<String>,
    pub tokens: Vec<HttpToken>,
}

/// Section `[health]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Health {
    #[serde(deserialize_with = "types::duration")]
    pub max_lag: Duration,
}

/// Section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Log {
    #[serde(deserialize_with = "types::by_name")]
    pub format: LogFormat,
    pub filter: String,
}

/// Section `[telemetry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Telemetry {
    pub otlp_endpoint: String,
    pub otlp_headers: Vec<SecretString>,
    pub sample_ratio: f64,
}

impl Telemetry {
    /// Where spans are sent; `None` if nowhere.
    #[must_use]
    pub fn traces_url(&self) -> Option<String> {
        let mut url = Url::parse(&self.otlp_endpoint).ok()?;
        if url.path() == "/" {
            url.set_path("/v1/traces");
        }
        Some(url.into())
    }
}

/// Section `[shutdown]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct Shutdown {
    #[serde(deserialize_with = "types::duration")]
    pub grace: Duration,
}
