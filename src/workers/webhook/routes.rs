//! The settings that apply to the requests of an endpoint: deadline, TLS, signing secrets, retry rule, profile.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    domain::webhook::{
        attempt::RetryRule,
        endpoint::{PerEndpoint, Profile},
        signature::{BadSecret, SigningSecret},
    },
    http_client::{self, HttpClient, TlsSetup},
    settings::{EndpointSettings, Webhook},
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

    fn new(endpoint: &EndpointSettings<'_>, tls: TlsSetup) -> Result<Self, SetUpError> {
        Ok(Self {
            http: http_client::Route { timeout: endpoint.timeout, tls },
            secrets: secrets(endpoint.signing_secrets)?,
            rule: endpoint.retry.clone(),
            profile: endpoint.profile,
        })
    }
}

/// The routes of all endpoints.
pub(super) struct Routes {
    /// Endpoints with their own entry in `webhook.endpoints`.
    special: PerEndpoint<Arc<Route>>,
    default: Arc<Route>,
}

impl Routes {
    /// Reads TLS files and signing secrets.
    ///
    /// # Errors
    /// When a file cannot be read, the system has no CA certificates, or a signing secret is not usable.
    pub(super) fn new(settings: &Webhook) -> Result<Self, SetUpError> {
        let default = Route::new(&settings.default_endpoint(), HttpClient::tls(None, None, None)?)?;
        let mut special = Vec::with_capacity(settings.endpoints.len());
        for (pattern, endpoint) in settings.special_endpoints() {
            let (certificate, key) = (endpoint.client_certificate_file, endpoint.client_key_file);
            let tls = if endpoint.ca_file.is_some() || certificate.is_some() {
                HttpClient::tls(endpoint.ca_file, certificate, key)?
            } else {
                default.http.tls.clone()
            };
            special.push((pattern, Arc::new(Route::new(&endpoint, tls)?)));
        }
        Ok(Self { special: PerEndpoint::new(special), default: Arc::new(default) })
    }

    /// The route of an endpoint, by company and URL.
    pub(super) fn of(&self, company: &str, url: &str) -> Arc<Route> {
        Arc::clone(self.special.get(company, url).unwrap_or(&self.default))
    }
}

fn secrets(texts: &[SecretString]) -> Result<Vec<SigningSecret>, BadSecret> {
    texts.iter().map(|text| SigningSecret::parse(text.expose_secret())).collect()
}
