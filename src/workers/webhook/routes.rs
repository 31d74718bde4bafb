//! The settings that apply to the requests of an endpoint: deadline, TLS, signing secrets, retry rule, profile.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    domain::webhook::{
        attempt::RetryRule,
        endpoint::{PerEndpoint, Profile},
        signature::{BadSecret, SigningSecret},
    },
    http_client::{self, HttpClient},
    settings::{EndpointRule, Webhook},
};

/// Why a route cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The system has no CA certificates, or a TLS file is not usable.
    #[error(transparent)]
    Http(#[from] http_client::SetUpError),
    /// A signing secret cannot sign.
    #[error("a signing secret in webhook.signing_secrets or webhook.endpoints is not usable")]
    Secret(#[from] BadSecret),
}

/// The settings of one endpoint, or of all that share them.
pub(super) struct Route {
    pub(super) http: http_client::Route,
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) rule: RetryRule,
    profile: Option<Profile>,
}

impl Route {
    /// The profile that the settings name, otherwise the one that the URL suggests.
    pub(super) fn profile(&self, url: &str) -> Profile {
        self.profile.unwrap_or_else(|| Profile::of_url(url))
    }
}

/// The routes of all endpoints.
pub(super) struct Routes {
    /// Endpoints with an entry of their own in `webhook.endpoints`.
    special: PerEndpoint<Arc<Route>>,
    default: Arc<Route>,
}

impl Routes {
    /// Reads TLS files and signing secrets.
    ///
    /// # Errors
    /// When a file cannot be read, the system has no CA certificates, or a signing secret is not usable.
    pub(super) fn new(settings: &Webhook) -> Result<Self, SetUpError> {
        let default = Route {
            http: http_client::Route { timeout: settings.timeout, tls: HttpClient::tls(None, None, None)? },
            secrets: secrets(&settings.signing_secrets)?,
            rule: RetryRule {
                schedule: settings.retry_schedule.clone(),
                jitter: settings.retry_jitter,
                max_age: settings.max_age,
                retry_statuses: Vec::new(),
                dead_statuses: Vec::new(),
            },
            profile: None,
        };
        let mut special = Vec::with_capacity(settings.endpoints.len());
        for entry in &settings.endpoints {
            if let Some(pattern) = entry.pattern() {
                special.push((pattern, Arc::new(default.with(entry)?)));
            }
        }
        Ok(Self { special: PerEndpoint::new(special), default: Arc::new(default) })
    }

    /// The route of an endpoint, by company and URL.
    pub(super) fn of(&self, company: &str, url: &str) -> Arc<Route> {
        Arc::clone(self.special.get(company, url).unwrap_or(&self.default))
    }
}

impl Route {
    /// This route, overridden by an entry of `webhook.endpoints`.
    fn with(&self, entry: &EndpointRule) -> Result<Self, SetUpError> {
        let own_tls = entry.ca_file.is_some() || entry.client_certificate_file.is_some();
        let tls = if own_tls {
            let (certificate, key) =
                (entry.client_certificate_file.as_deref(), entry.client_key_file.as_deref());
            HttpClient::tls(entry.ca_file.as_deref(), certificate, key)?
        } else {
            self.http.tls.clone()
        };
        Ok(Self {
            http: http_client::Route { timeout: entry.timeout().unwrap_or(self.http.timeout), tls },
            secrets: match &entry.signing_secrets {
                Some(own) => secrets(own)?,
                None => self.secrets.clone(),
            },
            rule: RetryRule {
                schedule: entry.retry_schedule().unwrap_or_else(|| self.rule.schedule.clone()),
                retry_statuses: entry.retry_statuses().to_vec(),
                dead_statuses: entry.dead_statuses().to_vec(),
                ..self.rule.clone()
            },
            profile: entry.profile(),
        })
    }
}

fn secrets(texts: &[SecretString]) -> Result<Vec<SigningSecret>, BadSecret> {
    texts.iter().map(|text| SigningSecret::parse(text.expose_secret())).collect()
}
