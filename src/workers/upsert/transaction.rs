//! The one transaction of a batch: ledger, contacts, identifiers, outbox, deliveries, dead letters.

use std::collections::{BTreeMap, hash_map};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use super::{
    UpsertWorker,
    effects::Effects,
    triage::{self, Accepted},
};
use crate::{
    domain::{
        contact::Identifier,
        event::CompanyId,
        fault::{Fault, Reason, Stage},
    },
    postgres::{
        Failure, chain_results, classify,
        dead_letters::{self, NewDeadLetter, Replayed},
        deliveries, directory, endpoints,
        ledger::{self, Entry},
        links,
        outbox::{self, OutboxMessage},
        suppressions,
    },
};

/// Why nothing was committed.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another worker was faster; the next try sees its result.
    Race,
    /// Some row's values are refused, by this rule.
    Data(String),
    /// The database is in trouble.
    Systemic(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Failure::Race => Self::Race,
            Failure::Data => {
                let code = error.as_database_error().and_then(|refused| Some(refused.code()?.into_owned()));
                Self::Data(code.map_or_else(|| "encoding".to_owned(), |code| format!("SQLSTATE {code}")))
            }
            Failure::Systemic => Self::Systemic(error),
        }
    }
}

/// Applies what is accepted, keeps what is rejected, commits, and returns what to publish.
pub(super) async fn apply(
    worker: &UpsertWorker,
    accepted: &[Accepted<'_>],
    rejected: &[NewDeadLetter],
) -> Result<Vec<OutboxMessage>, Refused> {
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        match write(worker, &mut transaction, accepted, rejected).await {
            Ok(written) => transaction.commit().await.map(|()| Ok(written)),
            Err(Refused::Systemic(error)) => Err(error),
            // Nothing is wrong with the connection: a new one would cost more than the next try.
            Err(refused) => transaction.rollback().await.map(|()| Err(refused)),
        }
    };
    let Written { messages, dead, endpoints } = worker.database.unit(unit).await??;
    worker.endpoints.remember(endpoints);
    tell(&worker.name, &dead);
    Ok(messages)
}

/// One line for each reason, so that a flood of bad messages is no flood of lines.
fn tell(worker: &str, dead: &[Reason]) {
    let mut counts = BTreeMap::new();
    for reason in dead {
        *counts.entry(reason.name()).or_insert(0_u32) += 1;
    }
    for (reason, messages) in counts {
        warn!(worker, reason, messages, "{worker} made dead letters of {messages} messages ({reason})");
    }
}

/// SHA-256 of a body.
pub(super) fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// What a transaction wrote that its caller has to know.
#[derive(Default)]
struct Written {
    /// To be published.
    messages: Vec<OutboxMessage>,
    /// Why messages are dead letters now.
    dead: Vec<Reason>,
    /// Endpoints that have their row now.
    endpoints: Vec<Uuid>,
}

async fn write(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    accepted: &[Accepted<'_>],
    rejected: &[NewDeadLetter],
) -> Result<Written, Refused> {
    let Sorted { fresh, changed, mut replayed } = sort(conn, accepted).await?;
    let mut written = Written::default();
    let mut dead = rejected.to_vec();
    if !fresh.is_empty() || !changed.is_empty() {
        let keys = identifiers(fresh.iter().chain(&changed));
        let mut directory = directory::load(conn, &keys).await?;
        // Asked once the contacts are locked: an erasure that was in the middle is finished then.
        let pepper = worker.settings.contacts.suppression_pepper.expose_secret();
        let erased = suppressions::suppressed(conn, pepper, &keys).await?;
        let (late, fresh): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|one| names_erased(one, &erased));
        // Of an erased person not even a dead letter is kept.
        let is_gone = |one: &&Accepted<'_>| {
            names_erased(one, &erased) || late.iter().any(|late| one.is_same_event(late))
        };
        let (gone, changed): (Vec<_>, Vec<_>) = changed.into_iter().partition(is_gone);
        replayed.extend(gone.into_iter().filter_map(as_replayed));
        dead.extend(changed.into_iter().map(conflict));
        let effects = Effects::of(worker, &fresh, &mut directory);
        if !directory::save(conn, &directory.into_changes()).await? {
            return Err(Refused::Race);
        }
        let late = late.into_iter().map(Accepted::entry_of_erased);
        insert_entries(conn, effects.ledger_entries().into_iter().chain(late).collect()).await?;
        let links = effects.conflicts();
        if !links.is_empty() {
            links::insert(conn, &links).await?;
        }
        drop(links);
        dead.extend(effects.dead_letters());
        outbox::insert(conn, &effects.outbox, worker.settings.outbox.lease).await?;
        // Last, and with few locks: the rows of endpoints are everybody's.
        deliveries::insert(conn, &effects.deliveries).await?;
        chain_results::insert(conn, &effects.chain_results).await?;
        let endpoints = worker.endpoints.unknown(&effects.deliveries);
        endpoints::register(conn, &endpoints).await?;
        written.endpoints = endpoints.iter().map(|(endpoint, _)| endpoint.id()).collect();
        written.messages = effects.outbox;
    }
    if !dead.is_empty() {
        dead_letters::insert(conn, &dead).await?;
        written.dead = dead.iter().map(|dead_letter| dead_letter.reason).collect();
    }
    if !replayed.is_empty() {
        // A replay that meets a conflict again is not done. Nor is one whose message came twice in this
        // batch, where the other copy met it.
        let is_of = |dead_letter: &NewDeadLetter, replay: &Replayed| {
            dead_letter.company == replay.company && digest(&dead_letter.body) == replay.body_hash
        };
        replayed.retain(|replay| !dead.iter().any(|dead_letter| is_of(dead_letter, replay)));
        dead_letters::resolve(conn, &replayed).await?;
    }
    Ok(written)
}

/// Whether an event names a person who has been erased since it happened.
fn names_erased(one: &Accepted<'_>, erased: &[(CompanyId, Identifier, OffsetDateTime)]) -> bool {
    let event = &one.plan.event;
    erased.iter().any(|(company, key, erased_at)| {
        *company == event.company && event.time <= *erased_at && one.identifiers().any(|own| own == *key)
    })
}

async fn insert_entries(conn: &mut PgConnection, mut entries: Vec<Entry<'_>>) -> Result<(), Refused> {
    for (position, entry) in entries.iter_mut().enumerate() {
        entry.position = position;
    }
    // Applied in the order of arrival, inserted in the one order of locks of all workers.
    entries.sort_unstable_by(|a, b| (a.company, a.key, a.ordinal).cmp(&(b.company, b.key, b.ordinal)));
    if ledger::insert(conn, &entries).await? != entries.len() as u64 {
        return Err(Refused::Race);
    }
    Ok(())
}

/// Accepted messages, told apart by the ledger.
#[derive(Default)]
struct Sorted<'a> {
    /// Seen for the first time.
    fresh: Vec<&'a Accepted<'a>>,
    /// Of an event that is known with another body.
    changed: Vec<&'a Accepted<'a>>,
    /// Dead letters whose replay is applied now, or was before.
    replayed: Vec<Replayed>,
}

async fn sort<'a>(conn: &mut PgConnection, accepted: &'a [Accepted<'a>]) -> Result<Sorted<'a>, sqlx::Error> {
    let mut sorted = Sorted::default();
    if accepted.is_empty() {
        return Ok(sorted);
    }
    let keys: Vec<(&CompanyId, Uuid)> =
        accepted.iter().map(|one| (&one.plan.event.company, one.key)).collect();
    let mut known = ledger::known(conn, &keys).await?;
    for one in accepted {
        let applied = match known.entry((one.plan.event.company.to_string(), one.key)) {
            hash_map::Entry::Vacant(slot) => {
                slot.insert(ledger::Known::Digest(one.digest.to_vec()));
                sorted.fresh.push(one);
                true
            }
            hash_map::Entry::Occupied(before) => match before.get() {
                ledger::Known::Digest(digest) => *digest == one.digest,
                // Whatever it says now is about a person who is gone.
                ledger::Known::Erased => true,
            },
        };
        if applied {
            sorted.replayed.extend(as_replayed(one));
        } else {
            sorted.changed.push(one);
        }
    }
    Ok(sorted)
}

/// The dead letter that is done with this message.
fn as_replayed(one: &Accepted<'_>) -> Option<Replayed> {
    let company = one.plan.event.company.to_string();
    one.replays.map(|id| Replayed { company, stage: Stage::Upsert, id, body_hash: one.digest })
}

fn conflict(one: &Accepted<'_>) -> NewDeadLetter {
    let event = &one.plan.event;
    let text =
        "an event with this source and id was applied before, with another body; a new event needs a new id";
    let fault = Fault {
        company: Some(event.company.clone()),
        event: Some(event.event.clone()),
        trigger: event.triggers.first().map(|trigger| trigger.name().to_owned()),
        ..Fault::new(Reason::EventIdConflict, text)
    };
    triage::dead_letter(one.message, fault)
}

fn identifiers<'a>(all: impl Iterator<Item = &'a &'a Accepted<'a>>) -> Vec<(CompanyId, Identifier)> {
    let keys = |one: &&Accepted<'_>| {
        let company = one.plan.event.company.clone();
        one.identifiers().map(move |key| (company.clone(), key)).collect::<Vec<_>>()
    };
    let mut identifiers: Vec<_> = all.flat_map(keys).collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
}
