//! Whom webhooks are sent to, and what can be said about some of them apart from the others.
//!
//! An endpoint is a company and an address as the trigger's author wrote it, variables and all, without
//! query and fragment: `/contacts/$contact.id` is one endpoint, not one for each contact.

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use crate::domain::event::CompanyId;

/// One endpoint of one company.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    company: CompanyId,
    /// Scheme, host, port when it is not the scheme's own, and path as written.
    url: String,
    /// Follows from the other two.
    id: Uuid,
}

impl Endpoint {
    /// `url` is what [`crate::domain::webhook::action::WebhookAction::endpoint_url`] gives.
    #[must_use]
    pub fn new(company: &CompanyId, url: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(format!("{company}\n{url}")).into();
        let (half, _) = digest.split_at(16);
        let id = Uuid::from_slice(half).unwrap_or_default();
        Self { company: company.clone(), url: url.to_owned(), id }
    }

    /// Its company.
    #[must_use]
    pub const fn company(&self) -> &CompanyId {
        &self.company
    }

    /// Its address. A path may hold a secret, as Slack's do.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its id: the same for the same endpoint, whoever makes it.
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

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Whatever the trigger's author writes.
    #[default]
    Plain,
    /// Slack's incoming webhooks.
    Slack,
}

impl Profile {
    /// The profile of an endpoint about which nothing is said. `url` is [`Endpoint::url`].
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("https://hooks.slack.com/") { Self::Slack } else { Self::Plain }
    }

    /// The time that must pass between two requests, where the receiver asks for it: Slack takes one message
    /// a second for each webhook (<https://docs.slack.dev/apis/web-api/rate-limits/>).
    #[must_use]
    pub const fn send_interval(self) -> Option<Duration> {
        match self {
            Self::Plain => None,
            Self::Slack => Some(Duration::from_secs(1)),
        }
    }
}

/// Says which endpoints are meant: those whose address begins with `url`, ending there or at a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Only those of this company.
    pub company: Option<CompanyId>,
    /// Begins with scheme and host.
    url: String,
}

impl Pattern {
    /// Reads the beginning of an address, `https://hooks.example` or `https://hooks.example/sales`; `None`
    /// when it has no scheme and host, or has a query.
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

    /// Whether the endpoint is meant.
    #[must_use]
    pub fn matches(&self, company: &str, url: &str) -> bool {
        self.company.as_ref().is_none_or(|only| only.as_str() == company)
            && url.strip_prefix(&self.url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Something that is said about endpoints: the first pattern that matches decides.
#[derive(Clone, Debug)]
pub struct PerEndpoint<T> {
    rules: Vec<(Pattern, T)>,
}

impl<T> PerEndpoint<T> {
    /// In the order in which they are asked.
    pub fn new(rules: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// What is said about this endpoint, when anything is.
    #[must_use]
    pub fn get(&self, company: &str, url: &str) -> Option<&T> {
        self.rules.iter().find(|(pattern, _)| pattern.matches(company, url)).map(|(_, said)| said)
    }
}

/// How deliveries for an endpoint are written, and how fast they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Terms {
    /// How bodies are shaped.
    pub profile: Profile,
    /// Most requests at once of one process.
    pub max_in_flight: u32,
    /// The time between two requests of all processes.
    pub send_interval: Option<Duration>,
    /// Whether an older version of a contact must not follow a newer one.
    pub newest_only: bool,
    /// How long deliveries are gathered for one request.
    pub digest_window: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stable() {
        let company = CompanyId::new("acme").unwrap();
        let id = Endpoint::new(&company, "https://hooks.example/sales").id();
        // SELECT encode(substring(sha256(E'acme\nhttps://hooks.example/sales') for 16), 'hex')::uuid
        assert_eq!(id.to_string(), "4e4f86f0-3309-1f51-35e3-66aa792ea1d4");
    }

    #[test]
    fn patterns_end_at_a_slash() {
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
    fn a_pattern_may_be_for_one_company() {
        let pattern = Pattern::new("https://a.example", Some(CompanyId::new("acme").unwrap())).unwrap();
        assert!(pattern.matches("acme", "https://a.example/"));
        assert!(!pattern.matches("globex", "https://a.example/"));
    }

    #[test]
    fn what_is_no_address_is_no_pattern() {
        for text in
            ["", "a.example", "ftp://a.example", "https://", "https://a.example/?q", "https://u@a.example"]
        {
            assert_eq!(Pattern::new(text, None), None, "{text}");
        }
    }

    #[test]
    fn slack_is_known() {
        assert_eq!(Profile::of_url("https://hooks.slack.com/services/T/B/x"), Profile::Slack);
        assert_eq!(Profile::of_url("https://hooks.slack.com.evil.example/"), Profile::Plain);
    }
}
