//! The settings that apply to an endpoint, without secrets.

use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::{domain::webhook::signature::SigningSecret, settings::Webhook};

/// One signature of each request, with the public part of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// `v1` (HMAC-SHA256) or `v1a` (ed25519).
    pub version: &'static str,
    /// The key with which receivers verify `v1a`, as `whpk_…`. A shared secret has none.
    pub public_key: Option<String>,
}

impl Signing {
    fn new(secret: &SigningSecret) -> Self {
        Self { version: secret.version(), public_key: secret.public_key() }
    }
}

/// The settings that apply to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// How requests are written and responses are read: `plain` or `slack`.
    pub profile: &'static str,
    /// Maximum number of concurrent requests of all processes.
    pub max_in_flight: u32,
    /// Minimum time between two requests of all processes, in milliseconds; `None` without a limit.
    pub send_interval_ms: Option<u64>,
    /// Maximum duration of an attempt, in milliseconds.
    pub timeout_ms: u64,
    /// The waits after the first attempt and after each further one, in milliseconds.
    pub retry_schedule_ms: Vec<u64>,
    /// Statuses that are retried, although the default rule would not.
    pub retry_statuses: Vec<u16>,
    /// Statuses that are not retried, although the default rule would.
    pub dead_statuses: Vec<u16>,
    /// The signatures of its requests, in the order of the secrets; empty if they are not signed.
    pub signing: Vec<Signing>,
    /// Whether an older version of a contact is superseded by a newer one.
    pub newest_only: bool,
    /// How long deliveries wait to be combined into a digest, in milliseconds.
    pub digest_window_ms: Option<u64>,
    /// A file with additional CA certificates.
    pub ca_file: Option<String>,
    /// The file of the client certificate.
    pub client_certificate_file: Option<String>,
}

impl Terms {
    /// The settings for the endpoint of `company` with this address.
    #[must_use]
    pub fn of(settings: &Webhook, company: &str, url: &str) -> Self {
        let endpoint = settings.endpoint(company, url);
        let terms = settings.terms().of(company, url);
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // Loading the settings has reported invalid ones.
        let secrets = endpoint
            .signing_secrets
            .iter()
            .filter_map(|text| SigningSecret::parse(text.expose_secret()).ok());
        let path = |file: Option<&std::path::Path>| file.map(|file| file.display().to_string());
        Self {
            profile: terms.profile.into(),
            max_in_flight: terms.max_in_flight,
            send_interval_ms: terms.send_interval.map(ms),
            timeout_ms: ms(endpoint.timeout),
            retry_schedule_ms: endpoint.retry.schedule.iter().copied().map(ms).collect(),
            retry_statuses: endpoint.retry.retry_statuses,
            dead_statuses: endpoint.retry.dead_statuses,
            signing: secrets.map(|secret| Signing::new(&secret)).collect(),
            newest_only: terms.newest_only,
            digest_window_ms: terms.digest_window.map(ms),
            ca_file: path(endpoint.ca_file),
            client_certificate_file: path(endpoint.client_certificate_file),
        }
    }
}
