//! Exports dead letters whole, and puts them back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::difference::storable;
use crate::{
    domain::{
        event::{CompanyId, EventRef, Key},
        fault::{Fault, Reason, Stage},
        trigger::fired,
        value::phone::Regions,
        webhook::{delivery::NO_ENDPOINT, requested::WebhookRequested},
    },
    operator::audit::{self, Actor, Change},
    postgres::{
        Database, Failure, classify, clock,
        dead_letters::{self as store, DeadLetter, NewDeadLetter, PutBack, Recognition, SearchBudget, State},
        deliveries, ledger, refusal,
    },
};

/// Dead letters that are read at a time. Each may have 1 MiB.
const CHUNK: usize = 20;

/// A dead letter, whole. Personal data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    id: Uuid,
    company: String,
    stage: String,
    reason: String,
    state: String,
    message: String,
    trigger: Option<String>,
    event_id: Option<String>,
    source: Option<String>,
    delivery_id: Option<Uuid>,
    endpoint_id: Option<Uuid>,
    attempts: i32,
    replays: i32,
    #[serde(with = "time::serde::rfc3339")]
    first_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
    settled_by: Option<String>,
    edited_from: Option<Uuid>,
    superseded_by: Option<Uuid>,
    difference: Option<Value>,
    routing_key: String,
    properties: Value,
    /// The bytes, if they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The bytes, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The contents were not kept.
    is_blank: bool,
}

impl From<DeadLetter> for Record {
    fn from(dead_letter: DeadLetter) -> Self {
        let summary = dead_letter.summary;
        let (body, body_base64) = match String::from_utf8(dead_letter.body) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        Self {
            id: summary.id,
            company: summary.company,
            stage: summary.stage,
            reason: summary.reason,
            state: summary.state,
            message: summary.message,
            trigger: summary.trigger,
            event_id: summary.event_id,
            source: dead_letter.source,
            delivery_id: dead_letter.delivery_id,
            endpoint_id: summary.endpoint_id,
            attempts: summary.attempts,
            replays: summary.replays,
            first_seen_at: summary.first_seen_at,
            last_seen_at: summary.last_seen_at,
            settled_at: dead_letter.settled_at,
            settled_by: dead_letter.settled_by,
            edited_from: dead_letter.edited_from,
            superseded_by: dead_letter.superseded_by,
            difference: dead_letter.difference,
            routing_key: dead_letter.routing_key,
            properties: dead_letter.properties,
            body,
            body_base64,
            is_blank: dead_letter.is_blank,
        }
    }
}

/// Reads dead letters, and gives each to `take`, in the order of `keys`. Leaves out those that no longer exist. Records
/// the export before it begins.
///
/// # Errors
/// When the database or `take` fails.
pub async fn export<E: From<sqlx::Error>>(
    database: &Database,
    actor: &Actor,
    keys: &[Key],
    mut take: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let change = Change {
        action: audit::DEAD_LETTER_EXPORT,
        company: "",
        object: String::new(),
        before: None,
        after: Some(json!({ "count": keys.len() })),
    };
    let begin = async |conn: &mut PgConnection| audit::record(conn, actor, &change).await;
    database.transact(|()| true, begin).await?;
    for keys in keys.chunks(CHUNK) {
        let read = database.unit(async |conn| store::get_all(conn, keys).await).await?;
        read.into_iter().map(Record::from).try_for_each(&mut take)?;
    }
    Ok(())
}

/// What became of a dead letter that was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "camelCase")]
pub enum Outcome {
    /// It is back.
    Imported,
    /// It, or another one of the same message, is there.
    Present,
    /// It was resolved when it was exported.
    Resolved,
    /// Its event has been applied, or is about a person who has been erased.
    Ended,
    /// Its contents were not kept, or may name a person who has been erased.
    Erased,
    /// Its delivery is gone, or in another state.
    Undeliverable,
    /// It is not what an export writes.
    Invalid,
    /// The database does not accept it, or others kept it from doing so. The file may be imported again.
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

/// What it takes to recognize an erased person.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// Setting `contacts.suppression_pepper`.
    pub pepper: &'a str,
    /// The regions of national phone numbers.
    pub regions: &'a Regions,
}

/// Puts a dead letter back, with the same id, unless its event has ended in another way.
///
/// # Errors
/// When the database fails, whatever is to be put back; nothing has changed then.
pub async fn import(
    database: &Database,
    actor: &Actor,
    terms: &Terms<'_>,
    record: &Record,
) -> Result<Outcome, sqlx::Error> {
    match (record.is_blank, record.state.parse()) {
        (true, _) => return Ok(Outcome::Erased),
        (_, Ok(State::Resolved)) => return Ok(Outcome::Resolved),
        (_, Err(_)) => return Ok(Outcome::Invalid),
        (false, Ok(State::Open | State::Replaying | State::Discarded)) => {}
    }
    let Some(new) = read(record) else { return Ok(Outcome::Invalid) };
    let import = async |conn: &mut PgConnection| put_back(conn, actor, terms, record, &new).await;
    match database.transact(|outcome| *outcome == Outcome::Imported, import).await {
        Err(error) if classify(&error) != Failure::Systemic => {
            tracing::debug!(id = %record.id, "a dead letter was refused: {}", refusal(&error));
            Ok(Outcome::Refused)
        }
        ended => ended,
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
    let mut new = [new.clone()];
    if store::without_ended(new.to_vec(), &ends).is_empty() {
        return Ok(Outcome::Ended);
    }
    ledger::insert(conn, store::refusals(&new, &ends)).await?;
    if let Some(outcome) = deliverable(conn, record, state, &mut new).await? {
        return Ok(outcome);
    }
    let budget = SearchBudget::default();
    let recognition = Recognition { pepper: terms.pepper, regions: terms.regions, budget: &budget };
    // What an edit changed is no part of the body any more, and has no time of its own.
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
/// is nothing that an export writes.
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
                let requested = WebhookRequested { delivery: &delivery, trigger, event_id, source };
                requested.body() == new.body
            })
        }
    }
}
