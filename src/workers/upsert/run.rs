//! Loads what the events of a batch can touch, and runs them in memory.

use std::{
    collections::HashSet,
    iter::Peekable,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use secrecy::ExposeSecret as _;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    apply_error::ApplyError,
    assumed::Assumed,
    triage::{self, Accepted, Rejected},
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
            directory::{Changes, Directory},
        },
        event::{CompanyId, to_micros},
        fault::Reason,
        webhook::delivery::Delivery,
    },
    postgres::{
        dead_letters::{self, Ended, Message, NewDeadLetter},
        directory,
        ledger::{self, End, Ends, EventKey, Proof, Seen},
    },
};

/// The messages of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Messages<'a> {
    /// In the order of arrival.
    pub(super) accepted: &'a [Accepted],
    pub(super) rejected: &'a [Rejected],
}

impl<'a> Messages<'a> {
    /// Whether its events probably have not ended yet.
    pub(super) fn seem_new(self) -> bool {
        self.rejected.is_empty() && self.accepted.iter().all(|one| one.replay_of.is_none())
    }

    /// Those that replay a dead letter, with its id.
    pub(super) fn replays(self) -> Vec<(Uuid, Message<'a>)> {
        let accepted = self.accepted.iter().filter_map(|one| Some((one.replay_of?, one.as_message())));
        let rejected = self.rejected.iter().map(|one| &one.dead);
        let rejected = rejected.filter_map(|one| Some((one.replay_of?, one.as_message())));
        accepted.chain(rejected).collect()
    }
}

/// What the database knows about a batch.
#[derive(Default)]
pub(super) struct Loaded<'a> {
    /// The contacts that the events can touch, locked.
    contacts: Directory,
    seen: Seen<'a>,
    /// All identifiers of the events, to which `seen` refers.
    identifiers: Vec<(CompanyId, Identifier)>,
    /// The events, if nobody has checked whether they ended.
    unseen: Vec<EventKey<'a>>,
}

/// Loads what is not assumed. The statement that inserts checks the assumptions: [`crate::postgres::batch::Unseen`].
pub(super) async fn load<'a>(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    messages: Messages<'a>,
    assumed: Assumed,
) -> Result<Loaded<'a>, sqlx::Error> {
    let Messages { accepted, rejected } = messages;
    let identifiers = identifiers(accepted);
    let rejected = rejected.iter().map(|one| &one.dead);
    let mut loaded = Loaded::default();
    if assumed != Assumed::NewPeople && !identifiers.is_empty() {
        loaded.contacts = directory::load(conn, &identifiers).await?;
        worker.experience.found_people(!loaded.contacts.is_empty());
    }
    let events = accepted.iter().map(Accepted::event);
    let events: Vec<EventKey<'a>> = events.chain(rejected.filter_map(NewDeadLetter::event)).collect();
    let looks = assumed == Assumed::Nothing;
    if looks && !events.is_empty() {
        // The contacts are locked, so an erasure that was running has finished.
        let pepper = worker.settings.contacts.suppression_pepper.expose_secret();
        loaded.seen = ledger::seen(conn, pepper, &events, &identifiers).await?;
        let found = !loaded.seen.ends.is_empty() || !loaded.seen.erased.is_empty();
        worker.experience.found_ends(found);
    }
    loaded.unseen = if looks { Vec::new() } else { events };
    loaded.identifiers = identifiers;
    Ok(loaded)
}

/// All identifiers, in the one lock order of all workers.
pub(super) fn identifiers<'a>(
    accepted: impl IntoIterator<Item = &'a Accepted>,
) -> Vec<(CompanyId, Identifier)> {
    let accepted = accepted.into_iter();
    let mut identifiers = Vec::with_capacity(2 * accepted.size_hint().0);
    for one in accepted {
        let company = &one.plan.event.company;
        identifiers.extend(one.identifiers.iter().map(|identifier| (company.clone(), identifier.clone())));
    }
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
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

/// What a batch does.
pub(super) struct BatchResult<'a> {
    pub(super) runs: Vec<Run<'a>>,
    /// From the runs, and from events about erased people.
    pub(super) proofs: Vec<Proof<'a>>,
    pub(super) refused: Vec<(&'a Accepted, Refusal)>,
    pub(super) contacts: Changes,
    pub(super) dead: Vec<NewDeadLetter>,
    /// The end of each event that is not a dead letter of this batch.
    pub(super) ends: Ends<'a>,
    /// Successful messages that may have a dead letter.
    pub(super) resolved: Vec<Ended<'a>>,
    /// The events, if nobody has checked whether they ended.
    pub(super) unseen: Vec<EventKey<'a>>,
    /// All identifiers of the events.
    pub(super) identifiers: Vec<(CompanyId, Identifier)>,
}

impl<'a> BatchResult<'a> {
    /// The accepted messages, each with its run if it has one.
    pub(super) fn with_runs(
        &self,
        accepted: &'a [Accepted],
    ) -> impl Iterator<Item = (&'a Accepted, Option<&Run<'a>>)> {
        // The runs are in the order of the messages.
        let mut runs = self.runs.iter().peekable();
        accepted
            .iter()
            .map(move |one| (one, runs.next_if(|run| ptr::eq(run.firing().plan, &raw const one.plan))))
    }

    /// Whether it only adds rows, and those that [`crate::postgres::batch::insert`] adds.
    pub(super) fn is_one_insert(&self, worker: &UpsertWorker) -> bool {
        let Changes { created: _, identifiers: _, changed, removed, moved, merges } = &self.contacts;
        let adds_contacts = changed.is_empty() && removed.is_empty() && moved.is_empty() && merges.is_empty();
        let has_dead_letters = !(self.refused.is_empty() && self.dead.is_empty() && self.resolved.is_empty());
        let is_plain = |run: &Run<'_>| {
            run.awaited.is_none()
                && run.conflicts().next().is_none()
                && run.deliveries.iter().all(Delivery::is_plain)
                && worker.endpoints.unknown(&run.deliveries).is_empty()
        };
        adds_contacts && !has_dead_letters && self.runs.iter().all(is_plain)
    }
}

/// The messages of a batch that become dead letters.
#[derive(Default)]
struct Failed<'a> {
    /// In the order of arrival, because the last one of a meaning counts.
    dead: Vec<NewDeadLetter>,
    events: HashSet<EventKey<'a>>,
}

impl<'a> Failed<'a> {
    /// Adds a message, unless its event has ended by now with the same meaning.
    fn add(&mut self, new: NewDeadLetter, event: Option<EventKey<'a>>, ends: &Ends<'_>) {
        if let Some(new) = dead_letters::unless_ended(new, ends) {
            self.dead.push(new);
            self.events.extend(event);
        }
    }

    /// Adds the messages that were rejected before the message with this number came.
    fn add_earlier(
        &mut self,
        rejected: &mut Peekable<slice::Iter<'a, Rejected>>,
        number: u64,
        ends: &Ends<'_>,
    ) {
        while let Some(one) = rejected.next_if(|one| one.number < number) {
            self.add(one.dead.clone(), one.dead.event(), ends);
        }
    }

    /// Nothing of an erased person is kept, not even a message that came before the one that names the person.
    fn into_dead(mut self, ends: &Ends<'_>) -> Vec<NewDeadLetter> {
        let is_erased =
            |new: &NewDeadLetter| new.event().is_some_and(|event| ends.get(&event) == Some(&End::Erased));
        self.dead.retain(|new| !is_erased(new));
        self.dead
    }
}

/// Runs the events, each once, in the order of arrival. A second body of an event whose first body was refused is judged
/// on its own; if it is applied, the dead letter of the first one is resolved.
///
/// # Errors
/// When the runs would become too large together, or one of them panics.
pub(super) fn run_all<'a>(
    worker: &UpsertWorker,
    loaded: Loaded<'a>,
    messages: Messages<'a>,
) -> Result<BatchResult<'a>, ApplyError> {
    let Loaded { mut contacts, seen: Seen { mut ends, erased }, identifiers, unseen } = loaded;
    let erased: Vec<Erased<'_>> =
        erased.into_iter().filter_map(|(index, at)| Some((identifiers.get(index)?, at))).collect();
    let deployment = deployment(worker);
    let accepted = messages.accepted;
    let (mut runs, mut proofs) = (Vec::with_capacity(accepted.len()), Vec::with_capacity(accepted.len()));
    let (mut refused, mut resolved) = (Vec::new(), Vec::new());
    let (mut failed, mut rejected) = (Failed::default(), messages.rejected.iter().peekable());
    let mut rendered = 0;
    ends.reserve(accepted.len());
    for (index, one) in accepted.iter().enumerate() {
        failed.add_earlier(&mut rejected, one.number, &ends);
        let event = one.event();
        let before = ends.get(&event).copied();
        let is_late = !erased.is_empty() && names_erased(one, &erased);
        let end = match before {
            // Nothing is left to do. A message about an erased person does not become a dead letter either.
            Some(end @ (End::Applied(_) | End::Erased)) if is_late || end.covers(&one.meaning) => None,
            Some(End::Applied(_) | End::Erased) => {
                failed.add(conflict(one), Some(event), &ends);
                continue;
            }
            None | Some(End::Refused) if is_late => Some(End::Erased),
            None | Some(End::Refused) => match run_one(one, index, &mut contacts, &deployment)? {
                Ok(run) => {
                    rendered += run.size();
                    if rendered > worker.settings.upsert.rendered_bytes && !runs.is_empty() {
                        return Err(ApplyError::TooLarge);
                    }
                    runs.push(run);
                    Some(End::applied(&one.meaning))
                }
                Err(refusal) => {
                    let dead = triage::dead_letter(&one.message, refusal.fault(&one.plan));
                    failed.add(dead, Some(event), &ends);
                    refused.push((one, refusal));
                    continue;
                }
            },
        };
        if let Some(end) = end {
            proofs.push(Proof { event, end, replaces: before.is_some() });
            ends.insert(event, end);
        }
        // What comes after the end of its event resolves nothing else.
        let was_refused =
            before == Some(End::Refused) || (before.is_none() && failed.events.contains(&event));
        if was_refused || one.replay_of.is_some() {
            resolved.push(Ended { message: one.as_message(), refused: was_refused.then_some(one.key) });
        }
    }
    failed.add_earlier(&mut rejected, u64::MAX, &ends);
    let (dead, contacts) = (failed.into_dead(&ends), contacts.into_changes());
    Ok(BatchResult { runs, proofs, refused, contacts, dead, ends, resolved, unseen, identifiers })
}

/// Runs one event. After a panic, nobody may use what that leaves of the contacts.
fn run_one<'a>(
    one: &'a Accepted,
    index: usize,
    contacts: &mut Directory,
    deployment: &Deployment<'_>,
) -> Result<Result<Run<'a>, Refusal>, ApplyError> {
    let run = || run(one.firing(), contacts, deployment, || ContactId(Uuid::now_v7()));
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| ApplyError::Panicked(index))
}

fn deployment(worker: &UpsertWorker) -> Deployment<'_> {
    let events = &worker.settings.events;
    Deployment {
        publisher: Publisher {
            source: &events.source,
            include_identity: events.include_identity,
            now: worker.presence.now(),
        },
        policy: worker.settings.contacts.policy(),
        terms: worker.endpoints.terms(),
    }
}

fn conflict(one: &Accepted) -> NewDeadLetter {
    let fault = one.plan.event.fault(Reason::EventIdConflict, dead_letters::OTHER_CONTENTS);
    triage::dead_letter(&one.message, fault)
}
