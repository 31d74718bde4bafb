//! One attempt of one claimed delivery. It always ends in a [`Finished`], even when the receiver fails.

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
use tracing::{Instrument as _, debug, debug_span};

use super::{lanes::LaneGuard, routes::Route};
use crate::{
    domain::webhook::{
        attempt::{Class, Outcome, hold},
        endpoint::Profile,
        own_headers, slack,
    },
    http_client::HttpClient,
    postgres::deliveries::ClaimedDelivery,
};

/// What all attempts of one worker share.
pub(super) struct Sender {
    pub(super) client: HttpClient,
    /// One for each request that may be in flight.
    pub(super) slots: Semaphore,
    /// Maximum wait for a slot of the lane and one of the process.
    pub(super) max_slot_wait: Duration,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    pub(super) stop: CancellationToken,
}

/// A delivery that this process has claimed.
pub(super) struct Claimed {
    pub(super) delivery: ClaimedDelivery,
    /// Shortly before the claim's lease began.
    pub(super) since: Instant,
    pub(super) lane: LaneGuard,
    /// Lets the next delivery be claimed once this one is recorded.
    pub(super) permit: OwnedSemaphorePermit,
}

/// The end of a claim.
pub(super) struct Finished {
    pub(super) claimed: Claimed,
    /// When the attempt began and how it ended. `None`: it was not attempted and must be released.
    pub(super) attempt: Option<(OffsetDateTime, Outcome)>,
}

impl Sender {
    pub(super) async fn run(self: Arc<Self>, mut claimed: Claimed) {
        let lane = claimed.lane.share();
        let slots = async {
            // The lane's slot first: a delivery that waits for a slow endpoint must not take a slot from others.
            let slot = lane.slots.acquire().await.ok()?;
            Some((slot, self.slots.acquire().await.ok()?))
        };
        // The wait is bounded because a delivery behind a slow endpoint keeps its permit from others.
        let slots = timeout_at((claimed.since + self.max_slot_wait).into(), slots);
        let attempt = match self.stop.run_until_cancelled(slots).await {
            Some(Ok(Some(_slots))) if self.may_begin(&claimed) => {
                let key = &claimed.delivery.key;
                let span = debug_span!("attempt", delivery.id = %key.id, company.id = key.company);
                Some(self.attempt(&mut claimed).instrument(span).await)
            }
            _ => None,
        };
        // Cannot fail: the recorder runs until the last sender is dropped.
        let _ = self.finished.send(Finished { claimed, attempt });
    }

    /// Whether enough of the lease is left, and the endpoint has not asked for a hold meanwhile.
    fn may_begin(&self, claimed: &Claimed) -> bool {
        claimed.delivery.is_expired
            || (claimed.since.elapsed() < self.max_slot_wait && claimed.lane.is_open(claimed.since))
    }

    async fn attempt(&self, Claimed { delivery, lane, .. }: &mut Claimed) -> (OffsetDateTime, Outcome) {
        let started_at = OffsetDateTime::now_utc();
        let without_answer = |class, text: &str| Outcome::without_answer(class, Duration::ZERO, text);
        // A claim is attempted once, and the record of an attempt does not need the request.
        let request = std::mem::replace(&mut delivery.request, Err(String::new()));
        let mut outcome = match request {
            Err(fault) => without_answer(Class::Invalid, &fault),
            Ok(_) if delivery.is_expired => without_answer(
                Class::Expired,
                "the endpoint could not be reached for longer than webhook.max_age",
            ),
            Ok(mut request) => {
                let Route { http, secrets, .. } = &*lane.route;
                let own = own_headers::of_attempt(
                    delivery.key.id,
                    &delivery.trace,
                    started_at.unix_timestamp(),
                    secrets,
                    request.body.as_deref(),
                );
                request.headers.extend(own);
                self.client.send(request, http).await
            }
        };
        if lane.profile == Profile::Slack {
            slack::explain(&mut outcome);
        }
        outcome.class = lane.route.rule.class(&outcome);
        let (class, status) = (outcome.class.name(), outcome.status);
        debug!(class, status, "attempt ended ({class})");
        if let Some(wait) = hold(&outcome) {
            // Until the hold is recorded; then the row has it, and earlier claims of the lane are revoked.
            lane.hold(wait.min(self.max_slot_wait));
        }
        (started_at, outcome)
    }
}
