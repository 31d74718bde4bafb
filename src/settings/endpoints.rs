//! Settings of single endpoints: the entries of `[[webhook.endpoints]]`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use serde::Deserialize;

use super::{Webhook, types::Span};
use crate::domain::{
    event::CompanyId,
    webhook::{
        attempt::RetryRule,
        endpoint::{Pattern, PerEndpoint, Profile},
        terms::{EndpointTerms, TermsOverride},
    },
};

/// One entry. A key that it omits has the value that applies to all endpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct EndpointRule {
    url: String,
    company: Option<String>,
    profile: Option<NamedProfile>,
    pub max_in_flight: Option<u32>,
    rate: Option<Rate>,
    timeout: Option<Span>,
    retry_schedule: Option<Vec<Span>>,
    retry_statuses: Option<Vec<u16>>,
    dead_statuses: Option<Vec<u16>>,
    pub signing_secrets: Option<Vec<SecretString>>,
    newest_only: Option<bool>,
    digest_window: Option<Span>,
    pub ca_file: Option<PathBuf>,
    pub client_certificate_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
}

impl EndpointRule {
    /// The endpoints that it applies to; `None` when `url` or `company` is invalid.
    #[must_use]
    pub fn pattern(&self) -> Option<Pattern> {
        let company = self.company.as_deref().map(CompanyId::new).transpose().ok()?;
        Pattern::new(&self.url, company)
    }

    /// Deadline of an attempt.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(|span| span.0)
    }

    /// The waits between attempts.
    pub(super) fn retry_schedule(&self) -> Option<Vec<Duration>> {
        Some(self.retry_schedule.as_ref()?.iter().map(|span| span.0).collect())
    }

    /// Statuses that are retried although they would not be by default.
    pub(super) fn retry_statuses(&self) -> &[u16] {
        self.retry_statuses.as_deref().unwrap_or_default()
    }

    /// Statuses that are not retried although they would be by default.
    pub(super) fn dead_statuses(&self) -> &[u16] {
        self.dead_statuses.as_deref().unwrap_or_default()
    }

    /// Whether an older version of a contact is never sent after a newer one.
    pub(super) fn is_newest_only(&self) -> bool {
        self.newest_only == Some(true)
    }

    /// How long deliveries are collected for one request.
    pub(super) fn digest_window(&self) -> Option<Duration> {
        self.digest_window.map(|span| span.0)
    }

    fn terms(&self) -> TermsOverride {
        TermsOverride {
            profile: self.profile.map(|profile| profile.0),
            max_in_flight: self.max_in_flight,
            send_interval: self.rate.map(|rate| rate.0),
            newest_only: self.is_newest_only(),
            digest_window: self.digest_window(),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct NamedProfile(Profile);

impl TryFrom<String> for NamedProfile {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "profile must be \"plain\" or \"slack\"")
    }
}

/// The time between two requests, written as `10/s`, `30/m` or `100/h`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Rate(Duration);

impl TryFrom<String> for Rate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        interval(&text)
            .map(Self)
            .ok_or("rate must be requests per unit of time, such as \"10/s\", \"30/m\" or \"100/h\"")
    }
}

/// The settings that apply to one endpoint: those of its entry, and the defaults for everything else.
pub struct EndpointSettings<'a> {
    /// Deadline of an attempt.
    pub timeout: Duration,
    /// The secrets that sign its requests.
    pub signing_secrets: &'a [SecretString],
    /// When a failed attempt is retried.
    pub retry: RetryRule,
    /// The request format, unless the URL decides.
    pub profile: Option<Profile>,
    /// Additional CA certificates.
    pub ca_file: Option<&'a Path>,
    /// The client certificate.
    pub client_certificate_file: Option<&'a Path>,
    /// The key of the client certificate.
    pub client_key_file: Option<&'a Path>,
}

impl Webhook {
    /// The settings of the endpoint of `company` with this URL.
    #[must_use]
    pub fn endpoint(&self, company: &str, url: &str) -> EndpointSettings<'_> {
        let entry = self
            .endpoints
            .iter()
            .find(|entry| entry.pattern().is_some_and(|pattern| pattern.matches(company, url)));
        self.resolve(entry)
    }

    /// The settings of endpoints without an entry.
    #[must_use]
    pub fn default_endpoint(&self) -> EndpointSettings<'_> {
        self.resolve(None)
    }

    /// The settings of each entry, in the order in which they are matched.
    pub fn special_endpoints(&self) -> impl Iterator<Item = (Pattern, EndpointSettings<'_>)> {
        // An invalid pattern was refused when the settings were loaded.
        self.endpoints.iter().filter_map(|entry| Some((entry.pattern()?, self.resolve(Some(entry)))))
    }

    fn resolve<'a>(&'a self, entry: Option<&'a EndpointRule>) -> EndpointSettings<'a> {
        let schedule = entry.and_then(EndpointRule::retry_schedule);
        let statuses = |of: fn(&EndpointRule) -> &[u16]| entry.map(of).unwrap_or_default().to_vec();
        EndpointSettings {
            timeout: entry.and_then(EndpointRule::timeout).unwrap_or(self.timeout),
            signing_secrets: entry
                .and_then(|entry| entry.signing_secrets.as_ref())
                .unwrap_or(&self.signing_secrets),
            retry: RetryRule {
                schedule: schedule.unwrap_or_else(|| self.retry_schedule.clone()),
                jitter: self.retry_jitter,
                max_age: self.max_age,
                retry_statuses: statuses(EndpointRule::retry_statuses),
                dead_statuses: statuses(EndpointRule::dead_statuses),
            },
            profile: entry.and_then(|entry| entry.profile).map(|profile| profile.0),
            ca_file: entry.and_then(|entry| entry.ca_file.as_deref()),
            client_certificate_file: entry.and_then(|entry| entry.client_certificate_file.as_deref()),
            client_key_file: entry.and_then(|entry| entry.client_key_file.as_deref()),
        }
    }

    /// The terms of every endpoint, without the other settings and their secrets.
    #[must_use]
    pub fn terms(&self) -> EndpointTerms {
        let overrides = self.endpoints.iter().filter_map(|entry| Some((entry.pattern()?, entry.terms())));
        EndpointTerms::new(PerEndpoint::new(overrides), self.max_in_flight)
    }
}

fn interval(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_once('/')?;
    let unit = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return None,
    };
    let count: u32 = count.trim().parse().ok().filter(|count| (1..=100_000).contains(count))?;
    unit.checked_div(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_becomes_an_interval() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(interval(text), expected.map(Duration::from_micros), "{text}");
        };
        check("1/s", Some(1_000_000));
        check("50/s", Some(20_000));
        check(" 30 / m ", Some(2_000_000));
        check("100/h", Some(36_000_000));
        for bad in ["", "1", "0/s", "-1/s", "1.5/s", "1/d", "100001/s"] {
            check(bad, None);
        }
    }
}
