//! Lists, shows, resends and discards webhook deliveries.
//!
//! Postgres owns the retry clock, so a resend makes the delivery's row due, with the same id and bytes. Requests that
//! leave this module have no secrets in their headers.

mod discard;
mod page;
pub mod request;
mod resend;

use std::borrow::Cow;

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use self::request::RequestView;
use super::{
    audit::{self, Actor, Change},
    documents::Documents,
    ids,
    lane::Waits,
    selection::{moment, narrowed},
};
pub(super) use discard::discard_window;
pub(super) use page::waiting;
pub use page::{Found, page};
pub use resend::{Refusal, Resent, resend};
pub(super) use resend::{resend_window, without_row};

pub use crate::postgres::deliveries::{Filter, State, Summary};
use crate::{
    domain::event::Key,
    postgres::{
        Database,
        attempts::Attempt,
        deliveries::{self as store, DeadLetterRef, Details},
        effects::search::Searched,
    },
};

/// Why a text does not identify one delivery.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not hexadecimal, too short or too long.
    #[error(
        "`{0}` is not an id of a delivery; give the whole id, or at least its first 8 hexadecimal digits"
    )]
    NotAnId(String),
    /// No delivery has this id.
    #[error("there is no delivery `{0}`")]
    Unknown(String),
    /// It may be one of those that wait for their first attempt and could not all be searched.
    #[error(
        "`{0}` was not found, but too many deliveries wait for their first attempt to search all of them; give the company, \
         or try again once they are being sent"
    )]
    Unsearched(String),
    /// Several ids begin with the text.
    #[error("`{0}` matches several deliveries; give more of the id, or the company")]
    Ambiguous(String),
    /// The database failed.
    #[error("could not look up the delivery")]
    Database(#[from] sqlx::Error),
}

/// One line of a listing.
#[derive(Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its row.
    #[serde(flatten)]
    pub summary: Summary,
    /// What it waits for, by [`Waits::name`]; only while it is pending.
    waits_for: Option<&'static str>,
    /// The end of that wait, if known.
    #[serde(with = "time::serde::rfc3339::option")]
    waits_until: Option<OffsetDateTime>,
}

impl Listed {
    /// What it waits for, by [`Waits::name`]; only while it is pending.
    #[must_use]
    pub const fn waits_for(&self) -> Option<&'static str> {
        self.waits_for
    }

    /// The end of that wait, if known.
    #[must_use]
    pub const fn waits_until(&self) -> Option<OffsetDateTime> {
        self.waits_until
    }

    fn new(summary: Summary) -> Self {
        let waits = Waits::of(&summary);
        Self { waits_for: waits.map(Waits::name), waits_until: waits.and_then(Waits::until), summary }
    }
}

/// One delivery with all details that an operator may see.
#[derive(Clone)]
pub struct Delivery {
    /// Its line of a listing.
    pub listed: Listed,
    /// `CloudEvents` `source` of the event.
    pub source: String,
    /// The step within the event's chain, counted from 1.
    pub step: i16,
    /// Why it cannot be sent.
    pub fault: Option<String>,
    /// Its request, without secrets in the headers.
    pub request: RequestView,
    /// Identity documents in it, or in answers, are masked.
    pub has_documents: bool,
    /// Its dead letter, settled or not.
    pub dead_letter: Option<DeadLetterRef>,
    /// The deliveries that this digest combines.
    pub members: Vec<uuid::Uuid>,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
}

/// Whether deliveries in these states are found at any age, where a filter has no time. All others are those of the last day.
/// Pending ones have an index of their own, and what was discarded, at whatever age, can be found to undo that.
#[must_use]
pub fn at_any_age(states: &[State]) -> bool {
    !states.is_empty() && states.iter().all(|state| matches!(state, State::Pending | State::Discarded))
}

/// The lines of a listing for `keys`.
///
/// # Errors
/// When the database fails.
pub async fn summaries(database: &Database, keys: &[Key]) -> Result<Vec<Listed>, sqlx::Error> {
    let listed = database.unit(async |conn| store::summaries(conn, keys).await).await?;
    Ok(listed.into_iter().map(Listed::new).collect())
}

/// A filter as shown to people.
#[must_use]
pub fn shown(filter: &Filter) -> Value {
    narrowed(json!({
        "company": filter.company,
        "states": filter.states.as_ref().map(|states| states.iter().map(|state| state.name()).collect::<Vec<_>>()),
        "endpoints": filter.endpoints,
        "eventId": filter.event_id,
        "contact": filter.contact,
        "trigger": filter.trigger,
        "since": moment(filter.since),
        "until": moment(filter.before.map(|(before, _)| before)),
        "limit": filter.limit,
    }))
}

/// The delivery whose id begins with `text`, of `company` if given.
///
/// # Errors
/// When none or more than one matches, or the database fails.
pub async fn resolve(database: &Database, company: Option<&str>, text: &str) -> Result<Key, ResolveError> {
    let range = ids::range(text, ids::MIN_DIGITS).ok_or_else(|| ResolveError::NotAnId(text.to_owned()))?;
    let Searched { mut found, is_complete } =
        database.unit(async |conn| store::matching(conn, company, range, 2).await).await?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ResolveError::Ambiguous(text.to_owned())),
        (None, _) if is_complete => Err(ResolveError::Unknown(text.to_owned())),
        (None, _) => Err(ResolveError::Unsearched(text.to_owned())),
    }
}

/// One delivery with all details, without identity documents.
///
/// # Errors
/// When the database fails.
pub async fn get(database: &Database, key: &Key) -> Result<Option<Delivery>, sqlx::Error> {
    let read = async |conn: &mut PgConnection| {
        let Some((summary, mut details)) = store::details(conn, key).await? else { return Ok(None) };
        let known = store::documents(conn, &key.company, summary.contact_id, &[key.id]).await?;
        let has_documents = hide(&mut details, &Documents::new(&known));
        Ok::<_, sqlx::Error>(Some(delivery(summary, details, has_documents)))
    };
    database.unit(read).await
}

/// One delivery with identity documents; the request is recorded. `None` if it does not exist.
///
/// # Errors
/// When the database fails.
pub async fn reveal(database: &Database, actor: &Actor, key: &Key) -> Result<Option<Delivery>, sqlx::Error> {
    let reveal = async |conn: &mut PgConnection| {
        let Some((summary, details)) = store::details(conn, key).await? else { return Ok(None) };
        let change = Change {
            action: audit::DELIVERY_REVEAL,
            company: &key.company,
            object: key.id.to_string(),
            before: None,
            after: Some(json!({ "field": "request" })),
        };
        audit::record(conn, actor, &change).await?;
        Ok(Some(delivery(summary, details, false)))
    };
    database.transact(Option::is_some, reveal).await
}

fn delivery(summary: Summary, details: Details, has_documents: bool) -> Delivery {
    Delivery {
        request: RequestView::new(&details, summary.id),
        has_documents,
        listed: Listed::new(summary),
        source: details.source,
        step: details.step,
        fault: details.fault,
        dead_letter: details.dead_letter,
        members: details.members,
        attempts: details.attempts,
    }
}

/// Masks documents in everything that was sent or received. Returns whether there were any.
fn hide(details: &mut Details, documents: &Documents) -> bool {
    let mut is_hidden = false;
    let mut replace = |bytes: &mut Vec<u8>| {
        let hidden = match documents.hide(bytes) {
            Cow::Owned(hidden) => hidden,
            Cow::Borrowed(_) => return,
        };
        *bytes = hidden;
        is_hidden = true;
    };
    let answers = details.attempts.iter_mut().filter_map(|attempt| attempt.response_body.as_mut());
    details.body.iter_mut().chain(answers).for_each(&mut replace);
    let headers = details.headers.iter_mut().flatten().map(|(_, value)| value);
    for text in headers.chain([&mut details.url]) {
        let hidden = documents.hide_in(text);
        is_hidden |= hidden != *text;
        *text = hidden;
    }
    is_hidden
}
