//! Which promises a deployment keeps, judged by its broker, database and settings. It changes nothing.

mod broker;
mod database;
mod local;
mod management;

use serde::Serialize;
use strum::{Display, VariantArray};

use crate::{
    amqp::{inspection as of_broker, management as of_management},
    postgres::{self, Database, inspection as of_database},
    settings::Effective,
};

/// The promises of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
enum Promise {
    OneEnd = 1,
    Once,
    Published,
    Attempted,
    Outages,
    Private,
    Apart,
    Bounded,
}

impl Promise {
    const fn text(self) -> &'static str {
        match self {
            Self::OneEnd => {
                "every accepted event is applied, dead-lettered, discarded or erased; none is lost"
            }
            Self::Once => "an event changes contacts once, in any order and despite redeliveries",
            Self::Published => {
                "contact.upserted is published for every applied event, always with the same id"
            }
            Self::Attempted => {
                "every webhook is attempted until 2xx or for the whole schedule, then it is a dead letter"
            }
            Self::Outages => "an outage makes no dead letters: work waits and resumes by itself",
            Self::Private => {
                "no personal data or secret appears in logs, metrics, errors or the list of processes"
            }
            Self::Apart => "no company reads or changes what another one has, or stops its work",
            Self::Bounded => "memory and disk are bounded by settings; what is finished leaves",
        }
    }
}

/// Promises that depend on durable commits.
const DURABLE: &[Promise] = &[Promise::OneEnd, Promise::Once, Promise::Published, Promise::Attempted];

/// The state of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, Serialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Fine,
    /// It breaks no promise, but deserves attention.
    Warning,
    /// It breaks promises.
    Broken,
    /// It could not be inspected.
    Unknown,
    /// A client of the broker cannot see it.
    Invisible,
}

/// One thing that was inspected.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// `broker`, `database` or `settings`.
    pub area: &'static str,
    /// What was inspected.
    pub name: String,
    /// Its state.
    pub status: Status,
    /// What was seen.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
    #[serde(skip)]
    promises: &'static [Promise],
}

impl Finding {
    fn new(area: &'static str, name: impl Into<String>, status: Status, found: impl Into<String>) -> Self {
        Self { area, name: name.into(), status, found: found.into(), remedy: None, promises: &[] }
    }

    /// The promises that depend on it.
    const fn of(mut self, promises: &'static [Promise]) -> Self {
        self.promises = promises;
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Whether a promise is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, Serialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Kept, as far as can be seen.
    Kept,
    /// Not kept, or not always.
    Broken,
    /// Unknown: inspection failed.
    Unknown,
}

/// The verdict on a promise.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// Its number.
    pub promise: u8,
    /// What it says.
    pub text: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// The findings that decide it, or that are invisible.
    pub because: Vec<String>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// Promise by promise.
    pub promises: Vec<Kept>,
    /// Everything that was inspected.
    pub findings: Vec<Finding>,
    /// The broker or the database could not be reached.
    #[serde(skip)]
    pub is_unreachable: bool,
}

impl Diagnosis {
    fn new(findings: Vec<Finding>, is_unreachable: bool) -> Self {
        let promises = Promise::VARIANTS.iter().map(|promise| kept(*promise, &findings)).collect();
        Self { promises, findings, is_unreachable }
    }

    /// Whether a promise is broken.
    #[must_use]
    pub fn breaks_any(&self) -> bool {
        self.promises.iter().any(|kept| kept.verdict == Verdict::Broken)
    }
}

fn kept(promise: Promise, findings: &[Finding]) -> Kept {
    let named = |status: Status| -> Vec<String> {
        let concerned = findings.iter().filter(|finding| finding.promises.contains(&promise));
        concerned.filter(|finding| finding.status == status).map(|finding| finding.name.clone()).collect()
    };
    let (broken, unknown) = (named(Status::Broken), named(Status::Unknown));
    let (verdict, because) = match (broken.is_empty(), unknown.is_empty()) {
        (false, _) => (Verdict::Broken, broken),
        (true, false) => (Verdict::Unknown, unknown),
        (true, true) => (Verdict::Kept, named(Status::Invisible)),
    };
    Kept { promise: promise as u8, text: promise.text(), verdict, because }
}

/// Inspects the settings, the broker and the database.
pub async fn diagnose(effective: &Effective) -> Diagnosis {
    let settings = &effective.settings;
    let mut findings = local::findings(effective);
    let at_database = async {
        let database = Database::new(&settings.postgres, "doctor").map_err(postgres::ConnectError::Url)?;
        let inspected = of_database::inspect(&database).await?;
        Ok::<_, postgres::ConnectError>((inspected, database.check(false).await))
    };
    let management = Box::pin(of_management::read(&settings.amqp));
    let at_broker = async { tokio::join!(of_broker::inspect(&settings.amqp), management) };
    let ((broker, management), database) = tokio::join!(at_broker, at_database);
    let is_unreachable = broker.is_err() || database.is_err();
    findings.extend(match broker {
        Ok(inspection) => broker::findings(&inspection, management.as_ref(), &settings.amqp),
        Err(error) => vec![unreachable("broker", &error)],
    });
    findings.extend(match database {
        Ok((Ok(inspection), session)) => database::findings(&inspection, session.err(), settings),
        Ok((Err(error), _)) => vec![
            Finding::new("database", "catalog", Status::Unknown, postgres::refusal(&error))
                .of(DURABLE)
                .remedy("give the role of postgres.url the right to read the catalog"),
        ],
        Err(error) => vec![unreachable("database", &error)],
    });
    Diagnosis::new(findings, is_unreachable)
}

/// Every promise except the one about settings depends on both services.
fn unreachable(area: &'static str, error: &(dyn std::error::Error + 'static)) -> Finding {
    const ALL: &[Promise] = &[
        Promise::OneEnd,
        Promise::Once,
        Promise::Published,
        Promise::Attempted,
        Promise::Outages,
        Promise::Apart,
        Promise::Bounded,
    ];
    Finding::new(area, format!("{area} reachable"), Status::Unknown, crate::telemetry::chain(error)).of(ALL)
}

/// Whether the way to this host is safe from eavesdropping.
fn is_loopback(address: &str) -> bool {
    let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.is_empty() || host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{
        Status::{Broken, Fine, Invisible, Unknown, Warning},
        *,
    };

    #[test]
    fn broken_finding_outweighs_what_is_unknown() {
        let finding = |status| Finding::new("broker", status_name(status), status, "x").of(&[Promise::Once]);
        let verdict = |statuses: &[Status]| {
            let findings: Vec<Finding> = statuses.iter().map(|status| finding(*status)).collect();
            let Kept { verdict, because, .. } = kept(Promise::Once, &findings);
            (verdict, because.join(","))
        };
        assert_eq!(verdict(&[Fine, Warning]), (Verdict::Kept, String::new()));
        assert_eq!(verdict(&[Fine, Invisible]), (Verdict::Kept, "invisible".to_owned()));
        assert_eq!(verdict(&[Unknown, Invisible]), (Verdict::Unknown, "unknown".to_owned()));
        assert_eq!(verdict(&[Unknown, Broken]), (Verdict::Broken, "broken".to_owned()));
        assert_eq!(kept(Promise::Outages, &[finding(Broken)]).verdict, Verdict::Kept);
    }

    fn status_name(status: Status) -> String {
        status.to_string()
    }

    #[test]
    fn loopback_is_recognized() {
        for address in ["amqp://u:p@127.0.0.1:1/v", "amqp://localhost", "postgres://[::1]/d", "postgres:///d"]
        {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["amqp://10.0.0.1", "postgres://db.example/d", "postgres://127.0.0.1.example/d"] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
