//! Lists, shows, pauses, resumes and enables endpoints.
//!
//! The whole state of a lane is in its row, so a change applies to every worker from its next claim on.

mod page;
mod show;
mod terms;

use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    audit::{self, Actor},
    ids,
    lane::LaneState,
    wake_worker::wake,
};
use crate::{
    domain::event::Key,
    postgres::{
        Database, clock,
        endpoints::{self as store, EndpointRow},
    },
    settings,
};

pub use page::{Filter, Position, page};
pub use show::{Shown, show};
pub use terms::{Signing, Terms};

/// Minimum number of digits of an endpoint's id. Few suffice, because there are few endpoints.
const MIN_DIGITS: usize = 4;

/// Why a text does not identify one endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither a URL nor the beginning of an id.
    #[error("no endpoint matches `{0}`; give its URL, its id, or at least the first 4 digits of its id")]
    NotAnEndpoint(String),
    /// No endpoint matches.
    #[error("there is no such endpoint; see `endpoint list`")]
    Unknown,
    /// Several endpoints match.
    #[error("`{0}` matches several endpoints; give more of the id, or the company")]
    Ambiguous(String),
    /// The address contains variables, whose values only an event has.
    #[error("this URL contains variables; give one without, such as https://hooks.example/contacts/1")]
    HasVariables,
    /// The database failed.
    #[error("could not look up the endpoint")]
    Database(#[from] sqlx::Error),
}

/// One endpoint with the state of its lane.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Derived from company and URL.
    pub id: Uuid,
    /// The company's id.
    pub company: String,
    /// The address without query and fragment. Its path may be a secret.
    pub url: String,
    /// The state of its lane, by [`LaneState::name`].
    pub state: &'static str,
    /// When this state began, if known.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// When this state ends by itself, if known.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// The operator who paused it.
    pub paused_by: Option<String>,
    /// Why it is disabled, in words.
    pub disabled_because: Option<String>,
    /// `closed`, `open`, `half_open` or `ramp_up`.
    pub breaker: String,
    /// Number of pending deliveries.
    pub waiting: i64,
    /// The earliest time at which one of them was or will be due.
    #[serde(with = "time::serde::rfc3339::option")]
    pub oldest_due_at: Option<OffsetDateTime>,
    /// Number of those that are due: in flight, or sent as soon as the lane lets them through.
    pub due: i64,
    /// Consecutive failures.
    pub failures: i32,
    /// When an attempt last succeeded.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success_at: Option<OffsetDateTime>,
    /// When an attempt last failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_failure_at: Option<OffsetDateTime>,
    /// The error of that attempt, in words.
    pub last_error: Option<String>,
    /// When its first delivery was created.
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
            due: row.due,
            last_success_at: row.last_success_at,
            last_failure_at: row.last_failure_at,
            last_error: row.last_error,
            created_at: row.created_at,
        }
    }
}

/// The endpoints whose address is `text` or whose id begins with it, of `company` if given. At least one.
///
/// # Errors
/// When none matches, or the database fails.
pub async fn find(database: &Database, company: Option<&str>, text: &str) -> Result<Vec<Key>, ResolveError> {
    let url = Some(text).filter(|text| text.contains("://"));
    let range = match url {
        Some(_) => (Uuid::nil(), Uuid::max()),
        None => ids::range(text, MIN_DIGITS).ok_or_else(|| ResolveError::NotAnEndpoint(text.to_owned()))?,
    };
    let found = database.unit(async |conn| store::matching(conn, company, url, range).await).await?;
    if found.is_empty() { Err(ResolveError::Unknown) } else { Ok(found) }
}

/// The one endpoint that [`find`] returns.
///
/// # Errors
/// When none or more than one matches, or the database fails.
pub async fn resolve(database: &Database, company: Option<&str>, text: &str) -> Result<Key, ResolveError> {
    let mut found = find(database, company, text).await?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ResolveError::Ambiguous(text.to_owned())),
        (None, _) => Err(ResolveError::Unknown),
    }
}

/// The line of a listing for one endpoint.
///
/// # Errors
/// When it no longer exists, or the database fails.
pub async fn get(database: &Database, key: &Key) -> Result<Endpoint, ResolveError> {
    let row = database.unit(async |conn| store::get(conn, key).await).await?;
    row.map(Endpoint::new).ok_or(ResolveError::Unknown)
}

/// What an operator can change about a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sends nothing until it is resumed. Requests in flight end.
    Pause,
    /// Ends a pause.
    Resume,
    /// Enables a disabled endpoint, closes its breaker, resets its failures, ends its hold. A pause stays.
    Enable,
}

/// The result of a change.
#[derive(Clone, Serialize)]
pub struct Changed {
    /// Whether the state was different before.
    pub changed: bool,
    /// The endpoint after the change.
    #[serde(flatten)]
    pub endpoint: Endpoint,
}

impl Change {
    const fn action(self) -> &'static str {
        match self {
            Self::Pause => audit::ENDPOINT_PAUSE,
            Self::Resume => audit::ENDPOINT_RESUME,
            Self::Enable => audit::ENDPOINT_ENABLE,
        }
    }
}

/// Changes a lane, and wakes worker 2 if deliveries have waited for that. Idempotent: what changes nothing is not recorded.
///
/// # Errors
/// When the endpoint no longer exists, or the database fails.
pub async fn change(
    database: &Database,
    broker: &settings::Amqp,
    actor: &Actor,
    key: &Key,
    change: Change,
) -> Result<Changed, ResolveError> {
    let (changed, row) = database
        .transact(
            |_| true,
            async |conn| {
                let before = store::get(conn, key).await?;
                let changed = match change {
                    Change::Pause => store::pause(conn, key, &actor.name).await?,
                    Change::Resume => store::resume(conn, key).await?,
                    Change::Enable => store::enable(conn, key).await?,
                };
                let after = store::get(conn, key).await?;
                if changed {
                    let state = |row: &Option<EndpointRow>| {
                        row.as_ref().map(|row| json!({ "state": LaneState::of(&row.lane, row.now).name() }))
                    };
                    let change = audit::Change {
                        action: change.action(),
                        company: &key.company,
                        object: key.id.to_string(),
                        before: state(&before),
                        after: state(&after),
                    };
                    audit::record(conn, actor, &change).await?;
                }
                Ok::<_, sqlx::Error>((changed, after))
            },
        )
        .await?;
    let endpoint = Endpoint::new(row.ok_or(ResolveError::Unknown)?);
    if changed && change != Change::Pause && endpoint.waiting > 0 {
        wake(broker).await;
    }
    Ok(Changed { changed, endpoint })
}

/// Where a test event goes.
#[derive(Clone)]
pub struct Target {
    /// The company whose settings apply; empty if only those for all companies do.
    pub company: String,
    /// The address. Its path may be a secret.
    pub url: String,
    /// The endpoint's id, if it already exists.
    pub endpoint: Option<Uuid>,
}

/// The endpoint of a test, or the URL as given when no endpoint has it.
///
/// # Errors
/// When `text` is neither a URL nor the id of one endpoint, when its address has variables, or the database fails.
pub async fn test_target(
    database: &Database,
    company: Option<&str>,
    text: &str,
) -> Result<Target, ResolveError> {
    let target = match resolve(database, company, text).await {
        Ok(key) => {
            let endpoint = get(database, &key).await?;
            Target { company: endpoint.company, url: endpoint.url, endpoint: Some(endpoint.id) }
        }
        Err(ResolveError::Unknown) if text.contains("://") => {
            Target { company: company.unwrap_or_default().to_owned(), url: text.to_owned(), endpoint: None }
        }
        Err(error) => return Err(error),
    };
    if target.url.contains('$') { Err(ResolveError::HasVariables) } else { Ok(target) }
}

/// Records that a test event is about to be sent, and returns the time of the database's clock, by which a receiver
/// judges its signature. The outcome is not recorded: it changes nothing.
///
/// # Errors
/// When the database fails; then nothing must be sent.
pub async fn begin_test(
    database: &Database,
    actor: &Actor,
    target: &Target,
) -> Result<OffsetDateTime, sqlx::Error> {
    let begin = async |conn: &mut PgConnection| {
        let change = audit::Change {
            action: audit::ENDPOINT_TEST,
            company: &target.company,
            object: target.endpoint.map(|id| id.to_string()).unwrap_or_default(),
            before: None,
            after: Some(json!({ "address": shortened(&target.url) })),
        };
        audit::record(conn, actor, &change).await?;
        clock::now(conn).await
    };
    database.transact(|_| true, begin).await
}

/// Host and first segment of the path. The rest may be a secret or name a person: userinfo, path, query and fragment.
#[must_use]
pub fn shortened(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let address = rest.split(['?', '#']).next().unwrap_or_default();
    let mut parts = address.splitn(3, '/');
    let authority = parts.next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let first = parts.next().unwrap_or_default();
    let more = parts.next().is_some_and(|more| !more.is_empty());
    // A segment that is as long as a key may be one.
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
    fn shortened_address_has_no_secret() {
        for (url, expected) in [
            ("https://hooks.slack.com/services/T0/B0/secret", "hooks.slack.com/services/…"),
            ("https://hooks.example/", "hooks.example/"),
            ("https://hooks.example", "hooks.example/"),
            ("https://hooks.example/sales", "hooks.example/sales"),
            ("https://hooks.example/sales/", "hooks.example/sales"),
            ("http://10.0.0.1:8080/a/b", "http://10.0.0.1:8080/a/…"),
            ("https://hooks.example/0123456789abcdef0123456789", "hooks.example/012345…"),
            ("https://h.example/lead?email=ada%40x.io", "h.example/lead"),
            ("https://h.example?to=/ada", "h.example/"),
            ("https://h.example/lead/ada#x", "h.example/lead/…"),
            ("https://user:pass@h/in#x", "h/in"),
            ("http://user:p@ss@h:8080/in", "http://h:8080/in"),
            ("", ""),
        ] {
            assert_eq!(shortened(url), expected, "{url}");
        }
    }
}
