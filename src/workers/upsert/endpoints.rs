//! Worker 1's view of endpoints: their terms, and which of them have a row in the database.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    domain::{
        event::Key,
        webhook::{delivery::Delivery, terms::EndpointTerms},
    },
    postgres::endpoints::Registration,
    settings::Webhook,
};

/// Maximum number of cached endpoints: authors of triggers can invent any number.
const MAX_KNOWN: usize = 10_000;

/// How long an endpoint is cached: retention removes the row of an endpoint that was not registered for days.
const MAX_AGE: Duration = Duration::from_hours(6);

/// The endpoints of one worker.
pub struct Endpoints {
    terms: EndpointTerms,
    known: Mutex<Known>,
}

/// Endpoints whose row is committed. Without this cache each batch would insert its endpoints again.
struct Known {
    since: Instant,
    keys: HashSet<Key>,
}

impl Endpoints {
    /// From the settings.
    #[must_use]
    pub fn new(settings: &Webhook) -> Self {
        Self {
            terms: settings.terms(),
            known: Mutex::new(Known { since: Instant::now(), keys: HashSet::new() }),
        }
    }

    pub(super) const fn terms(&self) -> &EndpointTerms {
        &self.terms
    }

    /// The endpoints of these deliveries that may not have a row yet, each once.
    pub(super) fn unknown<'a>(&self, deliveries: &'a [Delivery]) -> Vec<Registration<'a>> {
        self.unknown_at(deliveries, Instant::now())
    }

    fn unknown_at<'a>(&self, deliveries: &'a [Delivery], now: Instant) -> Vec<Registration<'a>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(known.since) >= MAX_AGE {
            *known = Known { since: now, keys: HashSet::new() };
        }
        let mut seen = HashSet::new();
        deliveries
            .iter()
            .filter(|delivery| !known.keys.contains(&delivery.lane()) && seen.insert(delivery.lane()))
            .map(|delivery| Registration {
                key: delivery.lane(),
                url: &delivery.endpoint_url,
                terms: self.terms.of(&delivery.key.company, &delivery.endpoint_url),
            })
            .collect()
    }

    /// Call it after the rows are committed.
    pub(super) fn remember(&self, keys: Vec<Key>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.keys.len() > MAX_KNOWN {
            known.keys.clear();
        }
        known.keys.extend(keys);
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            trace_context::TraceContext,
            webhook::request::{Method, WebhookRequest},
        },
        settings,
    };

    fn delivery() -> Delivery {
        let request =
            WebhookRequest { method: Method::Post, url: String::new(), headers: Vec::new(), body: None };
        Delivery {
            key: Key { company: "acme".to_owned(), id: Uuid::from_u128(1) },
            created_at: OffsetDateTime::UNIX_EPOCH,
            event_key: Uuid::from_u128(2),
            step: 1,
            source: "/s".to_owned(),
            event_id: "e".to_owned(),
            trigger: "t".to_owned(),
            contact: None,
            endpoint_id: Uuid::from_u128(3),
            endpoint_url: "https://hooks.example/".to_owned(),
            newest_only: false,
            digest_window: None,
            awaited: false,
            limited: false,
            trace: TraceContext::default(),
            request,
            fault: None,
        }
    }

    #[test]
    fn known_endpoint_is_registered_again_after_hours() {
        let settings = settings::load(None, std::iter::empty()).unwrap().settings;
        let (endpoints, deliveries) = (Endpoints::new(&settings.webhook), [delivery(), delivery()]);
        let unknown = |age| endpoints.unknown_at(&deliveries, Instant::now() + age).len();
        assert_eq!(unknown(Duration::ZERO), 1);
        endpoints.remember(vec![delivery().lane()]);
        assert_eq!(unknown(MAX_AGE.saturating_sub(Duration::from_mins(1))), 0);
        assert_eq!(unknown(MAX_AGE), 1);
    }
}
