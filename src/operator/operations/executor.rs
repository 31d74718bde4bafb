//! Works on operations, window by window: each is marked, published and settled before the next one begins.
//!
//! If the process dies between marking and settling, the next owner publishes the window again. That is harmless: an
//! event or delivery takes effect once. Nothing is marked twice.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        audit::{Actor, Via},
        dead_letters::{self, Recording},
        rate_limit::RateLimit,
        wake_worker::{self, WakeUpError},
    },
    Action, DELIVERY_GONE, WRONG_STATE,
    canary::judge,
    delivery, replay,
};
use crate::{
    amqp::{ConnectError, PublishError, Publisher, Topology},
    domain::event::Key,
    postgres::{
        Database, Failure, classify,
        dead_letters::{self as letters, Replayable},
        operations::{self as store, Item, Outcome, Settled},
    },
    settings::Settings,
    telemetry::traces::Traces,
};

/// Items of one transaction, unless a rate or their size makes them fewer.
pub(super) const WINDOW: usize = 500;

/// Bytes of messages in one transaction. One always fits.
const WINDOW_BYTES: i64 = 8 << 20;

/// How long an operation belongs to its owner after the last window.
const LEASE: Duration = Duration::from_secs(30);

/// Skipped: the database refuses to change it, for example because another session keeps it locked.
const REFUSED: &str = "refused";

/// Why work on an operation ended early. It continues from there.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The database failed.
    #[error("could not mark or settle the items")]
    Database(#[from] sqlx::Error),
    /// The broker could not be reached.
    #[error("could not connect to publish the dead letters")]
    Connect(#[from] ConnectError),
    /// The broker failed.
    #[error("could not publish the dead letters")]
    Publish(#[from] PublishError),
}

impl WorkError {
    /// Whether an item is the cause, so that others can go on without it.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => !matches!(classify(error), Failure::Systemic | Failure::Race),
            Self::Publish(error) => error.is_refusal(),
            Self::Connect(_) => false,
        }
    }
}

/// What a window has achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Some items were settled.
    Worked,
    /// Nothing can be done before this time has passed.
    Waits(Duration),
    /// The operation is done, paused or canceled, or another process works on it.
    Ended,
}

/// Works on one operation at a time.
pub struct Executor {
    database: Database,
    settings: Arc<Settings>,
    topology: Topology,
    owner: Uuid,
    publisher: Option<Publisher>,
    current: Option<Current>,
    traces: Traces,
}

/// The operation that an executor works on.
struct Current {
    operation: Uuid,
    publishes: bool,
    /// Whether the broker did not take a wake-up. The next window must not wait for it, too.
    is_unheard: bool,
    limit: Option<RateLimit>,
    /// Items of the next window: halved when one is refused, until the item that is the cause is alone.
    window: usize,
}

/// What follows the first transaction of a step.
enum Next {
    Window(replay::Window),
    Deliveries(delivery::Window),
    Step(Step),
}

impl Executor {
    /// Works as a new owner.
    #[must_use]
    pub fn new(database: Database, settings: Arc<Settings>) -> Self {
        let topology = Topology::new(&settings.amqp.namespace);
        let (owner, traces) = (Uuid::now_v7(), Traces::default());
        Self { database, settings, topology, owner, publisher: None, current: None, traces }
    }

    /// Records the spans of replays.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Becomes the owner of a running operation that nobody works on: of `wanted` if given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self, wanted: Option<Uuid>) -> Result<Option<Uuid>, sqlx::Error> {
        let owner = self.owner;
        self.database.transact(|_| true, async |conn| store::claim(conn, owner, LEASE, wanted).await).await
    }

    /// Lets another process continue the operation.
    ///
    /// # Errors
    /// When the database fails; others then wait until the lease has ended.
    pub async fn release(&self, operation: Uuid) -> Result<(), sqlx::Error> {
        let owner = self.owner;
        self.database.transact(|()| true, async |conn| store::release(conn, operation, owner).await).await
    }

    /// Does the next window of an operation that this executor owns. If the database or the broker refuses it, the window
    /// is halved, and an item that is refused alone is left out.
    ///
    /// # Errors
    /// When the database or the broker is unreachable. Nothing is lost, and the same window is repeated.
    pub async fn step(&mut self, operation: Uuid) -> Result<Step, WorkError> {
        let window = self.prepare(operation).await?;
        let done = self.do_window(operation, window).await;
        if matches!(done, Ok(Step::Ended)) {
            // It may be resumed at another rate.
            self.current = None;
        }
        let next = match &done {
            Err(error) if error.is_refusal() => {
                let found = self.database.unit(async |conn| store::get(conn, operation).await).await?;
                let left = found.map_or(0, |one| one.total - one.done - one.skipped - one.failed);
                match window.min(usize::try_from(left).unwrap_or_default()) {
                    0 | 1 => return self.leave_out(operation, error).await,
                    refused => refused / 2,
                }
            }
            Err(_) => return done,
            Ok(_) => window.saturating_mul(2).min(WINDOW),
        };
        if let Some(current) = &mut self.current {
            current.window = next;
        }
        Ok(done.unwrap_or(Step::Worked))
    }

    async fn do_window(&mut self, operation: Uuid, window: usize) -> Result<Step, WorkError> {
        let (owner, settings) = (self.owner, Arc::clone(&self.settings));
        let begin = async |conn: &mut PgConnection| begin(conn, (operation, owner), &settings, window).await;
        let window = match self.database.transact(|_| true, begin).await? {
            Next::Window(window) => window,
            Next::Deliveries(delivery::Window { has_due, missing }) => {
                if has_due {
                    self.wake().await;
                }
                delivery::explain(&self.database, operation, missing).await;
                return Ok(Step::Worked);
            }
            Next::Step(step) => return Ok(step),
        };
        let reopen = self.publish(operation, &window.replayables).await?;
        let settle = async |conn: &mut PgConnection| {
            let Some(claimed) = store::lock(conn, operation, owner, LEASE).await? else {
                return Ok(Step::Ended);
            };
            dead_letters::end(conn, &window.replayables, &reopen).await?;
            store::settle(conn, operation, &replay::outcomes(&window, &reopen)).await?;
            Ok(if claimed.is_running { Step::Worked } else { Step::Ended })
        };
        Ok(self.database.transact(|_| true, settle).await?)
    }

    /// Settles the next item, which is refused. One that the broker refuses is open again.
    async fn leave_out(&self, operation: Uuid, error: &WorkError) -> Result<Step, WorkError> {
        let (owner, by_broker) = (self.owner, matches!(error, WorkError::Publish(_)));
        let leave_out = async |conn: &mut PgConnection| {
            let Some(claimed) = store::lock(conn, operation, owner, LEASE).await? else {
                return Ok(Step::Ended);
            };
            let items = store::next_items(conn, operation, claimed.total - claimed.settled, 1).await?;
            let keys: Vec<Key> = items.iter().map(|item| item.key.clone()).collect();
            if by_broker {
                let replayables = letters::replaying(conn, &keys).await?;
                let reopen = replayables.iter().filter(|one| one.is_its_message());
                let reopen: Vec<Key> = reopen.map(|one| one.key.clone()).collect();
                dead_letters::end(conn, &replayables, &reopen).await?;
            }
            let outcome = if by_broker { Outcome::Failed } else { Outcome::Skipped(REFUSED) };
            let settled = items.iter().map(|item| Settled { position: item.position, outcome });
            store::settle(conn, operation, &settled.collect::<Vec<_>>()).await?;
            Ok(Step::Worked)
        };
        Ok(self.database.transact(|_| true, leave_out).await?)
    }

    /// Connects to the broker, before anything is marked for publishing.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn connect(&mut self) -> Result<(), ConnectError> {
        self.publisher = Some(self.publisher().await?);
        Ok(())
    }

    /// Connects if the operation publishes, waits until its next window may begin, and returns the size of that.
    async fn prepare(&mut self, operation: Uuid) -> Result<usize, WorkError> {
        if self.current.as_ref().is_none_or(|current| current.operation != operation) {
            let found = self.database.unit(async |conn| store::get(conn, operation).await).await?;
            let rate = found.as_ref().and_then(|found| NonZeroU32::new(u32::try_from(found.rate?).ok()?));
            self.current = Some(Current {
                operation,
                publishes: found.is_some_and(|found| found.action == Action::Replay.name()),
                is_unheard: false,
                limit: rate.map(|rate| RateLimit::new(Some(rate))),
                window: WINDOW,
            });
        }
        if self.current.as_ref().is_some_and(|current| current.publishes) {
            self.connect().await?;
        }
        let Some(current) = &mut self.current else { return Ok(WINDOW) };
        let Some(limit) = &mut current.limit else { return Ok(current.window) };
        let window = limit.window().min(current.window);
        limit.wait(window).await;
        Ok(window)
    }

    /// Wakes worker 2, which would find the deliveries at its next poll.
    async fn wake(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.is_unheard) {
            return;
        }
        if let Err(error) = self.try_wake().await {
            wake_worker::failed(&error);
            if let Some(current) = &mut self.current {
                current.is_unheard = true;
            }
        }
    }

    async fn try_wake(&mut self) -> Result<(), WakeUpError> {
        let mut publisher = self.publisher().await?;
        wake_worker::publish(&mut publisher, &self.topology).await?;
        self.publisher = Some(publisher);
        Ok(())
    }

    /// The connection to the broker, which is not used again after an error.
    async fn publisher(&mut self) -> Result<Publisher, ConnectError> {
        match self.publisher.take() {
            Some(publisher) => Ok(publisher),
            None => Publisher::connect(&self.settings.amqp, "operations").await,
        }
    }

    async fn publish(&mut self, operation: Uuid, replayables: &[Replayable]) -> Result<Vec<Key>, WorkError> {
        if replayables.is_empty() {
            return Ok(Vec::new());
        }
        let mut publisher = self.publisher().await?;
        let recording = Recording { traces: &self.traces, operation: Some(operation) };
        let unpublished =
            dead_letters::publish(&mut publisher, &self.topology, replayables, recording).await?;
        self.publisher = Some(publisher);
        Ok(unpublished)
    }
}

/// Locks the operation, and marks its next window; one of discards or of deliveries is done with that. The ids are those of the operation and
/// its owner.
async fn begin(
    conn: &mut PgConnection,
    (operation, owner): (Uuid, Uuid),
    settings: &Settings,
    window: usize,
) -> Result<Next, sqlx::Error> {
    let claimed = store::lock(conn, operation, owner, LEASE).await?.filter(|claimed| claimed.is_running);
    let Some(claimed) = claimed else { return Ok(Next::Step(Step::Ended)) };
    let mut limit = i64::try_from(window).unwrap_or(i64::MAX);
    if let Some(canary) = claimed.canary.map(i64::from) {
        if claimed.replayed >= canary || claimed.settled >= claimed.total {
            let wait = judge(conn, &claimed).await?;
            return Ok(Next::Step(wait.map_or(Step::Worked, Step::Waits)));
        }
        limit = limit.min(canary - claimed.replayed);
    }
    let mut items = store::next_items(conn, operation, claimed.total - claimed.settled, limit).await?;
    if items.is_empty() {
        // It has no item, or retention has taken the rest.
        store::end(conn, operation).await?;
        return Ok(Next::Step(Step::Ended));
    }
    truncate(&mut items);
    let actor = Actor {
        name: claimed.operator.clone(),
        // A process of a later version may know more surfaces.
        via: claimed.via.parse().unwrap_or(Via::Api),
        reason: claimed.reason.clone(),
    };
    let keys: Vec<Key> = items.iter().map(|item| item.key.clone()).collect();
    let changed = match claimed.action {
        Action::Replay => {
            let max_replays = settings.dead_letter.max_replays;
            return replay::begin(conn, &actor, operation, items, max_replays).await.map(Next::Window);
        }
        Action::Resend => {
            return delivery::resend(conn, &actor, operation, &items).await.map(Next::Deliveries);
        }
        Action::DiscardDeliveries => {
            let source = &settings.events.source;
            return delivery::discard(conn, &actor, operation, &items, source).await.map(Next::Deliveries);
        }
        Action::Discard => dead_letters::discard_window(conn, &actor, &keys).await?,
        Action::Restore => dead_letters::restore_window(conn, &actor, &keys).await?,
    };
    let is_changed = |key: &Key| changed.iter().any(|(one, _)| one == key);
    let left: Vec<Key> = keys.iter().filter(|key| !is_changed(key)).cloned().collect();
    let gone = match claimed.action {
        Action::Restore if !left.is_empty() => letters::without_delivery(conn, &left).await?,
        _ => Vec::new(),
    };
    let settled = items.iter().map(|item| Settled {
        position: item.position,
        outcome: if is_changed(&item.key) {
            Outcome::Done(None)
        } else if gone.contains(&item.key) {
            Outcome::Skipped(DELIVERY_GONE)
        } else {
            Outcome::Skipped(WRONG_STATE)
        },
    });
    store::settle(conn, operation, &settled.collect::<Vec<_>>()).await?;
    Ok(Next::Step(Step::Worked))
}

/// Leaves as many of the items as [`WINDOW_BYTES`] allow, and at least one.
fn truncate(items: &mut Vec<Item>) {
    let mut bytes = 0_i64;
    let fit = items.iter().take_while(|item| {
        bytes = bytes.saturating_add(item.bytes);
        bytes <= WINDOW_BYTES
    });
    let fit = fit.count().max(1);
    items.truncate(fit);
}
