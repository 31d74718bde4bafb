//! Imports exported dead letters.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::{super::difference::storable, Record};
use crate::{
    domain::{
        event::{CompanyId, EventRef, Key},
        fault::{Fault, Reason, Stage},
        trigger::fired,
        value::phone::Regions,
        webhook::{delivery::NO_ENDPOINT, requested::DeliveryMessage},
    },
    operator::audit::{self, Actor, Change},
    postgres::{
        Database, Failure, classify, clock,
        dead_letters::{self as store, NewDeadLetter, PutBack, Recognition, SearchBudget, State},
        deliveries, ledger, refusal,
    },
};

/// Invalid and refused lines that are named one by one.
const MAX_NAMED: u64 = 10;

/// The outcome for one dead letter of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "camelCase")]
pub enum Outcome {
    /// It was imported.
    Imported,
    /// It, or another one of the same message, already exists.
    Present,
    /// It was resolved when it was exported.
    Resolved,
    /// Its event has been applied, or is about a person who has been erased.
    Ended,
    /// Its contents were not kept, or may name a person who has been erased.
    Erased,
    /// Its delivery is gone, or in another state.
    Undeliverable,
    /// It does not come from an export.
    Invalid,
    /// The database does not accept it, or a lock prevented that. The file may be imported again.
    Refused,
}

impl Outcome {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The outcome in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Present => "already there",
            Self::Resolved => "had been resolved",
            Self::Ended => "applied since, or about an erased person",
            Self::Erased => "may name a person who has been erased",
            Self::Undeliverable => "of a delivery that is gone or in another state",
            Self::Invalid => "not as an export writes it",
            Self::Refused => "refused by the database",
        }
    }
}

/// What is needed to recognize an erased person.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// Setting `contacts.suppression_pepper`.
    pub pepper: &'a str,
    /// The regions of national phone numbers.
    pub regions: &'a Regions,
}

/// Imports dead letters, line by line.
pub struct Importer<'a> {
    /// The database.
    pub database: &'a Database,
    /// Who imports.
    pub actor: &'a Actor,
    /// What is needed to recognize an erased person.
    pub terms: Terms<'a>,
    /// Changes nothing, and reports the outcome of each line.
    pub is_dry: bool,
}

impl Importer<'_> {
    /// Imports the dead letter of a line, with the same id, unless its event has ended otherwise.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn import(&self, line: &[u8]) -> Result<Outcome, sqlx::Error> {
        let Ok(record) = serde_json::from_slice::<Record>(line) else { return Ok(Outcome::Invalid) };
        match (record.is_blank, record.state.parse()) {
            (true, _) => return Ok(Outcome::Erased),
            (_, Ok(State::Resolved)) => return Ok(Outcome::Resolved),
            (_, Err(_)) => return Ok(Outcome::Invalid),
            (false, Ok(State::Open | State::Replaying | State::Discarded)) => {}
        }
        let Some(new) = read(&record) else { return Ok(Outcome::Invalid) };
        let import =
            async |conn: &mut PgConnection| put_back(conn, self.actor, &self.terms, &record, &new).await;
        let keeps = |outcome: &Outcome| *outcome == Outcome::Imported && !self.is_dry;
        match self.database.transact(keeps, import).await {
            Err(error) if classify(&error) != Failure::Systemic => {
                tracing::debug!(id = %record.id, "a dead letter was refused: {}", refusal(&error));
                Ok(Outcome::Refused)
            }
            ended => ended,
        }
    }
}

/// The outcome of an import's lines.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<Outcome, u64>,
    named: Vec<(u64, Outcome)>,
}

impl Tally {
    /// Adds a line, by its number. Says whether it is one of the first bad ones, which are named one by one.
    pub fn add(&mut self, line: u64, outcome: Outcome) -> bool {
        let count = self.counts.entry(outcome).or_default();
        *count += 1;
        let is_named = matches!(outcome, Outcome::Invalid | Outcome::Refused) && *count <= MAX_NAMED;
        if is_named {
            self.named.push((line, outcome));
        }
        is_named
    }

    /// How many lines ended so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// Those that were left out, by reason.
    pub fn left_out(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let is_left = |outcome: Outcome| !matches!(outcome, Outcome::Imported | Outcome::Present);
        self.counts
            .iter()
            .map(|(outcome, count)| (*outcome, *count))
            .filter(move |(outcome, _)| is_left(*outcome))
    }

    /// The first bad lines: their numbers, and what is wrong with them.
    #[must_use]
    pub fn named(&self) -> &[(u64, Outcome)] {
        &self.named
    }

    /// The counts.
    #[must_use]
    pub fn json(&self) -> Value {
        let reasons: Map<String, Value> =
            self.left_out().map(|(outcome, count)| (outcome.name().to_owned(), count.into())).collect();
        let skipped: u64 = self.left_out().map(|(_, count)| count).sum();
        let (imported, present) = (self.of(Outcome::Imported), self.of(Outcome::Present));
        json!({ "imported": imported, "present": present, "skipped": skipped, "reasons": reasons })
    }
}

async fn put_back(
    conn: &mut PgConnection,
    actor: &Actor,
    terms: &Terms<'_>,
    record: &Record,
    new: &NewDeadLetter,
) -> Result<Outcome, sqlx::Error> {
    let state = if record.state == State::Discarded.name() { State::Discarded } else { State::Open };
    let events: Vec<_> = new.event().into_iter().collect();
    let ends = ledger::seen(conn, "", &events, &[]).await?.ends;
    let Some(new) = store::unless_ended(new.clone(), &ends) else {
        return Ok(Outcome::Ended);
    };
    let mut new = [new];
    ledger::insert(conn, store::refusals(&new, &ends)).await?;
    if let Some(outcome) = deliverable(conn, record, state, &mut new).await? {
        return Ok(outcome);
    }
    let budget = SearchBudget::default();
    let recognition = Recognition { pepper: terms.pepper, regions: terms.regions, budget: &budget };
    // What an edit changed is no longer part of the body, and has no time.
    let mut changed = record.difference.as_ref().map(|difference| {
        let [new] = &new;
        [NewDeadLetter { body: difference.to_string().into(), ..new.clone() }]
    });
    for part in [Some(&mut new), changed.as_mut()].into_iter().flatten() {
        store::blank(conn, &recognition, part).await?;
        if part.iter().any(|part| part.is_blank) {
            return Ok(Outcome::Erased);
        }
    }
    let [new] = &new;
    let now = clock::now(conn).await?;
    let is_discarded = state == State::Discarded;
    let difference = record.difference.as_ref().map(storable);
    let row = PutBack {
        id: record.id,
        new,
        state,
        replays: record.replays.max(0),
        first_seen_at: record.first_seen_at.min(now),
        last_seen_at: record.last_seen_at.min(now),
        settled_at: is_discarded.then(|| record.settled_at.unwrap_or(now).min(now)),
        settled_by: record.settled_by.as_deref().filter(|_| is_discarded),
        edited_from: record.edited_from,
        difference: difference.as_ref(),
    };
    if !store::put_back(conn, &row).await? {
        return Ok(Outcome::Present);
    }
    let change = Change {
        action: audit::DEAD_LETTER_IMPORT,
        company: &record.company,
        object: record.id.to_string(),
        before: None,
        after: Some(json!({ "state": state.name() })),
    };
    audit::record(conn, actor, &change).await?;
    Ok(Outcome::Imported)
}

/// Checks that a dead letter of stage webhook still has its delivery, and adds the endpoint of that. `None` if it does.
async fn deliverable(
    conn: &mut PgConnection,
    record: &Record,
    state: State,
    new: &mut [NewDeadLetter; 1],
) -> Result<Option<Outcome>, sqlx::Error> {
    let [new] = new;
    let Some(id) = new.delivery_id else { return Ok(None) };
    let delivery = Key { company: record.company.clone(), id };
    let expected =
        if state == State::Discarded { deliveries::State::Discarded } else { deliveries::State::Dead };
    match store::delivery_of(conn, &delivery).await? {
        Some((is, endpoint)) if is == expected.name() => {
            new.endpoint_id = Some(endpoint).filter(|id| *id != NO_ENDPOINT);
            Ok(None)
        }
        _ => Ok(Some(Outcome::Undeliverable)),
    }
}

/// The dead letter of a record. What follows from the body is read from the body. `None` if the record contradicts it, or
/// does not come from an export.
fn read(record: &Record) -> Option<NewDeadLetter> {
    let body = match (&record.body, &record.body_base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(text)) => STANDARD.decode(text).ok()?,
        _ => return None,
    };
    let (stage, reason): (Stage, Reason) = (record.stage.parse().ok()?, record.reason.parse().ok()?);
    let is_name = |text: &str| text.len() <= 255 && !text.contains(char::is_control);
    let has_times = (1970..10_000).contains(&record.first_seen_at.year())
        && (1970..10_000).contains(&record.last_seen_at.year())
        && record.settled_at.is_none_or(|at| (1970..10_000).contains(&at.year()));
    if !has_times
        || !record.properties.is_object()
        || record.routing_key.len() > 255
        || !record.settled_by.as_deref().is_none_or(is_name)
        || !(record.company.is_empty() || CompanyId::new(&record.company).is_ok())
    {
        return None;
    }
    let mut new = NewDeadLetter {
        company: record.company.clone(),
        stage,
        reason,
        message: record.message.clone(),
        meaning: fired::meaning(&body),
        body: body.into(),
        routing_key: record.routing_key.clone(),
        properties: storable(&record.properties).to_string(),
        source: record.source.clone(),
        event_id: record.event_id.clone(),
        event_key: None,
        trigger: record.trigger.clone(),
        delivery_id: record.delivery_id,
        endpoint_id: None,
        attempts: record.attempts.max(0),
        replay_of: None,
        known_at: Some(record.first_seen_at),
        is_blank: false,
    };
    has_its_origin(record, &mut new).then_some(new)
}

/// Whether company, event and trigger are those of the body. Those of stage upsert are read from it.
fn has_its_origin(record: &Record, new: &mut NewDeadLetter) -> bool {
    match (new.stage, record.delivery_id) {
        (Stage::Upsert, None) => {
            let found = fired::with_origin(&new.body, Fault::new(new.reason, ""));
            let company = found.company.as_ref().map_or("", CompanyId::as_str);
            new.event_key = found.company.as_ref().and(found.event.as_ref()).map(EventRef::key);
            new.source = found.event.as_ref().map(|event| event.source().to_owned());
            new.event_id = found.event.as_ref().map(|event| event.id().to_owned());
            let is_its = company == record.company;
            new.trigger = found.trigger.or_else(|| new.trigger.take());
            is_its
        }
        (Stage::Upsert, Some(_)) => false,
        // A message that the broker dead-lettered; it only wakes the worker.
        (Stage::Webhook, None) => new.reason == Reason::Broker,
        // Its body is made from the rest.
        (Stage::Webhook, Some(id)) => {
            let delivery = Key { company: record.company.clone(), id };
            let named = record.trigger.as_deref().zip(record.event_id.as_deref());
            named.zip(record.source.as_deref()).is_some_and(|((trigger, event_id), source)| {
                let requested = DeliveryMessage { delivery: &delivery, trigger, event_id, source };
                requested.body() == new.body
            })
        }
    }
}
