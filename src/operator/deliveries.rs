//! Lists, shows and resends webhook deliveries.
//!
//! Postgres owns the retry clock, so a resend makes the row of the delivery due, with the same id and the same bytes.
//! Requests that leave this module have no secrets in their headers.

mod page;
pub mod request;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use serde_json::json;
use sqlx::PgConnection;
use strum::VariantArray as _;
use time::OffsetDateTime;

use self::request::RequestView;
use super::{
    audit::{self, Actor, Change},
    ids,
    lane::Waits,
    rate_limit::RateLimit,
    wake_up::{WakeUp, WakeUpError},
};
pub use page::{Found, page};

pub use crate::postgres::deliveries::{Filter, State, Summary};
use crate::{
    domain::event::Key,
    postgres::{
        Database,
        attempts::Attempt,
        dead_letters,
        deliveries::{self as store, DeadLetterRef, Locked},
        effects::search::Searched,
    },
};

/// The fault of an erased delivery.
const ERASED: &str = "the person was erased";

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
    /// Its dead letter, settled or not.
    pub dead_letter: Option<DeadLetterRef>,
    /// The deliveries that this digest combines.
    pub members: Vec<uuid::Uuid>,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
}

/// The deliveries that match, newest first; those that wait for their first attempt as far as they could be searched.
///
/// # Errors
/// When the database fails.
pub async fn list(database: &Database, filter: &Filter) -> Result<Searched<Listed>, sqlx::Error> {
    let Searched { found, is_complete } = database.unit(async |conn| store::list(conn, filter).await).await?;
    Ok(Searched { found: found.into_iter().map(Listed::new).collect(), is_complete })
}

/// The lines of a listing for `keys`.
///
/// # Errors
/// When the database fails.
pub async fn summaries(database: &Database, keys: &[Key]) -> Result<Vec<Listed>, sqlx::Error> {
    let listed = database.unit(async |conn| store::summaries(conn, keys).await).await?;
    Ok(listed.into_iter().map(Listed::new).collect())
}

/// The keys of the deliveries that match, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn keys(database: &Database, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    database.unit(async |conn| store::keys(conn, filter).await).await
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

/// One delivery with all details.
///
/// # Errors
/// When the database fails.
pub async fn get(database: &Database, key: &Key) -> Result<Option<Delivery>, sqlx::Error> {
    let found = database.unit(async |conn| store::details(conn, key).await).await?;
    Ok(found.map(|(summary, details)| Delivery {
        request: RequestView::new(&details, summary.id),
        listed: Listed::new(summary),
        source: details.source,
        step: details.step,
        fault: details.fault,
        dead_letter: details.dead_letter,
        members: details.members,
        attempts: details.attempts,
    }))
}

/// Why a delivery cannot be resent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// It no longer exists.
    Gone,
    /// It no longer exists, or is one of those that wait for their first attempt and could not all be searched.
    Unsearched,
    /// The person in its request was erased.
    Erased,
    /// Its request could not be rendered.
    Invalid,
    /// It was sent in a digest, which can be resent.
    Digested,
    /// A process is sending it, or is about to.
    InFlight,
    /// A newer version of the service wrote its state.
    Unknown,
}

impl Refusal {
    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Unsearched => "gone, or waiting for the first attempt among too many to search",
            Self::Erased => ERASED,
            Self::Invalid => "cannot be rendered",
            Self::Digested => "sent in a digest; resend that",
            Self::InFlight => "in flight",
            Self::Unknown => "in a state of a newer version",
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Counts of a resend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// Made due.
    pub done: u64,
    /// Those of `done` that were superseded. The worker supersedes them again if a newer version was sent.
    pub superseded: u64,
    /// Left alone, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Resent {
    /// The total of `refused`.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.superseded += other.superseded;
        for (refusal, count) in &other.refused {
            *self.refused.entry(*refusal).or_default() += count;
        }
    }

    fn refuse(&mut self, refusal: Refusal, count: usize) {
        if count > 0 {
            *self.refused.entry(refusal).or_default() += count as u64;
        }
    }
}

/// Makes deliveries due again, in the order of `keys`, at most `rate` per second. Calls `progress` after each step.
///
/// A delivery that has ended starts a new retry schedule, and its dead letter is replaying. A pending one is
/// due at once. The second value says whether the worker could be woken.
///
/// # Errors
/// When the database fails; the last `progress` is accurate.
pub async fn resend(
    database: &Database,
    actor: &Actor,
    wake_up: Option<&mut WakeUp>,
    keys: &[Key],
    rate: Option<NonZeroU32>,
    mut progress: impl FnMut(&Resent),
) -> Result<(Resent, Result<(), WakeUpError>), sqlx::Error> {
    let mut rate_limit = RateLimit::new(rate);
    let (mut total, mut wake_up, mut woken) = (Resent::default(), wake_up, Ok(()));
    for keys in keys.chunks(rate_limit.window()) {
        rate_limit.wait(keys.len()).await;
        let (window, missing) =
            database.transact(|_| true, async |conn| resend_window(conn, actor, keys).await).await?;
        total.add(&window);
        progress(&total);
        // After the transaction, which has locks.
        if !missing.is_empty() {
            let sought = database.unit(async |conn| store::unrecorded(conn, &missing).await).await?;
            let sending = sought.found.len();
            let absent = if sought.is_complete { Refusal::Gone } else { Refusal::Unsearched };
            total.refuse(Refusal::InFlight, sending);
            total.refuse(absent, missing.len().saturating_sub(sending));
            progress(&total);
        }
        if let Some(worker) = wake_up.take_if(|_| window.done > 0) {
            woken = worker.send().await;
            wake_up = Some(worker).filter(|_| woken.is_ok());
        }
    }
    Ok((total, woken))
}

/// Resends those that have a row, and returns the others.
async fn resend_window(
    conn: &mut PgConnection,
    actor: &Actor,
    keys: &[Key],
) -> Result<(Resent, Vec<Key>), sqlx::Error> {
    let locked = store::lock(conn, keys).await?;
    let (mut restarted, mut made_due, mut resent) = (Vec::new(), Vec::new(), Resent::default());
    for one in &locked {
        match judge(one) {
            Ok(State::Pending) => made_due.push(one.key.clone()),
            Ok(_) => restarted.push(one),
            Err(refusal) => resent.refuse(refusal, 1),
        }
    }
    let ended: Vec<Key> = restarted.iter().map(|one| one.key.clone()).collect();
    let superseded = restarted.iter().filter(|one| one.state == Some(State::Superseded)).count();
    store::restart(conn, &ended, State::VARIANTS).await?;
    store::make_due(conn, &made_due).await?;
    let replayed: Vec<_> = restarted.iter().map(|one| one.requested()).collect();
    dead_letters::begin_replay_of_deliveries(conn, &replayed).await?;
    let changes: Vec<Change<'_>> = locked.iter().filter(|one| judge(one).is_ok()).map(resent_one).collect();
    audit::record_all(conn, actor, &changes).await?;
    resent.done = (restarted.len() + made_due.len()) as u64;
    resent.superseded = superseded as u64;
    let found: BTreeSet<&Key> = locked.iter().map(|one| &one.key).collect();
    Ok((resent, keys.iter().filter(|key| !found.contains(key)).cloned().collect()))
}

fn resent_one(one: &Locked) -> Change<'_> {
    Change {
        action: audit::DELIVERY_RESEND,
        company: &one.key.company,
        object: one.key.id.to_string(),
        before: Some(json!({ "state": one.state.map(State::name) })),
        after: Some(json!({ "state": State::Pending.name() })),
    }
}

/// The state from which the delivery can be resent, or why it cannot.
fn judge(locked: &Locked) -> Result<State, Refusal> {
    match (locked.state, locked.fault.as_deref()) {
        (None, _) => Err(Refusal::Unknown),
        (_, Some(ERASED)) => Err(Refusal::Erased),
        (_, Some(_)) => Err(Refusal::Invalid),
        (Some(State::Digested), None) => Err(Refusal::Digested),
        (Some(State::Pending), None) if locked.in_flight => Err(Refusal::InFlight),
        (Some(state), None) => Ok(state),
    }
}
