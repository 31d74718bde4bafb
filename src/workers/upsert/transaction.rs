//! The one transaction of a batch: load what its events can touch, run them (`outcome`), write what they did.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tracing::warn;
use uuid::Uuid;

use super::{
    outcome::{self, Messages, Outcome},
    refused::Refused,
    worker::UpsertWorker,
};
use crate::{
    domain::{
        chain::run::Run, contact::directory::Conflict, event::Key, fault::Reason,
        trigger::fired::TriggerFired, webhook::delivery::Delivery,
    },
    postgres::{
        chain_results,
        dead_letters::{self, Recognition},
        deliveries::{self, NewDelivery},
        directory,
        effects::{
            self,
            events::{self, Committed},
            requests::{self, Requests},
        },
        endpoints, ledger,
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
    /// How many dead letters it stored.
    pub(super) dead_letters: usize,
}

/// Applies accepted messages, stores rejected ones, commits, and returns what is left to do. `is_patient`: it waits for
/// locks as long as anybody; otherwise a tenth of a second.
pub(super) async fn apply(
    worker: &UpsertWorker,
    messages: Messages<'_>,
    is_patient: bool,
) -> Result<Effects, Refused> {
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        if !is_patient {
            transaction.execute("SET LOCAL lock_timeout = '100ms'").await?;
        }
        let applying = async {
            let loaded = outcome::load(worker, &mut transaction, messages).await?;
            let mut outcome = outcome::run_all(worker, loaded, messages)?;
            let mut written = write(worker, &mut transaction, &mut outcome).await?;
            written.dead = write_dead_letters(worker, &mut transaction, outcome, messages).await?;
            Ok(written)
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
    Ok(Effects { events, requests, dead_letters: dead.len() })
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
    outcome: &mut Outcome<'_>,
) -> Result<Written, Refused> {
    let mut written = Written::default();
    write_contacts(conn, outcome).await?;
    let (mut published, mut deliveries, mut awaited) = (Vec::new(), Vec::new(), Vec::new());
    for run in std::mem::take(&mut outcome.runs) {
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
    let (events, left) = worker.relay.reserve(owner, events::group(batch, owner, published));
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
    Ok(written)
}

/// Writes and resolves dead letters. Returns the reasons of the new ones.
async fn write_dead_letters(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    Outcome { mut dead, resolved, .. }: Outcome<'_>,
    messages: Messages<'_>,
) -> Result<Vec<Reason>, Refused> {
    let recognition = Recognition {
        pepper: worker.settings.contacts.suppression_pepper.expose_secret(),
        regions: &worker.rules.regions,
    };
    // Before any dead letter is locked: an erasure may wait for others who need it.
    dead_letters::blank(conn, &recognition, &mut dead).await?;
    let discarded = dead_letters::lock_discarded(conn, &messages.replays()).await?;
    if !discarded.is_empty() {
        return Err(Refused::Discarded(discarded));
    }
    dead_letters::insert(conn, &dead).await?;
    dead_letters::resolve(conn, &resolved).await?;
    Ok(dead.iter().map(|dead| dead.reason).collect())
}

/// Writes contacts, ledger and conflicts.
async fn write_contacts(conn: &mut PgConnection, outcome: &mut Outcome<'_>) -> Result<(), Refused> {
    if !directory::save(conn, &outcome.contacts).await? {
        return Err(Refused::Race("a new identifier has a contact already".to_owned()));
    }
    let mut proofs = std::mem::take(&mut outcome.proofs);
    proofs.extend(dead_letters::refusals(&outcome.dead, &outcome.ends));
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
