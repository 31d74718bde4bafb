//! The terms of each endpoint: the format of its requests, and how they may be sent.

use std::time::Duration;

use crate::domain::webhook::endpoint::{PerEndpoint, Profile, Terms};

/// The terms of every endpoint of a deployment. Holds no secrets.
#[derive(Clone, Debug)]
pub struct EndpointTerms {
    overrides: PerEndpoint<TermsOverride>,
    max_in_flight: u32,
}

/// The terms that a deployment sets for some endpoints. `None` keeps the default.
#[derive(Clone, Copy, Debug)]
pub struct TermsOverride {
    /// The format of bodies.
    pub profile: Option<Profile>,
    /// Maximum concurrent requests per process.
    pub max_in_flight: Option<u32>,
    /// Minimum time between two requests, over all processes.
    pub send_interval: Option<Duration>,
    /// Whether an older version of a contact is never sent after a newer one.
    pub newest_only: bool,
    /// How long deliveries are collected for a digest.
    pub digest_window: Option<Duration>,
}

impl EndpointTerms {
    /// `max_in_flight` applies to endpoints without an override.
    #[must_use]
    pub fn new(overrides: PerEndpoint<TermsOverride>, max_in_flight: u32) -> Self {
        Self { overrides, max_in_flight }
    }

    /// The terms of one endpoint. `url` is its address without query and fragment.
    #[must_use]
    pub fn of(&self, company: &str, url: &str) -> Terms {
        let given = self.overrides.get(company, url);
        let profile = given.and_then(|given| given.profile).unwrap_or_else(|| Profile::of_url(url));
        Terms {
            profile,
            max_in_flight: given.and_then(|given| given.max_in_flight).unwrap_or(self.max_in_flight),
            send_interval: given.and_then(|given| given.send_interval).or_else(|| profile.send_interval()),
            newest_only: given.is_some_and(|given| given.newest_only),
            digest_window: given.and_then(|given| given.digest_window),
        }
    }
}
