//! The one transaction of a batch: load what its events can touch, run them, write what they did.

use std::collections::{BTreeMap, HashMap, hash_map};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use super::{
    triage::{self, Accepted},
    worker::UpsertWorker,
};
use crate::{
    domain::{
        chain::{
            entry::Entry,
            outgoing::{OutgoingEvent, Publisher},
            run::{Deployment, Refusal, Run, run},
        },
        contact::{
            ContactId, Identifier,
            directory::{Changes, Conflict, Directory},
        },
        event::{CompanyId, body_hash},
        fault::{Reason, Stage},
        trigger::fired::TriggerFired,
    },
    postgres::{
        Failure, chain_results, classify,
        dead_letters::{self, NewDeadLetter, Replayed},
        deliveries, directory, endpoints, ledger,
        links::{self, NewLink},
        outbox, suppressions,
    },
};

/// Why nothing was committed.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another worker was faster; the next try sees its rows.
    Race,
    /// The database rejects the values of a row, by this rule.
    Data(String),
    /// Nothing is wrong with the messages; they wait for the database.
    Systemic(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Failure::Race => Self::Race,
            Failure::Data => {
                let code = error.as_database_error().and_then(|rejected| Some(rejected.code()?.into_owned()));
                Self::Data(code.map_or_else(|| "encoding".to_owned(), |code| format!("SQLSTATE {code}")))
            }
            Failure::Systemic => Self::Systemic(error),
        }
    }
}

/// Applies accepted messages, stores rejected ones, commits, and returns the events to publish.
pub(super) async fn apply(
    worker: &UpsertWorker,
    accepted: &[Accepted<'_>],
    rejected: &[NewDeadLetter],
) -> Result<Vec<OutgoingEvent>, Refused> {
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        let applying = async {
            let loaded = load(worker, &mut transaction, accepted).await?;
            write(worker, &mut transaction, run_all(worker, loaded, rejected)).await
        };
        match applying.await {
            Ok(written) => transaction.commit().await.map(|()| Ok(written)),
            Err(Refused::Systemic(error)) => Err(error),
            // The connection is sound, and a new one would cost more than the next try.
            Err(refused) => transaction.rollback().await.map(|()| Err(refused)),
        }
    };
    let Written { events, dead, endpoints } = worker.database.unit(unit).await??;
    worker.endpoints.remember(endpoints);
    log_dead_letters(&worker.name, &dead);
    Ok(events)
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
    fresh: Vec<&'a Accepted<'a>>,
    /// About a person who has been erased since the event happened.
    late: Vec<&'a Accepted<'a>>,
    /// Of an event that was applied with another body.
    changed: Vec<&'a Accepted<'a>>,
    /// Dead letters whose replay is now applied.
    replayed: Vec<Replayed>,
    /// The contacts that the fresh events can touch, locked.
    contacts: Directory,
}

async fn load<'a>(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    accepted: &'a [Accepted<'a>],
) -> Result<Loaded<'a>, sqlx::Error> {
    let mut loaded = Loaded::default();
    if accepted.is_empty() {
        return Ok(loaded);
    }
    let keys: Vec<(&CompanyId, Uuid)> =
        accepted.iter().map(|one| (&one.plan.event.company, one.key)).collect();
    loaded.sort(accepted, ledger::known(conn, &keys).await?);
    if loaded.fresh.is_empty() && loaded.changed.is_empty() {
        return Ok(loaded);
    }
    let identifiers = identifiers(loaded.fresh.iter().chain(&loaded.changed));
    loaded.contacts = directory::load(conn, &identifiers).await?;
    // The contacts are locked, so an erasure that was running has finished.
    let pepper = worker.settings.contacts.suppression_pepper.expose_secret();
    let erased = suppressions::suppressed(conn, pepper, &identifiers).await?;
    loaded.leave_out(&erased);
    Ok(loaded)
}

impl<'a> Loaded<'a> {
    /// Sorts messages by the events that the ledger knows.
    fn sort(&mut self, accepted: &'a [Accepted<'a>], mut known: HashMap<(String, Uuid), ledger::Known>) {
        for one in accepted {
            let applied = match known.entry((one.plan.event.company.to_string(), one.key)) {
                hash_map::Entry::Vacant(slot) => {
                    slot.insert(ledger::Known::Applied(one.body_hash.to_vec()));
                    self.fresh.push(one);
                    true
                }
                hash_map::Entry::Occupied(before) => match before.get() {
                    ledger::Known::Applied(body_hash) => *body_hash == one.body_hash,
                    // The person is gone, so the new body does not matter.
                    ledger::Known::Erased => true,
                },
            };
            if applied {
                self.replayed.extend(replayed(one));
            } else {
                self.changed.push(one);
            }
        }
    }

    /// Sets aside the events about erased people. They do not become dead letters either.
    fn leave_out(&mut self, erased: &[(CompanyId, Identifier, OffsetDateTime)]) {
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

/// Whether an event names a person who has been erased since it happened.
fn names_erased(one: &Accepted<'_>, erased: &[(CompanyId, Identifier, OffsetDateTime)]) -> bool {
    let event = &one.plan.event;
    erased.iter().any(|(company, identifier, erased_at)| {
        *company == event.company
            && event.time <= *erased_at
            && one.plan.identifiers().any(|own| own == *identifier)
    })
}

fn replayed(one: &Accepted<'_>) -> Option<Replayed> {
    let company = one.plan.event.company.to_string();
    one.replay_of.map(|id| Replayed { company, stage: Stage::Upsert, id, body_hash: one.body_hash })
}

fn identifiers<'a>(all: impl Iterator<Item = &'a &'a Accepted<'a>>) -> Vec<(CompanyId, Identifier)> {
    let of_one = |one: &&'a Accepted<'a>| {
        let one = *one;
        one.plan.identifiers().map(|identifier| (one.plan.event.company.clone(), identifier))
    };
    let mut identifiers: Vec<_> = all.flat_map(|one| of_one(one).collect::<Vec<_>>()).collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
}

/// What a batch does.
struct Outcome<'a> {
    runs: Vec<Run<'a>>,
    refused: Vec<(&'a Accepted<'a>, Refusal)>,
    late: Vec<&'a Accepted<'a>>,
    contacts: Changes,
    dead: Vec<NewDeadLetter>,
    replayed: Vec<Replayed>,
}

fn run_all<'a>(worker: &UpsertWorker, loaded: Loaded<'a>, rejected: &[NewDeadLetter]) -> Outcome<'a> {
    let Loaded { fresh, late, changed, mut replayed, mut contacts } = loaded;
    let events = &worker.settings.events;
    let deployment = Deployment {
        publisher: Publisher {
            source: &events.source,
            include_identity: events.include_identity,
            now: OffsetDateTime::now_utc(),
        },
        policy: worker.settings.contacts.policy(),
        terms: worker.endpoints.terms(),
    };
    let (mut runs, mut refused) = (Vec::with_capacity(fresh.len()), Vec::new());
    for one in fresh {
        match run(one.firing(), &mut contacts, &deployment, || ContactId(Uuid::now_v7())) {
            Ok(run) => runs.push(run),
            Err(refusal) => refused.push((one, refusal)),
        }
    }
    let mut dead = rejected.to_vec();
    dead.extend(changed.into_iter().map(conflict));
    dead.extend(
        refused.iter().map(|(one, refusal)| triage::dead_letter(one.message, refusal.fault(&one.plan))),
    );
    // A replay that failed again is not done; neither is one whose message came twice and failed once.
    replayed.retain(|replay| !dead.iter().any(|dead| is_of(dead, replay)));
    Outcome { runs, refused, late, contacts: contacts.into_changes(), dead, replayed }
}

fn is_of(dead: &NewDeadLetter, replay: &Replayed) -> bool {
    dead.company == replay.company && body_hash(&dead.body) == replay.body_hash
}

fn conflict(one: &Accepted<'_>) -> NewDeadLetter {
    let message =
        "an event with this source and id was applied before, with another body; a new event needs a new id";
    triage::dead_letter(one.message, one.plan.event.fault(Reason::EventIdConflict, message))
}

/// The rows that a transaction wrote, as far as its caller needs them.
#[derive(Default)]
struct Written {
    /// To be published.
    events: Vec<OutgoingEvent>,
    /// Reasons of new dead letters.
    dead: Vec<Reason>,
    /// Endpoints that have a row now.
    endpoints: Vec<Uuid>,
}

async fn write(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    outcome: Outcome<'_>,
) -> Result<Written, Refused> {
    let mut written = Written::default();
    write_contacts(conn, &outcome).await?;
    let (mut deliveries, mut awaited) = (Vec::new(), Vec::new());
    for run in outcome.runs {
        written.events.extend(run.events);
        deliveries.extend(run.deliveries);
        awaited.extend(run.awaited);
    }
    outbox::insert(conn, &written.events, worker.settings.outbox.lease).await?;
    deliveries::insert(conn, &deliveries).await?;
    chain_results::insert(conn, &awaited).await?;
    // Last: all workers share the rows of endpoints.
    let unknown = worker.endpoints.unknown(&deliveries);
    endpoints::register(conn, &unknown).await?;
    written.endpoints = unknown.iter().map(|(endpoint, _)| endpoint.id()).collect();
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
async fn write_contacts(conn: &mut PgConnection, outcome: &Outcome<'_>) -> Result<(), Refused> {
    if !directory::save(conn, &outcome.contacts).await? {
        return Err(Refused::Race);
    }
    let late = outcome.late.iter().map(|one| one.firing().erased_entry());
    let entries: Vec<Entry<'_>> = outcome.runs.iter().flat_map(Run::entries).chain(late).collect();
    if !entries.is_empty() && !ledger::insert(conn, &entries).await? {
        return Err(Refused::Race);
    }
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
