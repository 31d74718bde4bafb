//! Edits the event of a dead letter and sends it.
//!
//! What was edited is another event, with an id of its own. It is stored as a dead letter that is being replayed, in the
//! transaction that resolves the original, and published afterwards. So after a crash exactly one of the two is unsettled:
//! the original, or the edited event, which can be replayed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{difference::difference, settle, sight::restored};
use crate::{
    amqp::{ConnectError, Publisher, Topology},
    domain::{
        chain::{plan::plan, rules::Rules},
        event::{EventRef, Key, MAX_BODY, without_mark},
        fault::{Fault, Reason, Stage},
        trigger::{cache::TriggerCache, fired},
    },
    operator::{
        audit::{self, Actor, Change},
        dead_letters::ReplayError,
    },
    postgres::{
        Database, clock,
        dead_letters::{
            self as store, DeadLetter, Edited as Row, NewDeadLetter, Recognition, Replayable, SearchBudget,
            State,
        },
        ledger,
    },
    settings::Settings,
};

/// An edit.
#[derive(Clone, Copy)]
pub struct Edit<'a> {
    /// The dead letter.
    pub key: &'a Key,
    /// The edited event.
    pub body: &'a [u8],
    /// The company of the event. Needed only if the company of the dead letter could not be read.
    pub company: Option<&'a str>,
}

/// What an edit would send.
#[derive(Clone)]
pub struct Draft {
    /// The company's id.
    pub company: String,
    /// The `id` of the new event.
    pub event_id: String,
    /// Its `source`.
    pub source: String,
    /// What was changed, the id included: see [`super::DeadLetter::difference`]. Personal data.
    pub difference: Value,
    new: NewDeadLetter,
}

/// The result of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The dead letter of the new event.
    pub key: Key,
    /// The `id` of the new event.
    pub event_id: String,
    /// Whether it was published. Otherwise its dead letter is open, and can be replayed.
    pub is_sent: bool,
}

/// Why nothing was edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No dead letter has this key.
    #[error("there is no such dead letter")]
    Unknown,
    /// It is being replayed, or settled.
    #[error("only an open dead letter can be edited; this one is {0}")]
    NotOpen(String),
    /// It does not have its own event.
    #[error("a dead letter of stage webhook has no event to edit; replay it, or resend its delivery")]
    Webhook,
    /// Its contents were not kept.
    #[error("the contents of this dead letter were not kept; discard it")]
    Blank,
    /// The body is too large.
    #[error("the edited event is larger than {MAX_BODY} bytes")]
    TooLarge,
    /// The body is not a JSON object.
    #[error("the edited event is not a JSON object")]
    NotJson,
    /// Worker 1 would refuse the event, for this reason.
    #[error("the edited event would fail again ({reason}): {message}")]
    Invalid {
        /// The reason.
        reason: Reason,
        /// What is wrong, without values.
        message: String,
    },
    /// The company differs.
    #[error("an event cannot be moved to another company")]
    OtherCompany,
    /// The owner of the event is unknown.
    #[error("the company of this dead letter could not be read; name the company of the edited event")]
    CompanyNeeded,
    /// Nothing but the id would differ.
    #[error("the edited event says the same as the original; replay that")]
    Unchanged,
    /// A person in it has been erased since the original was written, or checking that would take too long.
    #[error("the edited event may name a person who has been erased")]
    Erased,
    /// The broker cannot be reached.
    #[error("could not connect to send the edited event")]
    Broker(#[from] ConnectError),
    /// The database failed.
    #[error("could not edit the dead letter")]
    Database(#[from] sqlx::Error),
}

/// Checks an edit as worker 1 would check the event, and changes nothing.
///
/// # Errors
/// See [`EditError`].
pub async fn draft(database: &Database, settings: &Settings, edit: &Edit<'_>) -> Result<Draft, EditError> {
    let read = async |conn: &mut PgConnection| {
        Ok::<_, sqlx::Error>((store::get(conn, edit.key).await?, clock::now(conn).await?))
    };
    let (original, now) = database.unit(read).await?;
    let original = original.ok_or(EditError::Unknown)?;
    if original.summary.stage != Stage::Upsert.name() {
        return Err(EditError::Webhook);
    }
    if original.is_blank {
        return Err(EditError::Blank);
    }
    if original.summary.state != State::Open.name() {
        return Err(EditError::NotOpen(original.summary.state));
    }
    checked(&original, settings, edit, now)
}

/// Edits an open dead letter of stage upsert and sends the new event.
///
/// # Errors
/// See [`EditError`]; nothing has changed then. A broker that fails later is not an error: see [`Edited::is_sent`].
pub async fn edit(
    database: &Database,
    settings: &Settings,
    actor: &Actor,
    edit: &Edit<'_>,
) -> Result<Edited, EditError> {
    let draft = draft(database, settings, edit).await?;
    let mut publisher = Publisher::connect(&settings.amqp, "edit").await?;
    let id = Uuid::now_v7();
    let store = async |conn: &mut PgConnection| store(conn, actor, settings, (edit.key, id), &draft).await;
    database.transact(Result::is_ok, store).await??;
    let Draft { company, event_id, new, .. } = draft;
    let key = Key { company, id };
    // Stored as text that `amqp::properties` wrote.
    let properties = serde_json::from_str(&new.properties).unwrap_or_default();
    let replayable = Replayable {
        key: key.clone(),
        was: State::Replaying.name().to_owned(),
        stage: Stage::Upsert,
        delivery_id: None,
        body: new.body.to_vec(),
        properties,
        event_key: new.event_key,
        meaning: new.meaning.to_vec(),
    };
    let topology = Topology::new(&settings.amqp.namespace);
    match settle::send(database, &mut publisher, &topology, &[replayable]).await {
        Ok(unpublished) => Ok(Edited { key, event_id, is_sent: unpublished.is_empty() }),
        // It is stored in either case, and replaying it does no harm if it was published.
        Err(ReplayError::Publish(_) | ReplayError::Database(_)) => {
            Ok(Edited { key, event_id, is_sent: false })
        }
    }
}

/// Stores the edited event in place of the original, under a new id, in the caller's transaction. An `Err` within is to be
/// rolled back.
async fn store(
    conn: &mut PgConnection,
    actor: &Actor,
    settings: &Settings,
    (original, id): (&Key, Uuid),
    draft: &Draft,
) -> Result<Result<(), EditError>, sqlx::Error> {
    let mut new = [draft.new.clone()];
    let events: Vec<_> = draft.new.event().into_iter().collect();
    let ends = ledger::seen(conn, "", &events, &[]).await?.ends;
    // Like every event that was refused, until it is applied.
    ledger::insert(conn, store::refusals(&new, &ends)).await?;
    let (regions, budget) = (settings.contacts.regions(), SearchBudget::default());
    let pepper = settings.contacts.suppression_pepper.expose_secret();
    let recognition = Recognition { pepper, regions: &regions, budget: &budget };
    store::blank(conn, &recognition, &mut new).await?;
    let [new] = new;
    if new.is_blank {
        return Ok(Err(EditError::Erased));
    }
    if !store::supersede(conn, original, id, &actor.name).await? {
        let state = store::get(conn, original).await?.map(|found| found.summary.state);
        return Ok(Err(state.map_or(EditError::Unknown, EditError::NotOpen)));
    }
    let row = Row { id, new: &new, original: original.id, difference: &draft.difference };
    store::insert_edited(conn, &row).await?;
    let change = Change {
        action: audit::DEAD_LETTER_EDIT,
        company: &original.company,
        object: original.id.to_string(),
        before: Some(json!({ "state": State::Open.name() })),
        after: Some(json!({
            "state": State::Resolved.name(), "supersededBy": id, "changes": draft.difference.as_array().map(Vec::len),
        })),
    };
    audit::record(conn, actor, &change).await?;
    Ok(Ok(()))
}

/// The draft of an edit that worker 1 would accept at `now`.
fn checked(
    original: &DeadLetter,
    settings: &Settings,
    edit: &Edit<'_>,
    now: OffsetDateTime,
) -> Result<Draft, EditError> {
    if edit.body.len() > MAX_BODY {
        return Err(EditError::TooLarge);
    }
    // The editor does not see identity documents, and need not.
    let restored = restored(&original.body, edit.body);
    let edit = &Edit { body: restored.as_deref().unwrap_or(edit.body), ..*edit };
    let edited: Value = serde_json::from_slice(without_mark(edit.body)).map_err(|_| EditError::NotJson)?;
    let summary = &original.summary;
    if let Some((id, source)) = summary.event_id.as_deref().zip(original.source.as_deref())
        && fired::renamed(edit.body, id, Some(source))
            .is_some_and(|same| fired::meaning(&same) == fired::meaning(&original.body))
    {
        return Err(EditError::Unchanged);
    }
    let id = Uuid::now_v7().to_string();
    let body = fired::renamed(edit.body, &id, original.source.as_deref()).ok_or(EditError::NotJson)?;
    if body.len() > MAX_BODY {
        return Err(EditError::TooLarge);
    }
    let latest = now + settings.events.max_clock_skew;
    let (company, event, trigger) = accepted(&body, &settings.rules(), latest)?;
    match (summary.company.as_str(), edit.company) {
        ("", None) => return Err(EditError::CompanyNeeded),
        ("", Some(named)) if named != company => return Err(EditError::OtherCompany),
        ("", Some(_)) => {}
        (of_original, named) if company != of_original || named.is_some_and(|named| named != company) => {
            return Err(EditError::OtherCompany);
        }
        _ => {}
    }
    let before = serde_json::from_slice(without_mark(&original.body)).ok();
    let mut difference = difference(before.as_ref(), &edited);
    if let Value::Array(changes) = &mut difference {
        let is_identity =
            |change: &Value| change.get("path").is_some_and(|path| path == "/id" || path == "/source");
        changes.retain(|change| !is_identity(change));
        changes.insert(0, json!({ "path": "/id", "before": summary.event_id, "after": id }));
    }
    let new = NewDeadLetter {
        company: company.clone(),
        stage: Stage::Upsert,
        // So far, it has failed for the original's reason.
        reason: summary.reason.parse().unwrap_or(Reason::EventInvalid),
        message: summary.message.clone(),
        meaning: fired::meaning(&body),
        body: body.into(),
        routing_key: original.routing_key.clone(),
        properties: renamed_properties(&original.properties, &id).to_string(),
        source: Some(event.source().to_owned()),
        event_id: Some(id.clone()),
        event_key: Some(event.key()),
        trigger: Some(trigger),
        delivery_id: None,
        endpoint_id: None,
        attempts: 0,
        replay_of: None,
        known_at: Some(summary.first_seen_at),
        is_blank: false,
    };
    Ok(Draft { company, event_id: id, source: event.source().to_owned(), difference, new })
}

/// Company, event and trigger of an event that worker 1 accepts. `latest` is the latest time that it may have.
fn accepted(
    body: &[u8],
    rules: &Rules,
    latest: OffsetDateTime,
) -> Result<(String, EventRef, String), EditError> {
    // The original may be here because decoding it panicked.
    let planned = catch_unwind(AssertUnwindSafe(|| {
        let event = fired::decode(body, &TriggerCache::default())?.not_after(latest)?;
        plan(event, rules)
    }));
    let planned = planned.unwrap_or_else(|_| {
        Err(Fault::new(Reason::CrashLoop, "decoding this event panicked; please report it"))
    });
    let plan = planned.map_err(|Fault { reason, message, .. }| EditError::Invalid { reason, message })?;
    let event = &plan.event;
    Ok((event.company.to_string(), event.event.clone(), event.first_trigger().to_owned()))
}

/// The properties of the original, with the new id where they had the old one.
fn renamed_properties(properties: &Value, id: &str) -> Value {
    let mut properties = properties.clone();
    if let Some(message_id) = properties.get_mut("messageId") {
        *message_id = id.into();
    }
    if let Some(header) = properties.pointer_mut("/headers/cloudEvents_id/string") {
        *header = id.into();
    }
    properties
}
