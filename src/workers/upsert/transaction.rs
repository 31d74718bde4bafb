//! The one transaction of a batch: load what its events can touch, run them, write what they did.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    sync::Arc,
};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _, PgConnection};
use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use super::{
    portion::Portion,
    refused::Refused,
    triage::{self, Accepted},
    worker::UpsertWorker,
};
use crate::{
    domain::{
        chain::{
            outgoing::Publisher,
            run::{Deployment, Refusal, Run, run},
        },
        contact::{
            ContactId, Identifier,
            directory::{Changes, Conflict, Directory},
        },
        event::{CompanyId, Key, to_micros},
        fault::{Reason, Stage},
        trigger::fired::TriggerFired,
        webhook::delivery::Delivery,
    },
    postgres::{
        chain_results,
        dead_letters::{self, NewDeadLetter, Replayed},
        deliveries::{self, NewDelivery},
        directory,
        effects::{
            self,
            events::{self, Committed},
            requests::{self, Requests},
        },
        endpoints,
        ledger::{self, Applied, Proof},
        links::{self, NewLink},
        table_locks,
    },
    workers::room::Handed,
};

/// What a committed transaction leaves to this process.
pub(super) struct Effects {
    /// To be published.
    pub(super) events: Vec<Handed<Committed>>,
    /// To be sent.
    pub(super) requests: Vec<Handed<Requests>>,
}

/// Applies accepted messages, stores rejected ones, commits, and returns what is left to do. `is_patient`: it waits for
/// locks as long as anybody; otherwise a tenth of a second.
pub(super) async fn apply(
    worker: &UpsertWorker,
    portion: &Portion,
    is_patient: bool,
) -> Result<Effects, Refused> {
    let Portion { accepted, rejected, .. } = portion;
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        if !is_patient {
            transaction.execute("SET LOCAL lock_timeout = '100ms'").await?;
        }
        let applying = async {
            let loaded = load(worker, &mut transaction, accepted).await?;
            write(worker, &mut transaction, run_all(worker, loaded, rejected)?).await
        };
        match applying.await {
            Ok(written) => transaction.commit().await.map(|()| Ok(written)),
            Err(Refused::Systemic(error)) => Err(error),
            // The connection is sound, and a new one would cost more than the next try.
            Err(refused) => {
                transaction.rollback().await?;
                let may_be = matches!(refused, Refused::Locked(_) | Refused::Slow(_));
                let is_table = may_be && table_locks::any(conn).await?;
                Ok(Err(if is_table { Refused::TableLocked } else { refused }))
            }
        }
    };
    let Written { events, requests, dead, endpoints } = worker.database.unit(unit).await??;
    worker.endpoints.remember(endpoints);
    log_dead_letters(&worker.name, &dead);
    Ok(Effects { events, requests })
}

/// Logs one line for each reason, so a flood of bad messages is not a flood of lines.
fn log_dead_letters(component: &str, dead: &[Reason]) {
    let mut counts = BTreeMap::new();
    for reason in dead {
        *counts.entry(reason.name()).or_insert(0_u32) += 1;
    }
    for (reason, messages) in counts {
        warn!(component, reason, messages, "{component} dead-lettered {messages} messages ({reason})");
    }
}

/// The accepted messages, sorted by what the database knows about their events.
#[derive(Default)]
struct Loaded<'a> {
    /// Not seen before.
    fresh: Vec<&'a Accepted>,
    /// About a person who has been erased since the event happened.
    late: Vec<&'a Accepted>,
    /// Of an event that was applied with another meaning.
    changed: Vec<&'a Accepted>,
    /// Dead letters whose replay is now applied.
    replayed: Vec<Replayed>,
    /// The contacts that the fresh events can touch, locked.
    contacts: Directory,
}

async fn load<'a>(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    accepted: &'a [Accepted],
) -> Result<Loaded<'a>, sqlx::Error> {
    let mut loaded = Loaded::default();
    if accepted.is_empty() {
        return Ok(loaded);
    }
    let identifiers = identifiers(accepted);
    loaded.contacts = directory::load(conn, &identifiers).await?;
    let events: Vec<(&CompanyId, Uuid)> =
        accepted.iter().map(|one| (&one.plan.event.company, one.key)).collect();
    // The contacts are locked, so an erasure that was running has finished.
    let pepper = worker.settings.contacts.suppression_pepper.expose_secret();
    let seen = ledger::seen(conn, pepper, &events, &identifiers).await?;
    loaded.sort(accepted, &seen.applied.into_iter().collect());
    let erased = seen.erased.into_iter().filter_map(|(index, at)| Some((identifiers.get(index)?, at)));
    loaded.leave_out(&erased.collect::<Vec<_>>());
    Ok(loaded)
}

impl<'a> Loaded<'a> {
    /// Sorts messages by the events that the ledger knows, given by the places of their messages.
    fn sort(&mut self, accepted: &'a [Accepted], applied: &HashMap<usize, Applied>) {
        let mut firsts: HashMap<(&CompanyId, Uuid), &Accepted> = HashMap::with_capacity(accepted.len());
        self.fresh.reserve_exact(accepted.len());
        for (index, one) in accepted.iter().enumerate() {
            let is_same = match applied.get(&index) {
                Some(before) => before.is_same(&one.meaning),
                None => match firsts.entry((&one.plan.event.company, one.key)) {
                    hash_map::Entry::Occupied(first) => first.get().meaning == one.meaning,
                    hash_map::Entry::Vacant(slot) => {
                        slot.insert(one);
                        self.fresh.push(one);
                        true
                    }
                },
            };
            if is_same {
                self.replayed.extend(replayed(one));
            } else {
                self.changed.push(one);
            }
        }
    }

    /// Sets aside the events about erased people. They do not become dead letters either.
    fn leave_out(&mut self, erased: &[Erased<'_>]) {
        if erased.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        (self.late, self.fresh) = fresh.into_iter().partition(|one| names_erased(one, erased));
        let changed = std::mem::take(&mut self.changed);
        let (gone, changed): (Vec<_>, Vec<_>) = changed.into_iter().partition(|one| {
            names_erased(one, erased) || self.late.iter().any(|late| one.is_same_event(late))
        });
        self.replayed.extend(gone.into_iter().filter_map(replayed));
        self.changed = changed;
    }
}

/// An identifier of an erased person, with its company, and the time of the erasure.
type Erased<'a> = (&'a (CompanyId, Identifier), OffsetDateTime);

/// Whether an event names a person who has been erased since it happened.
fn names_erased(one: &Accepted, erased: &[Erased<'_>]) -> bool {
    let event = &one.plan.event;
    erased.iter().any(|((company, identifier), erased_at)| {
        *company == event.company
            && to_micros(event.time) <= *erased_at
            && one.identifiers.contains(identifier)
    })
}

fn replayed(one: &Accepted) -> Option<Replayed> {
    let company = one.plan.event.company.to_string();
    one.replay_of.map(|id| Replayed { company, stage: Stage::Upsert, id, meaning: one.meaning })
}

/// All identifiers, in the one lock order of all workers.
fn identifiers(accepted: &[Accepted]) -> Vec<(CompanyId, Identifier)> {
    let mut identifiers = Vec::with_capacity(2 * accepted.len());
    for one in accepted {
        let company = &one.plan.event.company;
        identifiers.extend(one.identifiers.iter().map(|identifier| (company.clone(), identifier.clone())));
    }
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
}

/// What a batch does.
struct Outcome<'a> {
    runs: Vec<Run<'a>>,
    /// Of the runs, and of the events about erased people.
    proofs: Vec<Proof<'a>>,
    refused: Vec<(&'a Accepted, Refusal)>,
    contacts: Changes,
    dead: Vec<NewDeadLetter>,
    replayed: Vec<Replayed>,
}

fn run_all<'a>(
    worker: &UpsertWorker,
    loaded: Loaded<'a>,
    rejected: &[NewDeadLetter],
) -> Result<Outcome<'a>, Refused> {
    let Loaded { fresh, late, changed, mut replayed, mut contacts } = loaded;
    let events = &worker.settings.events;
    let deployment = Deployment {
        publisher: Publisher {
            source: &events.source,
            include_identity: events.include_identity,
            now: worker.presence.now(),
        },
        policy: worker.settings.contacts.policy(),
        terms: worker.endpoints.terms(),
    };
    let mut proofs: Vec<Proof<'a>> = Vec::with_capacity(fresh.len() + late.len());
    proofs.extend(late.into_iter().map(|one| one.proof(true)));
    let (mut runs, mut refused) = (Vec::with_capacity(fresh.len()), Vec::new());
    let mut rendered = 0;
    for one in fresh {
        match run(one.firing(), &mut contacts, &deployment, || ContactId(Uuid::now_v7())) {
            Ok(run) => {
                rendered += run.size();
                if rendered > worker.settings.upsert.rendered_bytes && !runs.is_empty() {
                    return Err(Refused::TooLarge);
                }
                runs.push(run);
                proofs.push(one.proof(false));
            }
            Err(refusal) => refused.push((one, refusal)),
        }
    }
    let mut dead = rejected.to_vec();
    dead.extend(changed.into_iter().map(conflict));
    dead.extend(
        refused.iter().map(|(one, refusal)| triage::dead_letter(&one.message, refusal.fault(&one.plan))),
    );
    // A replay that failed again is not done; neither is one whose message came twice and failed once.
    replayed.retain(|replay| !dead.iter().any(|dead| is_of(dead, replay)));
    Ok(Outcome { runs, proofs, refused, contacts: contacts.into_changes(), dead, replayed })
}

fn is_of(dead: &NewDeadLetter, replay: &Replayed) -> bool {
    dead.company == replay.company && dead.meaning == replay.meaning
}

fn conflict(one: &Accepted) -> NewDeadLetter {
    let message = "an event with this source and id was applied before, with other contents; a new event needs a new id";
    triage::dead_letter(&one.message, one.plan.event.fault(Reason::EventIdConflict, message))
}

/// The rows that a transaction wrote, as far as its caller needs them.
#[derive(Default)]
struct Written {
    /// To be published by this process.
    events: Vec<Handed<Committed>>,
    /// To be sent by this process.
    requests: Vec<Handed<Requests>>,
    /// Reasons of new dead letters.
    dead: Vec<Reason>,
    /// Endpoints that have a row now.
    endpoints: Vec<Key>,
}

async fn write(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    mut outcome: Outcome<'_>,
) -> Result<Written, Refused> {
    let mut written = Written::default();
    write_contacts(conn, &mut outcome).await?;
    let (mut published, mut deliveries, mut awaited) = (Vec::new(), Vec::new(), Vec::new());
    for run in outcome.runs {
        published.extend(run.events);
        deliveries.extend(run.deliveries);
        awaited.extend(run.awaited);
    }
    let (batch, owner) = (Uuid::now_v7(), worker.presence.owner());
    chain_results::insert(conn, &awaited).await?;
    let unknown = worker.endpoints.unknown(&deliveries);
    endpoints::register(conn, &unknown).await?;
    written.endpoints = unknown.into_iter().map(|endpoint| endpoint.key).collect();
    let (plain, waiting): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(Delivery::is_plain);
    // What finds no room in memory has no owner: it is left to any process.
    let (events, left) = worker.relay.reserve(owner, events::group(batch, published));
    let mut rows = events::rows(events.iter().map(|Handed(events, _)| events), owner)?;
    rows.extend(events::rows(&left, None)?);
    let requests = requests::group(batch, owner, plain);
    let (mut requests, left) = match &worker.requests {
        Some(sender) => sender.reserve(owner, requests),
        None => (Vec::new(), requests),
    };
    rows.extend(requests::rows(requests.iter().map(|Handed(requests, _)| requests), owner)?);
    rows.extend(requests::rows(&left, None)?);
    // Read here, the state of the lanes costs those who send no round trip after the commit.
    let sent = requests.iter().flat_map(|Handed(requests, _)| &requests.deliveries);
    let lanes = effects::insert_and_read(conn, &rows, &sent.map(Delivery::lane).collect()).await?;
    let lanes = Arc::new(lanes.into_iter().map(|row| (row.key.clone(), row)).collect::<HashMap<_, _>>());
    for Handed(requests, _) in &mut requests {
        requests.lanes = Arc::clone(&lanes);
    }
    (written.events, written.requests) = (events, requests);
    // Last: all processes share the rows of endpoints.
    let waiting: Vec<_> = waiting.iter().map(|delivery| NewDelivery { delivery, first: None }).collect();
    deliveries::insert(conn, &waiting).await?;
    if !outcome.dead.is_empty() {
        dead_letters::insert(conn, &outcome.dead).await?;
        written.dead = outcome.dead.iter().map(|dead| dead.reason).collect();
    }
    if !outcome.replayed.is_empty() {
        dead_letters::resolve(conn, &outcome.replayed).await?;
    }
    Ok(written)
}

/// Writes contacts, ledger and conflicts.
async fn write_contacts(conn: &mut PgConnection, outcome: &mut Outcome<'_>) -> Result<(), Refused> {
    if !directory::save(conn, &outcome.contacts).await? {
        return Err(Refused::Race("a new identifier has a contact already".to_owned()));
    }
    let proofs = std::mem::take(&mut outcome.proofs);
    let entries: Vec<_> = outcome.runs.iter().flat_map(Run::entries).collect();
    ledger::insert(conn, proofs, &entries).await?;
    let applied = outcome.runs.iter().flat_map(|run| {
        let event = &run.firing().plan.event;
        run.conflicts().map(move |(step, conflict)| link(event, step, conflict))
    });
    let refused = outcome
        .refused
        .iter()
        .filter_map(|(one, refusal)| Some(link(&one.plan.event, refusal.step, refusal.conflict.as_ref()?)));
    let links: Vec<NewLink<'_>> = applied.chain(refused).collect();
    if !links.is_empty() {
        links::insert(conn, &links).await?;
    }
    Ok(())
}

fn link<'a>(event: &'a TriggerFired, step: u16, conflict: &Conflict) -> NewLink<'a> {
    NewLink::conflict(&event.company, &event.event, step, conflict)
}
