//! Endpoints: look, pause, resume, enable.
//!
//! All that a lane is stands in its row, so that every worker keeps to what is changed here from its next
//! claim on.

use secrecy::ExposeSecret as _;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ids, lane::LaneState};
use crate::{
    domain::{
        event::Key,
        webhook::{endpoint::Profile, signature::SigningSecret},
    },
    postgres::{
        Database,
        attempts::{self, Attempt},
        endpoints::{self as store, EndpointRow},
    },
    settings::{EndpointRule, Webhook},
};

/// The fewest digits of an endpoint's id: there are not many.
const DIGITS: usize = 4;

/// Why a text names no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither an address nor the beginning of an id.
    #[error("`{0}` is no endpoint: write its address, its id, or the first 4 or more digits of its id")]
    NotAnEndpoint(String),
    /// None has it.
    #[error("there is no such endpoint; `endpoint list` shows them")]
    Unknown,
    /// Several are meant.
    #[error("several endpoints are meant: write more of the id, or the company")]
    Ambiguous,
    /// The database refused or is away.
    #[error("could not look the endpoint up")]
    Database(#[from] sqlx::Error),
}

/// One endpoint and what waits for it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its id.
    pub id: Uuid,
    /// The company's id.
    pub company: String,
    /// Its address as written. The path may be a secret.
    pub url: String,
    /// The name of its state, see [`LaneState::name`].
    pub state: &'static str,
    /// Since when it is in this state, where that is known.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// When it leaves this state by itself, where that is known.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// The operator who paused it.
    pub paused_by: Option<String>,
    /// Why it is disabled, for a person.
    pub disabled_because: Option<String>,
    /// `closed`, `open`, `half_open` or `ramp_up`.
    pub breaker: String,
    /// Deliveries that are pending.
    pub waiting: i64,
    /// When the first of them was or will be due.
    #[serde(with = "time::serde::rfc3339::option")]
    pub oldest_due_at: Option<OffsetDateTime>,
    /// Those of them that a worker has in hand.
    pub in_flight: i64,
    /// In a row.
    pub failures: i32,
    /// The last 2xx.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success_at: Option<OffsetDateTime>,
    /// The last attempt that failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_failure_at: Option<OffsetDateTime>,
    /// What was wrong then, for a person.
    pub last_error: Option<String>,
    /// When its first delivery was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Endpoint {
    fn new(row: EndpointRow) -> Self {
        let state = LaneState::of(&row.lane, row.now);
        Self {
            id: row.key.id,
            company: row.key.company,
            url: row.url,
            state: state.name(),
            since: state.since(&row.lane),
            until: state.until(&row.lane),
            paused_by: row.paused_by,
            disabled_because: row.disabled_because,
            failures: row.lane.failures,
            breaker: row.lane.breaker,
            waiting: row.waiting,
            oldest_due_at: row.oldest_due_at,
            in_flight: row.in_flight,
            last_success_at: row.last_success_at,
            last_failure_at: row.last_failure_at,
            last_error: row.last_error,
            created_at: row.created_at,
        }
    }
}

/// One signature of each request, and what a receiver may know of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// `v1` (HMAC-SHA256) or `v1a` (ed25519).
    pub version: &'static str,
    /// `whpk_…`, with which a receiver verifies `v1a`. A shared secret has none, and nothing of it is told.
    pub public_key: Option<String>,
}

impl Signing {
    fn new(secret: &SigningSecret) -> Self {
        Self { version: secret.version(), public_key: secret.public_key() }
    }
}

/// What the settings make of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// `plain` or `slack`.
    pub profile: &'static str,
    /// Requests at once of one process.
    pub max_in_flight: u32,
    /// Milliseconds between two requests of all processes; `None` is no limit.
    pub send_interval_ms: Option<u64>,
    /// The deadline of an attempt, in milliseconds.
    pub timeout_ms: u64,
    /// The waits after the first attempt and after each further one, in milliseconds.
    pub retry_schedule_ms: Vec<u64>,
    /// Statuses that are tried again although they would not be.
    pub retry_statuses: Vec<u16>,
    /// Statuses that are not tried again although they would be.
    pub dead_statuses: Vec<u16>,
    /// The signatures of its requests, in the order of the secrets; none where they are not signed.
    pub signing: Vec<Signing>,
    /// Whether an older version of a contact is never sent after a newer one.
    pub newest_only: bool,
    /// How long deliveries are gathered for one request, in milliseconds.
    pub digest_window_ms: Option<u64>,
    /// A file of further authorities.
    pub ca_file: Option<String>,
    /// The file of the client certificate.
    pub client_certificate_file: Option<String>,
}

impl Terms {
    /// What `settings` make of the endpoint of `company` with this address.
    #[must_use]
    pub fn of(settings: &Webhook, company: &str, url: &str) -> Self {
        let rules = settings.per_endpoint(Clone::clone);
        let rule = rules.get(company, url);
        let terms = settings.terms().of(company, url);
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let schedule =
            rule.and_then(EndpointRule::retry_schedule).unwrap_or_else(|| settings.retry_schedule.clone());
        let secrets =
            rule.and_then(|rule| rule.signing_secrets.as_ref()).unwrap_or(&settings.signing_secrets);
        // One that is none is told when the settings are loaded.
        let secrets = secrets.iter().filter_map(|text| SigningSecret::parse(text.expose_secret()).ok());
        let path = |file: Option<&std::path::PathBuf>| file.map(|file| file.display().to_string());
        Self {
            profile: match terms.profile {
                Profile::Plain => "plain",
                Profile::Slack => "slack",
            },
            max_in_flight: terms.max_in_flight,
            send_interval_ms: terms.send_interval.map(ms),
            timeout_ms: ms(rule.and_then(EndpointRule::timeout).unwrap_or(settings.timeout)),
            retry_schedule_ms: schedule.iter().copied().map(ms).collect(),
            retry_statuses: rule.map(|rule| rule.retry_statuses().to_vec()).unwrap_or_default(),
            dead_statuses: rule.map(|rule| rule.dead_statuses().to_vec()).unwrap_or_default(),
            signing: secrets.map(|secret| Signing::new(&secret)).collect(),
            newest_only: terms.newest_only,
            digest_window_ms: terms.digest_window.map(ms),
            ca_file: path(rule.and_then(|rule| rule.ca_file.as_ref())),
            client_certificate_file: path(rule.and_then(|rule| rule.client_certificate_file.as_ref())),
        }
    }
}

/// One endpoint with everything.
#[derive(Clone)]
pub struct Shown {
    /// What a listing tells.
    pub endpoint: Endpoint,
    /// What the settings make of it.
    pub terms: Terms,
    /// How many deliveries of the last 24 hours are in each state.
    pub states: Vec<(String, i64)>,
    /// The last attempts, the newest first.
    pub attempts: Vec<Attempt>,
}

/// The endpoints of a company, or of all, by company and address.
///
/// # Errors
/// When the database refuses or is away.
pub async fn list(database: &Database, company: Option<&str>) -> Result<Vec<Endpoint>, sqlx::Error> {
    let rows = database.unit(async |conn| store::list(conn, company).await).await?;
    Ok(rows.into_iter().map(Endpoint::new).collect())
}

/// The endpoints that `text` means: its address, its id, or the beginning of that; of this company where one
/// is given. At least one.
///
/// # Errors
/// When there is none, or the database refuses or is away.
pub async fn find(database: &Database, company: Option<&str>, text: &str) -> Result<Vec<Key>, ResolveError> {
    let url = Some(text).filter(|text| text.contains("://"));
    let range = match url {
        Some(_) => (Uuid::nil(), Uuid::max()),
        None => ids::range(text, DIGITS).ok_or_else(|| ResolveError::NotAnEndpoint(text.to_owned()))?,
    };
    let found = database.unit(async |conn| store::matching(conn, company, url, range).await).await?;
    if found.is_empty() { Err(ResolveError::Unknown) } else { Ok(found) }
}

/// The one endpoint that `text` means, as [`find`] reads it.
///
/// # Errors
/// When there is none or are several, or the database refuses or is away.
pub async fn resolve(database: &Database, company: Option<&str>, text: &str) -> Result<Key, ResolveError> {
    let mut found = find(database, company, text).await?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ResolveError::Ambiguous),
        (None, _) => Err(ResolveError::Unknown),
    }
}

/// One endpoint, as a listing shows it.
///
/// # Errors
/// When it is gone, or the database refuses or is away.
pub async fn get(database: &Database, key: &Key) -> Result<Endpoint, ResolveError> {
    let row = database.unit(async |conn| store::get(conn, key).await).await?;
    row.map(Endpoint::new).ok_or(ResolveError::Unknown)
}

/// One endpoint with everything.
///
/// # Errors
/// When it is gone, or the database refuses or is away.
pub async fn show(database: &Database, settings: &Webhook, key: &Key) -> Result<Shown, ResolveError> {
    let (row, states, attempts) = database
        .unit(async |conn| {
            let row = store::get(conn, key).await?;
            Ok::<_, sqlx::Error>((
                row,
                store::states(conn, key).await?,
                attempts::of_endpoint(conn, key).await?,
            ))
        })
        .await?;
    let endpoint = Endpoint::new(row.ok_or(ResolveError::Unknown)?);
    let terms = Terms::of(settings, &endpoint.company, &endpoint.url);
    Ok(Shown { endpoint, terms, states, attempts })
}

/// What an operator does to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Nothing is sent to it any more, in the name of this operator. What is in flight ends.
    Pause(&'a str),
    /// Ends a pause.
    Resume,
    /// Undoes that it said it is gone, closes its breaker and forgets its failures. A pause stays.
    Enable,
}

/// What a change came to.
#[derive(Clone, Serialize)]
pub struct Changed {
    /// Whether anything had to be changed.
    pub changed: bool,
    /// The endpoint as it is now.
    #[serde(flatten)]
    pub endpoint: Endpoint,
}

/// Changes a lane. Doing so twice does no harm.
///
/// # Errors
/// When the endpoint is gone, or the database refuses or is away.
pub async fn change(database: &Database, key: &Key, change: Change<'_>) -> Result<Changed, ResolveError> {
    let (changed, row) = database
        .unit(async |conn| {
            let changed = match change {
                Change::Pause(operator) => store::pause(conn, key, operator).await?,
                Change::Resume => store::resume(conn, key).await?,
                Change::Enable => store::enable(conn, key).await?,
            };
            Ok::<_, sqlx::Error>((changed, store::get(conn, key).await?))
        })
        .await?;
    Ok(Changed { changed, endpoint: Endpoint::new(row.ok_or(ResolveError::Unknown)?) })
}

/// The address without what may be a secret: of its path the first segment only.
#[must_use]
pub fn shortened(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let mut parts = rest.splitn(3, '/');
    let host = parts.next().unwrap_or_default();
    let first = parts.next().unwrap_or_default();
    let more = parts.next().is_some_and(|more| !more.is_empty());
    // A segment as long as a key is taken for one.
    let first: String = if first.chars().count() > 24 {
        first.chars().take(6).chain(['…']).collect()
    } else {
        first.to_owned()
    };
    let host = if scheme == "https" { host.to_owned() } else { format!("{scheme}://{host}") };
    format!("{host}/{first}{}", if more { "/…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shortened_before_its_secret() {
        for (url, expected) in [
            ("https://hooks.slack.com/services/T0/B0/secret", "hooks.slack.com/services/…"),
            ("https://hooks.example/", "hooks.example/"),
            ("https://hooks.example", "hooks.example/"),
            ("https://hooks.example/sales", "hooks.example/sales"),
            ("https://hooks.example/sales/", "hooks.example/sales"),
            ("http://10.0.0.1:8080/a/b", "http://10.0.0.1:8080/a/…"),
            ("https://hooks.example/0123456789abcdef0123456789", "hooks.example/012345…"),
            ("", ""),
        ] {
            assert_eq!(shortened(url), expected, "{url}");
        }
    }
}
