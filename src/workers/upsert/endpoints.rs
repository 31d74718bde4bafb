//! Worker 1's view of endpoints: their terms, and which of them have a row in the database.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
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

/// The endpoints of one worker.
pub struct Endpoints {
    terms: EndpointTerms,
    /// Endpoints whose row is committed. Without this cache each batch would insert its endpoints again.
    known: Mutex<HashSet<Key>>,
}

impl Endpoints {
    /// From the settings.
    #[must_use]
    pub fn new(settings: &Webhook) -> Self {
        Self { terms: settings.terms(), known: Mutex::default() }
    }

    pub(super) const fn terms(&self) -> &EndpointTerms {
        &self.terms
    }

    /// The endpoints of these deliveries that may have no row yet, each once.
    pub(super) fn unknown<'a>(&self, deliveries: &'a [Delivery]) -> Vec<Registration<'a>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        deliveries
            .iter()
            .filter(|delivery| !known.contains(&delivery.lane()) && seen.insert(delivery.lane()))
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
        if known.len() > MAX_KNOWN {
            known.clear();
        }
        known.extend(keys);
    }
}
