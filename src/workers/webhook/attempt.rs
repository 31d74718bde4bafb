//! One attempt of one claimed delivery. Whatever the receiver does, it ends in a [`Finished`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout_at,
};
use tokio_util::sync::CancellationToken;

use super::{
    headers::{Belonging, with_own_headers},
    lanes::Place,
    routes::Route,
};
use crate::{
    domain::webhook::{
        attempt::{Class, Outcome, hold},
        endpoint::Profile,
        slack,
    },
    http_client::HttpClient,
    postgres::deliveries::ClaimedDelivery,
};

/// What the attempts of one worker share.
pub(super) struct Sender {
    pub(super) client: HttpClient,
    /// One for each request that may be in flight.
    pub(super) slots: Semaphore,
    /// How long a claimed delivery may wait for its slots.
    pub(super) patience: Duration,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    pub(super) stop: CancellationToken,
}

/// A delivery of ours.
pub(super) struct Claimed {
    pub(super) delivery: ClaimedDelivery,
    /// Before it was claimed.
    pub(super) since: Instant,
    /// Its place in its lane.
    pub(super) place: Place,
    /// Room for another claim, once this one is recorded.
    pub(super) room: OwnedSemaphorePermit,
}

/// What became of a claim.
pub(super) struct Finished {
    pub(super) claimed: Claimed,
    /// When the attempt began and how it ended. `None`: there was no attempt, the claim is given back.
    pub(super) attempted: Option<(OffsetDateTime, Outcome)>,
}

impl Sender {
    pub(super) async fn run(self: Arc<Self>, mut claimed: Claimed) {
        let lane = Arc::clone(&claimed.place.0);
        let slots = async {
            // The slot of the lane first: who waits for a slow endpoint keeps no slot from the others.
            let slot = lane.slots.acquire().await.ok()?;
            Some((slot, self.slots.acquire().await.ok()?))
        };
        // Not for longer: what waits behind a slow endpoint keeps the room of others' deliveries.
        let slots = timeout_at((claimed.since + self.patience).into(), slots);
        let attempted = match self.stop.run_until_cancelled(slots).await {
            Some(Ok(Some(_slots))) if self.may_begin(&claimed) => Some(self.attempt(&mut claimed).await),
            _ => None,
        };
        // The recorder ends after the last sender only.
        let _ = self.finished.send(Finished { claimed, attempted });
    }

    /// Whether the lease leaves time enough, and the endpoint has not asked for a pause meanwhile.
    fn may_begin(&self, claimed: &Claimed) -> bool {
        claimed.delivery.is_expired
            || (claimed.since.elapsed() < self.patience && claimed.place.0.is_open(claimed.since))
    }

    async fn attempt(&self, Claimed { delivery, place, .. }: &mut Claimed) -> (OffsetDateTime, Outcome) {
        let started_at = OffsetDateTime::now_utc();
        let without_answer = |class, text: &str| Outcome::without_answer(class, Duration::ZERO, text);
        let lane = &place.0;
        // A claim is attempted once, and what is recorded of it is not the request.
        let request = std::mem::replace(&mut delivery.request, Err(String::new()));
        let mut outcome = match request {
            Err(fault) => without_answer(Class::Invalid, &fault),
            Ok(_) if delivery.is_expired => without_answer(
                Class::Expired,
                "the endpoint was not to be reached for longer than webhook.max_age",
            ),
            Ok(request) => {
                let of = Belonging {
                    id: delivery.key.id,
                    traceparent: delivery.trace.traceparent(),
                    tracestate: delivery.trace.tracestate(),
                };
                let Route { http, secrets, .. } = &*lane.route;
                let request = with_own_headers(request, of, started_at.unix_timestamp(), secrets);
                self.client.send(request, http).await
            }
        };
        if lane.profile == Profile::Slack {
            slack::explain(&mut outcome);
        }
        outcome.class = lane.route.rule.class(&outcome);
        if let Some(wait) = hold(&outcome) {
            // Until it is recorded; by then what is claimed now is too old to begin.
            lane.hold(wait.min(self.patience));
        }
        (started_at, outcome)
    }
}
