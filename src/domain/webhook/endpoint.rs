//! Endpoints of webhooks, and settings that apply to some of them.
//!
//! An endpoint is a company and a URL as the trigger's author wrote it, with its variables but without query
//! and fragment: `/contacts/$contact.id` is one endpoint, not one per contact.

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use crate::domain::event::CompanyId;

/// A receiver's address within a company.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    company: CompanyId,
    /// Scheme, host, port unless it is the scheme's default, and path as written.
    url: String,
    /// Derived from company and URL.
    id: Uuid,
}

impl Endpoint {
    /// `url` comes from
    /// [`WebhookAction::endpoint_url`](crate::domain::webhook::action::WebhookAction::endpoint_url).
    #[must_use]
    pub fn new(company: &CompanyId, url: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(format!("{company}\n{url}")).into();
        let (half, _) = hash.split_at(16);
        let id = Uuid::from_slice(half).unwrap_or_default();
        Self { company: company.clone(), url: url.to_owned(), id }
    }

    /// The tenant.
    #[must_use]
    pub const fn company(&self) -> &CompanyId {
        &self.company
    }

    /// A secret may be in its path, as in Slack's URLs.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Derived from company and URL, so every process computes the same id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.id).finish()
    }
}

/// The format of request bodies that a receiver accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Profile {
    /// The body that the trigger's author wrote.
    #[default]
    Plain,
    /// The messages of Slack's incoming webhooks.
    Slack,
}

impl Profile {
    /// The default profile of an endpoint, from its [`Endpoint::url`]. Slack's other addresses (`/workflows/…`,
    /// `/triggers/…`) start a workflow with variables that its author defined, so they take no messages
    /// (<https://slack.com/help/articles/360041352714>).
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("https://hooks.slack.com/services/") { Self::Slack } else { Self::Plain }
    }

    /// The receiver's minimum time between two requests: Slack accepts one message per second and webhook
    /// (<https://docs.slack.dev/apis/web-api/rate-limits/>).
    #[must_use]
    pub const fn send_interval(self) -> Option<Duration> {
        match self {
            Self::Plain => None,
            Self::Slack => Some(Duration::from_secs(1)),
        }
    }
}

/// Matches endpoints whose URL is `url` or continues it after a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// `None` matches every company.
    pub company: Option<CompanyId>,
    /// Scheme, host and optionally the beginning of a path, without a slash at the end.
    url: String,
}

impl Pattern {
    /// Parses the beginning of a URL, such as `https://hooks.example` or `https://hooks.example/sales`.
    /// `None` without http(s) scheme and host, or with user name, query or fragment.
    #[must_use]
    pub fn new(url: &str, company: Option<CompanyId>) -> Option<Self> {
        let parsed = Url::parse(url).ok()?;
        let web = matches!(parsed.scheme(), "http" | "https");
        let plain = parsed.query().is_none() && parsed.fragment().is_none() && parsed.username().is_empty();
        // The path as written: a URL parser would encode the `{` of a variable.
        let rest = url.split_once("://")?.1;
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("").trim_end_matches('/');
        let origin = parsed.origin().ascii_serialization();
        (web && plain).then(|| Self { company, url: format!("{origin}{path}") })
    }

    /// Compares company and [`Endpoint::url`].
    #[must_use]
    pub fn matches(&self, company: &str, url: &str) -> bool {
        self.company.as_ref().is_none_or(|only| only.as_str() == company)
            && url.strip_prefix(&self.url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A setting per endpoint. The first matching pattern wins.
#[derive(Clone, Debug)]
pub struct PerEndpoint<T> {
    rules: Vec<(Pattern, T)>,
}

impl<T> PerEndpoint<T> {
    /// The order of `rules` is their precedence.
    pub fn new(rules: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// `None` if no pattern matches the endpoint.
    #[must_use]
    pub fn get(&self, company: &str, url: &str) -> Option<&T> {
        self.rules.iter().find(|(pattern, _)| pattern.matches(company, url)).map(|(_, value)| value)
    }
}

/// Effective settings of an endpoint that deliveries are created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Terms {
    /// The format of bodies.
    pub profile: Profile,
    /// Maximum concurrent requests per process.
    pub max_in_flight: u32,
    /// Minimum time between two requests, over all processes.
    pub send_interval: Option<Duration>,
    /// Whether an older version of a contact is never sent after a newer one.
    pub newest_only: bool,
    /// How long deliveries are collected for a digest.
    pub digest_window: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_derives_from_company_and_url() {
        let company = CompanyId::new("acme").unwrap();
        let id = Endpoint::new(&company, "https://hooks.example/sales").id();
        // SELECT encode(substring(sha256(E'acme\nhttps://hooks.example/sales') for 16), 'hex')::uuid
        assert_eq!(id.to_string(), "4e4f86f0-3309-1f51-35e3-66aa792ea1d4");
    }

    #[test]
    fn patterns_match_whole_path_segments() {
        let check = |pattern: &str, url: &str, expected: bool| {
            let pattern = Pattern::new(pattern, None).unwrap();
            assert_eq!(pattern.matches("acme", url), expected, "{pattern:?} {url}");
        };
        check("https://a.example", "https://a.example/x", true);
        check("https://a.example/", "https://a.example/x", true);
        check("https://A.example:443/x", "https://a.example/x", true);
        check("https://a.example/x", "https://a.example/x/$name", true);
        check("https://a.example/x", "https://a.example/xy", false);
        check("https://a.example", "https://a.example.evil/", false);
        check("http://a.example", "https://a.example/", false);
        check("https://a.example", "https://a.example:8443/", false);
    }

    #[test]
    fn a_pattern_can_be_limited_to_a_company() {
        let pattern = Pattern::new("https://a.example", Some(CompanyId::new("acme").unwrap())).unwrap();
        assert!(pattern.matches("acme", "https://a.example/"));
        assert!(!pattern.matches("globex", "https://a.example/"));
    }

    #[test]
    fn patterns_need_scheme_and_host_only() {
        for text in
            ["", "a.example", "ftp://a.example", "https://", "https://a.example/?q", "https://u@a.example"]
        {
            assert_eq!(Pattern::new(text, None), None, "{text}");
        }
    }

    #[test]
    fn incoming_webhooks_of_slack_have_the_slack_profile() {
        assert_eq!(Profile::of_url("https://hooks.slack.com/services/T/B/x"), Profile::Slack);
        for other in [
            "https://hooks.slack.com/workflows/T/A/1/x",
            "https://hooks.slack.com/triggers/T/1/x",
            "https://hooks.slack.com/",
            "https://hooks.slack.com/servicesx/T/B/x",
            "https://hooks.slack.com.evil.example/services/T/B/x",
            "http://hooks.slack.com/services/T/B/x",
        ] {
            assert_eq!(Profile::of_url(other), Profile::Plain, "{other}");
        }
    }
}
