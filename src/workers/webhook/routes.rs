//! What a request to an endpoint is sent with, from the settings: secrets, deadline, TLS, and the rule by
//! which its outcome is judged.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::SetUpError;
use crate::{
    domain::webhook::{
        attempt::RetryRule,
        endpoint::{PerEndpoint, Profile},
        signature::{BadSecret, SigningSecret},
    },
    http_client::{self, HttpClient},
    settings::{EndpointRule, Webhook},
};

/// What is sent with, and judged by, for one endpoint or many.
pub(super) struct Route {
    pub(super) http: http_client::Route,
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) rule: RetryRule,
    profile: Option<Profile>,
}

impl Route {
    /// What the receiver at this address understands.
    pub(super) fn profile(&self, url: &str) -> Profile {
        self.profile.unwrap_or_else(|| Profile::of_url(url))
    }
}

/// The routes of all endpoints.
pub(super) struct Routes {
    special: PerEndpoint<Arc<Route>>,
    usual: Arc<Route>,
}

impl Routes {
    /// # Errors
    /// When a file cannot be read, the system has no CA certificates, or a signing secret is none.
    pub(super) fn new(settings: &Webhook) -> Result<Self, SetUpError> {
        let usual = Route {
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
                special.push((pattern, Arc::new(usual.with(entry)?)));
            }
        }
        Ok(Self { special: PerEndpoint::new(special), usual: Arc::new(usual) })
    }

    /// The route to an endpoint.
    pub(super) fn of(&self, company: &str, url: &str) -> Arc<Route> {
        Arc::clone(self.special.get(company, url).unwrap_or(&self.usual))
    }
}

impl Route {
    /// This one, with what the entry gives.
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
