//! One attempt of one claimed delivery. Whatever the receiver does, it ends in a [`Finished`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::headers::with_own_headers;
use crate::{
    domain::{
        attempt::{Class, Outcome},
        signature::SigningSecret,
    },
    http_client::{HttpClient, Route},
    postgres::deliveries::ClaimedDelivery,
};

/// What the attempts of one worker share.
pub(super) struct Sender {
    pub(super) client: HttpClient,
    pub(super) route: Route,
    pub(super) secrets: Vec<SigningSecret>,
    /// One for each request that may be in flight.
    pub(super) slots: Semaphore,
    /// How long a claimed delivery may wait for its slot.
    pub(super) patience: Duration,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    pub(super) stop: CancellationToken,
}

/// What became of a claim.
pub(super) struct Finished {
    pub(super) delivery: ClaimedDelivery,
    /// When the attempt began and how it ended. `None`: there was no attempt, the claim is given back.
    pub(super) attempted: Option<(OffsetDateTime, Outcome)>,
    /// Room for another claim, once this one is recorded.
    pub(super) room: OwnedSemaphorePermit,
}

impl Sender {
    pub(super) async fn run(
        self: Arc<Self>,
        delivery: ClaimedDelivery,
        claimed_at: Instant,
        room: OwnedSemaphorePermit,
    ) {
        let attempted = match self.stop.run_until_cancelled(self.slots.acquire()).await {
            Some(Ok(_slot)) if claimed_at.elapsed() < self.patience => Some(self.attempt(&delivery).await),
            _ => None,
        };
        // The recorder ends after the last sender only.
        let _ = self.finished.send(Finished { delivery, attempted, room });
    }

    async fn attempt(&self, delivery: &ClaimedDelivery) -> (OffsetDateTime, Outcome) {
        let started_at = OffsetDateTime::now_utc();
        let outcome = match &delivery.request {
            Ok(request) => {
                let request = with_own_headers(request, delivery, started_at.unix_timestamp(), &self.secrets);
                self.client.send(request, &self.route).await
            }
            Err(fault) => Outcome::without_answer(Class::Invalid, Duration::ZERO, fault.as_str()),
        };
        (started_at, outcome)
    }
}
