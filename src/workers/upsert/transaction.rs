//! The one transaction of a batch: load what its events can touch, run them (`run`), write what they did.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};
use tracing::warn;
use uuid::Uuid;

use super::{
    apply_error::ApplyError,
    assumed::Assumed,
    locked,
    measures::Measures,
    run::{self, BatchResult, Messages},
    worker::UpsertWorker,
};
use crate::{
    domain::{
        chain::run::Run, contact::directory::Conflict, event::Key, fault::Reason,
        trigger::fired::TriggerFired, webhook::delivery::Delivery,
    },
    postgres::{
        batch::{self, Inserted, NewRows, Unseen},
        chain_results,
        dead_letters::{self, Recognition, SearchBudget},
        deliveries::{self, NewDelivery},
        directory,
        effects::{
            NewEffects,
            events::{self, EventBatch},
            requests::{self, RequestBatch},
        },
        endpoints::{self, LaneRow},
        links::{self, NewLink},
        table_locks,
    },
    workers::{
        lock_wait::LockWait,
        room::{self, InMemory},
    },
};

/// What a transaction did.
pub(super) struct Applied {
    pub(super) written: Written,
    pub(super) dead_letters: DeadLetters,
    measures: Measures,
}

/// The rows that a transaction wrote, as far as its caller needs them.
pub(super) struct Written {
    /// To be published by this process.
    pub(super) events: Vec<InMemory<EventBatch>>,
    /// To be sent by this process.
    pub(super) requests: Vec<InMemory<RequestBatch>>,
    /// Endpoints that have a row now.
    endpoints: Vec<Key>,
}

/// The dead letters of a transaction.
pub(super) struct DeadLetters {
    /// The reasons of those that it opened.
    opened: Vec<Reason>,
    /// How many messages have one that is locked.
    left_out: usize,
    /// How many messages lost their contents because they could not be searched for erased people.
    unsearched: usize,
    /// Why messages were refused, by their meaning, if spans are recorded.
    pub(super) reasons: HashMap<[u8; 32], Reason>,
}

impl DeadLetters {
    /// How many messages have one now.
    pub(super) const fn count(&self) -> usize {
        self.opened.len() + self.left_out
    }
}

/// How long a transaction waits for a lock, and whether it waits for the dead letters that messages have already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as other transactions do.
    Patient,
    /// Shortly: others met a lock a short time ago, and what is locked can be parked.
    Wary,
    /// Shortly, and not at all for the dead letter that a message has already.
    Brief,
    /// As long as others may need to commit: a longer wait has just failed. Not at all for dead letters.
    Least,
}

impl Patience {
    /// Whether it waits for the dead letters that messages have already.
    const fn awaits_dead_letters(self) -> bool {
        matches!(self, Self::Patient | Self::Wary)
    }

    const fn lock_wait(self) -> LockWait {
        match self {
            Self::Patient => LockWait::Default,
            Self::Wary | Self::Brief => LockWait::Short,
            Self::Least => LockWait::Shortest,
        }
    }
}

/// Applies accepted messages, stores rejected ones, commits, and returns what is left to do.
pub(super) async fn apply(
    worker: &UpsertWorker,
    messages: Messages<'_>,
    patience: Patience,
    budget: &SearchBudget,
) -> Result<Applied, ApplyError> {
    let began = Instant::now();
    let assumed =
        worker.experience.assume(messages.accepted.len(), messages.seem_new(), patience == Patience::Patient);
    let mut try_out = Try { worker, messages, patience, budget, assumed, lanes: Vec::new() };
    let unit = async |conn: &mut PgConnection| {
        loop {
            match try_out.run(conn).await {
                Ok(Err(ApplyError::Seen)) => try_out.assumed = try_out.assumed.less(),
                tried => return tried,
            }
        }
    };
    let mut applied = worker.database.unit(unit).await??;
    let DeadLetters { opened, left_out, unsearched, .. } = &applied.dead_letters;
    applied.measures.record(&worker.metrics, began, opened, *left_out);
    log_dead_letters(&worker.name, opened, *left_out);
    dead_letters::log_unsearched(&worker.name, *unsearched);
    worker.endpoints.remember(std::mem::take(&mut applied.written.endpoints));
    Ok(applied)
}

/// One transaction.
struct Try<'a> {
    worker: &'a UpsertWorker,
    messages: Messages<'a>,
    patience: Patience,
    budget: &'a SearchBudget,
    /// After [`ApplyError::Seen`] the next try assumes less. With [`Assumed::Nothing`] nothing is refused for that.
    assumed: Assumed,
    /// The lanes that each accepted message needs, unless the transaction is patient.
    lanes: Vec<Vec<Key>>,
}

impl Try<'_> {
    /// Commits, or rolls back what cannot be applied. After an error of the database the connection is not usable any more.
    async fn run(&mut self, conn: &mut PgConnection) -> Result<Result<Applied, ApplyError>, sqlx::Error> {
        // Before the database takes the time of the rows: others may think them forgotten once they are too old.
        let began = Instant::now();
        let tried = if self.assumed == Assumed::NewPeople {
            // A single statement is a transaction.
            self.apply(conn, began).await
        } else {
            self.transact(conn, began).await?
        };
        match tried {
            Ok(applied) => Ok(Ok(applied)),
            Err(ApplyError::Systemic(error)) => Err(error),
            Err(mut error) => {
                let may_be = matches!(error, ApplyError::Locked { .. } | ApplyError::Slow(_));
                if may_be && table_locks::any(conn).await? {
                    return Ok(Err(ApplyError::TableLocked));
                }
                if let ApplyError::Locked { blocked, .. } = &mut error {
                    let accepted: Vec<_> = self.messages.accepted.iter().collect();
                    *blocked = locked::find(self.worker, conn, &accepted, &self.lanes).await?;
                }
                Ok(Err(error))
            }
        }
    }

    async fn transact(
        &mut self,
        conn: &mut PgConnection,
        began: Instant,
    ) -> Result<Result<Applied, ApplyError>, sqlx::Error> {
        let mut transaction = conn.begin().await?;
        self.patience.lock_wait().set(&mut transaction).await?;
        match self.apply(&mut transaction, began).await {
            Ok(applied) => transaction.commit().await.map(|()| Ok(applied)),
            Err(ApplyError::Systemic(error)) => Err(error),
            // The connection is sound, and a new one would cost more than the next try.
            Err(error) => transaction.rollback().await.map(|()| Err(error)),
        }
    }

    async fn apply(&mut self, conn: &mut PgConnection, began: Instant) -> Result<Applied, ApplyError> {
        let Self { worker, messages, patience, budget, assumed, .. } = *self;
        let loaded = run::load(worker, conn, messages, assumed).await?;
        let mut result = run::run_all(worker, loaded, messages)?;
        if assumed == Assumed::NewPeople && !result.is_one_insert(worker) {
            return Err(ApplyError::Seen);
        }
        if patience != Patience::Patient {
            self.lanes = locked::lanes(worker, &result, messages.accepted);
        }
        let measures = Measures::of(&result, messages);
        let written = write(worker, conn, &mut result, assumed, began).await?;
        let is_patient = patience.awaits_dead_letters();
        let dead_letters = write_dead_letters(worker, conn, result, messages, budget, is_patient).await?;
        Ok(Applied { written, dead_letters, measures })
    }
}

/// Logs one line for each reason, so a flood of bad messages is not a flood of lines.
fn log_dead_letters(component: &str, dead: &[Reason], left_out: usize) {
    let mut counts = BTreeMap::new();
    for reason in dead {
        *counts.entry(reason.name()).or_insert(0_u32) += 1;
    }
    for (reason, messages) in counts {
        warn!(component, reason, messages, "{component} dead-lettered {messages} messages ({reason})");
    }
    if left_out > 0 {
        warn!(
            component,
            messages = left_out,
            "{component} did not count {left_out} messages: another session keeps their dead letters locked"
        );
    }
}

/// Endpoints that are not known yet come first and waiting deliveries last: others may wait for these rows.
async fn write(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    result: &mut BatchResult<'_>,
    assumed: Assumed,
    began: Instant,
) -> Result<Written, ApplyError> {
    directory::update(conn, &result.contacts.changed).await?;
    let (mut published, mut deliveries, mut awaited) = (Vec::new(), Vec::new(), Vec::new());
    for run in &mut result.runs {
        published.append(&mut run.events);
        deliveries.append(&mut run.deliveries);
        awaited.extend(run.awaited.take());
    }
    let (batch, owner) = (Uuid::now_v7(), worker.presence.owner());
    chain_results::insert(conn, &awaited).await?;
    let unknown = worker.endpoints.unknown(&deliveries);
    endpoints::register(conn, &unknown).await?;
    let endpoints = unknown.into_iter().map(|endpoint| endpoint.key).collect();
    let (plain, waiting): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(Delivery::is_plain);
    let events = events::group(batch, owner, published);
    let (events, mut rows) = room::reserve_rows(Some(&worker.event_batches), owner, events)?;
    let requests = requests::group(batch, owner, plain, began);
    let (mut requests, more) = room::reserve_rows(worker.request_batches.as_ref(), owner, requests)?;
    rows.extend(more);
    // Reading the state of the lanes here saves the senders a round trip after the commit.
    let sent = requests.iter().flat_map(|InMemory { item: requests, .. }| &requests.deliveries);
    let lanes = sent.map(Delivery::lane).collect();
    let lanes = insert(worker, conn, result, assumed, &rows, &lanes).await?;
    let lanes = Arc::new(lanes.into_iter().map(|row| (row.key.clone(), row)).collect::<HashMap<_, _>>());
    for InMemory { item: requests, .. } in &mut requests {
        requests.lanes = Arc::clone(&lanes);
    }
    let waiting: Vec<_> = waiting.iter().map(|delivery| NewDelivery { delivery, first: None }).collect();
    deliveries::insert(conn, &waiting).await?;
    Ok(Written { events, requests, endpoints })
}

/// Opens and resolves dead letters. `is_patient`: it waits for those that others have locked.
async fn write_dead_letters(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    result: BatchResult<'_>,
    messages: Messages<'_>,
    budget: &SearchBudget,
    is_patient: bool,
) -> Result<DeadLetters, ApplyError> {
    let BatchResult { mut dead, resolved, .. } = result;
    let traced = dead.iter().filter(|_| worker.traces.is_on());
    let reasons = traced.map(|dead| (dead.meaning, dead.reason)).collect();
    let recognition = Recognition {
        pepper: worker.settings.contacts.suppression_pepper.expose_secret(),
        regions: &worker.rules.regions,
        budget,
    };
    // Before any dead letter is locked: an erasure may wait for others who need it.
    let blanked = dead_letters::blank(conn, &recognition, &mut dead).await?;
    let unsearched = blanked.ok_or(ApplyError::TooLarge)?;
    let mut replays = messages.replays();
    let mut left_out = Vec::new();
    if !is_patient && !dead.is_empty() {
        left_out = dead_letters::take_locked(conn, &mut dead).await?;
        replays.retain(|(id, message)| {
            !left_out.iter().any(|new| new.replay_of == Some(*id) && new.meaning == *message.meaning)
        });
    }
    let discarded = dead_letters::lock_discarded(conn, &replays).await?;
    if !discarded.is_empty() {
        return Err(ApplyError::Discarded(discarded));
    }
    dead_letters::insert(conn, &dead).await?;
    dead_letters::resolve(conn, &resolved).await?;
    let opened = dead.iter().map(|dead| dead.reason).collect();
    Ok(DeadLetters { opened, left_out: left_out.len(), unsearched, reasons })
}

/// Inserts contacts, ledger and effects, merges contacts, and records conflicts. Returns the state of `lanes`.
async fn insert(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    result: &mut BatchResult<'_>,
    assumed: Assumed,
    effects: &[NewEffects],
    lanes: &BTreeSet<Key>,
) -> Result<Vec<LaneRow>, ApplyError> {
    let mut proofs = std::mem::take(&mut result.proofs);
    proofs.extend(dead_letters::refusals(&result.dead, &result.ends));
    let entries: Vec<_> = result.runs.iter().flat_map(Run::entries).collect();
    let rows = NewRows {
        contacts: result.contacts.created.iter().collect(),
        identifiers: &result.contacts.identifiers,
        proofs,
        entries: &entries,
        effects,
    };
    let unseen = Unseen {
        events: &result.unseen,
        identifiers: if result.unseen.is_empty() { &[] } else { &result.identifiers },
        pepper: worker.settings.contacts.suppression_pepper.expose_secret(),
        nobody_is_known: assumed == Assumed::NewPeople,
    };
    let race = || ApplyError::Race("a new identifier has a contact already".to_owned());
    let lanes = match batch::insert(conn, rows, lanes, unseen).await? {
        Inserted::All(lanes) => lanes,
        Inserted::Seen => return Err(ApplyError::Seen),
        Inserted::Race => return Err(race()),
    };
    if !directory::merge(conn, &result.contacts).await? {
        return Err(race());
    }
    let applied = result.runs.iter().flat_map(|run| {
        let event = &run.firing().plan.event;
        run.conflicts().map(move |(step, conflict)| link(event, step, conflict))
    });
    let refused = result
        .refused
        .iter()
        .filter_map(|(one, refusal)| Some(link(&one.plan.event, refusal.step, refusal.conflict.as_ref()?)));
    let links: Vec<NewLink<'_>> = applied.chain(refused).collect();
    if !links.is_empty() {
        links::insert(conn, &links).await?;
    }
    Ok(lanes)
}

fn link<'a>(event: &'a TriggerFired, step: u16, conflict: &Conflict) -> NewLink<'a> {
    NewLink::conflict(&event.company, &event.event, step, conflict)
}
