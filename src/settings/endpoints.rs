//! What the settings say of single endpoints: the entries of `[[webhook.endpoints]]`.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error};

use super::{Webhook, types};
use crate::domain::{
    endpoint::{Pattern, PerEndpoint, Profile, Terms},
    event::CompanyId,
};

/// One entry. What it does not give is as for all endpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are described in config/default.toml, once")]
pub struct EndpointRule {
    url: String,
    company: Option<String>,
    #[serde(default, deserialize_with = "profile")]
    pub profile: Option<Profile>,
    pub max_in_flight: Option<u32>,
    #[serde(default, deserialize_with = "rate")]
    pub rate: Option<Duration>,
    #[serde(default, deserialize_with = "types::optional_duration")]
    pub timeout: Option<Duration>,
    #[serde(default, deserialize_with = "types::optional_durations")]
    pub retry_schedule: Option<Vec<Duration>>,
    #[serde(default)]
    pub retry_statuses: Vec<u16>,
    #[serde(default)]
    pub dead_statuses: Vec<u16>,
    pub signing_secrets: Option<Vec<SecretString>>,
    #[serde(default)]
    pub newest_only: bool,
    #[serde(default, deserialize_with = "types::optional_duration")]
    pub digest_window: Option<Duration>,
    pub ca_file: Option<PathBuf>,
    pub client_certificate_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
}

impl EndpointRule {
    /// Which endpoints it is about; `None` when `url` or `company` is none.
    #[must_use]
    pub fn pattern(&self) -> Option<Pattern> {
        let company = self.company.as_deref().map(CompanyId::new).transpose().ok()?;
        Pattern::new(&self.url, company)
    }
}

impl Webhook {
    /// Something that each entry says, by endpoint.
    pub fn per_endpoint<T>(&self, said: impl Fn(&EndpointRule) -> T) -> PerEndpoint<T> {
        // A fault of the pattern is told when the settings are loaded.
        PerEndpoint::new(self.endpoints.iter().filter_map(|rule| Some((rule.pattern()?, said(rule)))))
    }

    /// The longest deadline of any attempt.
    #[must_use]
    pub fn longest_timeout(&self) -> Duration {
        self.endpoints.iter().filter_map(|rule| rule.timeout).fold(self.timeout, Duration::max)
    }

    /// What worker 1 has to know of an endpoint.
    #[must_use]
    pub fn terms(&self) -> EndpointTerms {
        EndpointTerms { rules: self.per_endpoint(Clone::clone), max_in_flight: self.max_in_flight }
    }
}

/// The terms of every endpoint.
#[derive(Clone, Debug)]
pub struct EndpointTerms {
    rules: PerEndpoint<EndpointRule>,
    max_in_flight: u32,
}

impl EndpointTerms {
    /// Those of one endpoint.
    #[must_use]
    pub fn of(&self, company: &str, url: &str) -> Terms {
        let rule = self.rules.get(company, url);
        let profile = rule.and_then(|rule| rule.profile).unwrap_or_else(|| Profile::of_url(url));
        Terms {
            profile,
            max_in_flight: rule.and_then(|rule| rule.max_in_flight).unwrap_or(self.max_in_flight),
            send_interval: rule.and_then(|rule| rule.rate).or_else(|| profile.send_interval()),
            newest_only: rule.is_some_and(|rule| rule.newest_only),
            digest_window: rule.and_then(|rule| rule.digest_window),
        }
    }
}

fn profile<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Profile>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None => Ok(None),
        Some("plain") => Ok(Some(Profile::Plain)),
        Some("slack") => Ok(Some(Profile::Slack)),
        Some(_) => Err(D::Error::custom("profile must be \"plain\" or \"slack\"")),
    }
}

/// Reads `10/s`, `30/m` or `100/h` as the time between two requests.
fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    interval(&text).map(Some).ok_or_else(|| {
        D::Error::custom("rate must be requests in a time, such as \"10/s\", \"30/m\" or \"100/h\"")
    })
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
    fn a_rate_is_an_interval() {
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
