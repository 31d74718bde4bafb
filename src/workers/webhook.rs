//! Worker 2: from due deliveries in Postgres to HTTP requests and their recorded outcomes.
//!
//! Claim, commit; send; record. Nothing is held across a request but a lease: this file claims,
//! `attempt` sends, `recorder` records. What was claimed and not recorded (a crash, a kill) becomes
//! due again when its lease ends, and is sent with the same `webhook-id`.

mod attempt;
pub mod endpoint_test;
mod headers;
mod lanes;
mod limits;
mod own_services;
mod recorder;
mod routes;
mod throughput;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use uuid::Uuid;

use self::{
    attempt::{Claimed, Sender},
    lanes::Lanes,
    recorder::Recorder,
    routes::Routes,
};
use super::backoff::Backoff;
use crate::{
    domain::chain::outgoing::OutgoingEvent,
    domain::webhook::{breaker::BreakerRule, egress, signature::BadSecret},
    health::Health,
    http_client::{self, HttpClient},
    postgres::{
        Database,
        chain_results::Terms,
        deliveries::{self, Claim, ClaimedDelivery},
        endpoints::{self, EndpointKey},
    },
    settings::{EndpointTerms, Settings},
    telemetry::chain,
};

/// Its name in logs and health.
pub const PART: &str = "webhook-worker";

/// How long a claimed delivery may wait for its slot before it is given back.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a lease lasts beyond waiting and sending, for recording the outcome. Short, because a delivery
/// whose worker was killed waits for the end of its lease.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Lanes whose digests are made in one transaction.
const LANES_AT_ONCE: usize = 4;

/// How long digests are made before what else is due has its turn.
const FOLDING: Duration = Duration::from_millis(500);

/// The shortest pause between two looks for what is due, when another worker is about to take it.
const SHORTEST_LOOK: Duration = Duration::from_millis(20);

/// Says that deliveries may be due. A hint: dropped unanswered, nothing is lost.
#[derive(Debug)]
pub struct WakeUp {
    /// Answered once what is due has been claimed; dropped when that did not come about.
    pub ack: oneshot::Sender<()>,
}

/// Sends what is due until it is stopped.
pub struct WebhookWorker {
    settings: Arc<Settings>,
    database: Database,
    wake_ups: mpsc::Receiver<WakeUp>,
    relay: mpsc::Sender<Vec<OutgoingEvent>>,
    health: Health,
    client: HttpClient,
    routes: Routes,
}

/// Why there can be no worker.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// No HTTP client.
    #[error(transparent)]
    Http(#[from] http_client::SetUpError),
    /// A secret that cannot sign.
    #[error("a signing secret is not usable")]
    Secret(#[from] BadSecret),
}

/// The client of this process, which goes nowhere that the settings do not allow.
fn client(settings: &Settings) -> HttpClient {
    let policy = egress::Policy { own: own_services::console(settings), ..settings.webhook.egress() };
    HttpClient::new(policy, own_services::named(settings))
}

impl WebhookWorker {
    /// `relay` takes what is committed and must be published.
    ///
    /// # Errors
    /// When the system has no CA certificates, a file of an endpoint's TLS cannot be used, or a signing
    /// secret is none.
    pub fn new(
        settings: Arc<Settings>,
        database: Database,
        wake_ups: mpsc::Receiver<WakeUp>,
        relay: mpsc::Sender<Vec<OutgoingEvent>>,
        health: Health,
    ) -> Result<Self, SetUpError> {
        let client = client(&settings);
        let routes = Routes::new(&settings.webhook)?;
        Ok(Self { settings, database, wake_ups, relay, health, client, routes })
    }

    /// Works until `stop`, then until every request in flight has ended and is recorded.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let (finished, outcomes) = mpsc::unbounded_channel();
        let retry_noted = Arc::new(Notify::new());
        let (stuck, recorder_stuck) = watch::channel(false);
        let webhook = &self.settings.webhook;
        let lanes = Arc::new(Lanes::new(self.routes));
        let recorder = Recorder {
            database: self.database.clone(),
            breaker: BreakerRule {
                failures: webhook.breaker_failures,
                after: webhook.breaker_after,
                wait: webhook.breaker_wait,
            },
            lanes: Arc::clone(&lanes),
            health: self.health.clone(),
            retry_noted: Arc::clone(&retry_noted),
            stuck,
            relay: self.relay,
            results: Terms { source: self.settings.events.source.clone(), lease: self.settings.outbox.lease },
        };
        tasks.spawn(recorder.run(outcomes));
        let sender = Arc::new(Sender {
            client: self.client,
            slots: Semaphore::new(webhook.concurrency),
            patience: PATIENCE,
            finished,
            stop: stop.clone(),
        });
        let claims = Claims {
            database: self.database,
            health: self.health,
            terms: webhook.terms(),
            wake_ups: Some(self.wake_ups),
            hints: Vec::new(),
            lanes,
            // Twice what may be in flight, so that the next requests are at hand when a slot is free.
            room: Arc::new(Semaphore::new(2 * webhook.concurrency)),
            enough_room: u32::try_from(webhook.concurrency / 2).unwrap_or(u32::MAX).max(1),
            lease: PATIENCE + webhook.longest_timeout() + LEASE_MARGIN,
            max_age: webhook.max_age,
            source: self.settings.events.source.clone(),
            poll_interval: webhook.poll_interval,
            next_look: Instant::now(),
            retry_noted,
            recorder_stuck,
        };
        claims.run(&stop, &tasks, sender).await;
        tasks.close();
        tasks.wait().await;
        info!("{PART} stopped");
    }
}

/// The claiming side of the worker.
struct Claims {
    database: Database,
    health: Health,
    terms: EndpointTerms,
    /// `None` once nobody can send any more.
    wake_ups: Option<mpsc::Receiver<WakeUp>>,
    /// Taken and not yet answered.
    hints: Vec<WakeUp>,
    /// One permit per claimed delivery until its outcome is recorded. While nothing can be recorded,
    /// nothing more is claimed.
    room: Arc<Semaphore>,
    /// How many permits must be free before the next claim: one by one would cost a query each.
    enough_room: u32,
    lanes: Arc<Lanes>,
    lease: Duration,
    max_age: Duration,
    /// CloudEvents `source` of what is published.
    source: String,
    poll_interval: Duration,
    /// When to look for due deliveries though no message said so.
    next_look: Instant,
    /// The recorder set a delivery to be retried.
    retry_noted: Arc<Notify>,
    /// Whether outcomes cannot be written now. Closed when the recorder is gone.
    recorder_stuck: watch::Receiver<bool>,
}

impl Claims {
    async fn run(mut self, stop: &CancellationToken, tasks: &TaskTracker, sender: Arc<Sender>) {
        if !limits::align(&self.database, &self.terms, &self.health, stop).await {
            return;
        }
        let mut backoff = Backoff::default();
        let mut more = true;
        while let Some(Some(mut room)) = stop.run_until_cancelled(self.free_room()).await {
            if !more && stop.run_until_cancelled(self.wait()).await.is_none() {
                break;
            }
            if !self.recorder_works(stop).await {
                break;
            }
            self.take_hints();
            let limit = room.num_permits();
            match self.claim(limit).await {
                Ok((since, deliveries, has_more)) => {
                    backoff.reset();
                    self.health.ready(PART);
                    more = has_more;
                    for delivery in deliveries {
                        if let Some(room) = room.split(1) {
                            let place = self.lanes.place(&delivery);
                            let claimed = Claimed { delivery, since, place, room };
                            tasks.spawn(Arc::clone(&sender).run(claimed));
                        }
                    }
                }
                Err(error) => {
                    let error = chain(&error);
                    warn!(error, "{PART} waits for the database");
                    self.health.failing(PART, format!("database: {error}"));
                    more = true;
                    if !backoff.wait(stop).await {
                        break;
                    }
                }
            }
        }
    }

    /// All the room there is, once it is enough.
    async fn free_room(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        let mut room = Arc::clone(&self.room).acquire_many_owned(self.enough_room).await.ok()?;
        let rest = u32::try_from(self.room.available_permits()).unwrap_or(u32::MAX);
        if let Ok(rest) = Arc::clone(&self.room).try_acquire_many_owned(rest) {
            room.merge(rest);
        }
        Some(room)
    }

    /// Waits while outcomes cannot be written: their leases may have ended, and a claim would send
    /// again what only waits to be recorded. `false` when there is nothing to wait for.
    async fn recorder_works(&mut self, stop: &CancellationToken) -> bool {
        let works = stop.run_until_cancelled(self.recorder_stuck.wait_for(|stuck| !stuck)).await;
        let works = works.map(|works| works.is_ok());
        if works == Some(false) {
            error!("{PART} has lost its recorder and claims no more; restart this process");
            self.health.failing(PART, "the recorder ended");
        }
        works == Some(true)
    }

    /// Waits until something may be due.
    async fn wait(&mut self) {
        let wake_up = async {
            match &mut self.wake_ups {
                Some(wake_ups) => wake_ups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            wake_up = wake_up => match wake_up {
                Some(hint) => self.hints.push(hint),
                None => self.wake_ups = None,
            },
            () = self.retry_noted.notified() => self.next_look = Instant::now(),
            () = self.lanes.freed.notified() => {}
            () = tokio::time::sleep_until(self.next_look.into()) => {}
        }
    }

    /// One claim serves all hints that came so far.
    fn take_hints(&mut self) {
        while let Some(Ok(hint)) = self.wake_ups.as_mut().map(mpsc::Receiver::try_recv) {
            self.hints.push(hint);
        }
    }

    /// Claims, answers the hints, and finds out when to look again: at once where the last value says that there
    /// may be more. When this fails the hints stay.
    async fn claim(&mut self, limit: usize) -> Result<(Instant, Vec<ClaimedDelivery>, bool), sqlx::Error> {
        let claim = Claim {
            limit,
            lease: self.lease,
            token: Uuid::now_v7(),
            busy: &self.lanes.busy(),
            max_age: self.max_age,
            source: &self.source,
            now: OffsetDateTime::now_utc(),
        };
        // Whoever is frozen in the middle must not take an old lease for a new one.
        let unit = async |conn: &mut PgConnection| {
            let since = Instant::now();
            Ok::<_, sqlx::Error>((since, deliveries::claim(conn, &claim).await?))
        };
        let (since, claimed) = self.database.unit(unit).await?;
        let claimed = self.without_digests(claimed, &claim).await;
        for hint in self.hints.drain(..) {
            // Nobody listens any more when its broker connection has gone; the message comes again.
            let _ = hint.ack.send(());
        }
        let has_more = claimed.len() == limit || may_have_more(&claimed);
        if !has_more && self.next_look <= Instant::now() {
            // What was claimed is ours already: it must be sent though this query may fail.
            let full = self.lanes.full();
            let due = self.database.unit(async |conn| deliveries::next_due(conn, &full).await).await;
            let due = due.unwrap_or_default();
            let wait = due.map_or(self.poll_interval, |due| due.clamp(SHORTEST_LOOK, self.poll_interval));
            self.next_look = Instant::now() + wait;
        }
        Ok((since, claimed, has_more))
    }

    /// Makes digests of what waited for one; they are due with the next claim. Where that fails they wait for the
    /// end of their lease: what else was claimed is ours already and must be sent.
    async fn without_digests(
        &self,
        claimed: Vec<ClaimedDelivery>,
        claim: &Claim<'_>,
    ) -> Vec<ClaimedDelivery> {
        let (members, others): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|one| one.is_digest && !one.is_expired);
        if members.is_empty() {
            return others;
        }
        let profile =
            |one: &ClaimedDelivery| (one.lane.clone(), self.lanes.profile(&one.lane, &one.endpoint_url));
        let lanes: Vec<_> = members.iter().map(profile).collect::<BTreeMap<_, _>>().into_iter().collect();
        let mut waiting = lanes.chunks(LANES_AT_ONCE);
        let began = Instant::now();
        // Windows of one length end together, those of many lanes, too.
        while began.elapsed() < FOLDING
            && let Some(lanes) = waiting.next()
        {
            let lanes = lanes.iter().cloned().collect();
            let unit = async |conn: &mut PgConnection| {
                let mut transaction = conn.begin().await?;
                deliveries::fold(&mut transaction, &lanes, claim.token, claim.lease).await?;
                transaction.commit().await
            };
            if let Err(error) = self.database.unit(unit).await {
                let (error, count) = (chain(&error), lanes.len());
                warn!(error, "{PART} cannot make the digests of {count} endpoints; they are tried again");
            }
        }
        let left: BTreeSet<EndpointKey> = waiting.flatten().map(|(lane, _)| lane.clone()).collect();
        let (given_back, folded): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| left.contains(&member.lane));
        let unit = async |conn: &mut PgConnection| {
            deliveries::hand_back(conn, &given_back).await?;
            // The digest itself is the next probe.
            endpoints::release_probes(conn, given_back.iter().chain(&folded)).await
        };
        if let Err(error) = self.database.unit(unit).await {
            warn!(
                error = chain(&error),
                "{PART} cannot give back what it made no digests of; their leases end"
            );
        }
        self.retry_noted.notify_one();
        others
    }
}

/// Whether a lane may have more to claim at once: its share was all that it got, and all that it got.
fn may_have_more(claimed: &[ClaimedDelivery]) -> bool {
    let mut counts: HashMap<&EndpointKey, u32> = HashMap::new();
    claimed.iter().any(|delivery| {
        let count = counts.entry(&delivery.lane).or_default();
        *count += 1;
        delivery.share.is_some_and(|share| *count >= share)
    })
}
