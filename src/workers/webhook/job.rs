//! A delivery in the memory of worker 2: where it is stored, and how its attempt ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{lanes::Lane, queue::Queued, skipping::Place};
use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::Outcome,
            delivery::{Delivery, Progress},
        },
    },
    postgres::effects::{EffectsKey, requests::Held},
};

/// A delivery in memory.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) progress: Progress,
    pub(super) lane: Key,
    pub(super) handle: Arc<Lane>,
    pub(super) origin: Origin,
    /// The id under which this process owns it.
    pub(super) owner: Uuid,
    /// When it was taken.
    pub(super) since: Instant,
    /// It was read at this time, or later.
    pub(super) read_at: Instant,
    /// Its lane had no failures. Successes are reported rarely then.
    pub(super) had_no_failures: bool,
    /// It has been due for longer than `webhook.max_age` while its lane was on hold or its breaker open. It ends without a
    /// request.
    pub(super) is_expired: bool,
    /// Set once it is skipped, as long as others have to wait for its row.
    pub(super) place: Option<Place>,
}

impl Job {
    /// The batch of a delivery that has no row.
    pub(super) fn batch(&self) -> Option<&Arc<Batch>> {
        match &self.origin {
            Origin::Batch(batch) => Some(batch),
            Origin::Row => None,
        }
    }
}

/// Where a delivery is stored.
pub(super) enum Origin {
    /// In the effects of a batch, and nowhere else until its outcome is recorded.
    Batch(Arc<Batch>),
    /// It has a row, and this process owns its lane.
    Row,
}

/// The requests of one batch.
pub(super) struct Batch {
    pub(super) key: EffectsKey,
    /// The id under which this process took it.
    pub(super) owner: Uuid,
    /// How many requests its row has.
    requests: usize,
    /// How many of them do not have their own row.
    left: AtomicUsize,
}

impl Batch {
    pub(super) fn new(key: EffectsKey, owner: Uuid, requests: usize, left: usize) -> Self {
        Self { key, owner, requests, left: AtomicUsize::new(left) }
    }

    pub(super) fn held(&self) -> Held<'_> {
        Held { key: &self.key, owner: self.owner, items: self.requests }
    }

    /// Whether all of it has rows once `recorded` more have one.
    pub(super) fn completes_with(&self, recorded: usize) -> bool {
        self.left.load(Ordering::Relaxed) <= recorded
    }

    /// This many more have a row.
    pub(super) fn recorded(&self, recorded: usize) {
        self.left.fetch_sub(recorded, Ordering::Relaxed);
    }
}

impl Queued for Job {
    fn id(&self) -> Uuid {
        self.delivery.key.id
    }

    fn lane(&self) -> &Key {
        &self.lane
    }

    fn host(&self) -> &str {
        &self.handle.host
    }

    fn size(&self) -> usize {
        self.delivery.request.size()
    }
}

/// The end of a job.
pub(super) struct Finished {
    pub(super) job: Job,
    /// When the attempt began and how it ended. `None`: it was not attempted.
    pub(super) attempt: Option<(OffsetDateTime, Outcome)>,
}
