//! What worker 1 knows of endpoints: their terms, and which of them have their row in the database.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{
    domain::webhook::endpoint::{Endpoint, Terms},
    postgres::deliveries::NewDelivery,
    settings::{EndpointTerms, Webhook},
};

/// Most endpoints that are remembered. Whoever writes triggers may invent any number of them.
const MOST_KNOWN: usize = 10_000;

/// The endpoints of one worker.
pub struct Endpoints {
    terms: EndpointTerms,
    /// A memory only: without it each batch would ask the database to make its endpoints once more.
    known: Mutex<HashSet<Uuid>>,
}

impl Endpoints {
    /// From the settings.
    #[must_use]
    pub fn new(settings: &Webhook) -> Self {
        Self { terms: settings.terms(), known: Mutex::default() }
    }

    pub(super) fn terms(&self, endpoint: &Endpoint) -> Terms {
        self.terms.of(endpoint.company().as_str(), endpoint.url())
    }

    /// The endpoints of these deliveries that may have no row, each once.
    pub(super) fn unknown<'a>(&self, deliveries: &'a [NewDelivery]) -> Vec<(&'a Endpoint, Terms)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        deliveries
            .iter()
            .filter_map(|delivery| delivery.endpoint.as_ref())
            .filter(|endpoint| !known.contains(&endpoint.id()) && seen.insert(endpoint.id()))
            .map(|endpoint| (endpoint, self.terms(endpoint)))
            .collect()
    }

    /// To be called once the rows are committed.
    pub(super) fn remember(&self, ids: Vec<Uuid>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MOST_KNOWN {
            known.clear();
        }
        known.extend(ids);
    }
}
