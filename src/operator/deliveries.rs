//! Webhook deliveries: look, resend.
//!
//! Postgres owns the retry clock, so to resend a delivery is to make its row due: the same id, the same
//! bytes. What is told of a request here has no secret of its headers any more.

pub mod request;

use std::{collections::BTreeMap, num::NonZeroU32};

use sqlx::PgConnection;
use strum::VariantArray as _;
use time::OffsetDateTime;

use self::request::RequestView;
use super::{
    ids,
    lane::Waits,
    rate_limit::RateLimit,
    wake_up::{WakeUp, WakeUpError},
};
pub use crate::postgres::deliveries::{Filter, State, Summary};
use crate::{
    domain::event::Key,
    postgres::{
        Database,
        attempts::Attempt,
        dead_letters,
        deliveries::{self as store, DeadLetterRef, Locked},
    },
};

/// What an erased delivery says of itself.
const ERASED: &str = "the person was erased";

/// Why an id names no delivery.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not hexadecimal, too short or too long.
    #[error("`{0}` is no delivery's id: write all of it, or its first 8 or more hexadecimal digits")]
    NotAnId(String),
    /// None has it.
    #[error("there is no delivery `{0}`")]
    Unknown(String),
    /// Several begin so.
    #[error("several deliveries begin with `{0}`: write more of the id, or its company")]
    Ambiguous(String),
    /// The database refused or is away.
    #[error("could not look the delivery up")]
    Database(#[from] sqlx::Error),
}

/// One line of a listing.
#[derive(Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The delivery.
    #[serde(flatten)]
    pub summary: Summary,
    /// The name of what it waits for, see [`Waits::name`]; only while it is pending.
    waits_for: Option<&'static str>,
    /// When that is over, where it is known.
    #[serde(with = "time::serde::rfc3339::option")]
    waits_until: Option<OffsetDateTime>,
}

impl Listed {
    fn new(summary: Summary) -> Self {
        let waits = Waits::of(&summary);
        Self { waits_for: waits.map(Waits::name), waits_until: waits.and_then(Waits::until), summary }
    }
}

/// One delivery with everything that an operator may see.
#[derive(Clone)]
pub struct Delivery {
    /// What a listing tells.
    pub listed: Listed,
    /// `CloudEvents` `source` of the trigger event.
    pub source: String,
    /// The step within the event's chain, counted from 1.
    pub step: i16,
    /// Why it is never sent.
    pub fault: Option<String>,
    /// Its request, without the secrets of its headers.
    pub request: RequestView,
    /// Its dead letter, settled or not.
    pub dead_letter: Option<DeadLetterRef>,
    /// The deliveries that went out as parts of this one.
    pub members: Vec<uuid::Uuid>,
    /// Every attempt, the first one first.
    pub attempts: Vec<Attempt>,
}

/// The deliveries that match, newest first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn list(database: &Database, filter: &Filter) -> Result<Vec<Listed>, sqlx::Error> {
    let listed = database.unit(async |conn| store::list(conn, filter).await).await?;
    Ok(listed.into_iter().map(Listed::new).collect())
}

/// These deliveries, as a listing shows them.
///
/// # Errors
/// When the database refuses or is away.
pub async fn look(database: &Database, keys: &[Key]) -> Result<Vec<Listed>, sqlx::Error> {
    let listed = database.unit(async |conn| store::summaries(conn, keys).await).await?;
    Ok(listed.into_iter().map(Listed::new).collect())
}

/// The keys of the deliveries that match, oldest first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn keys(database: &Database, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    database.unit(async |conn| store::keys(conn, filter).await).await
}

/// The delivery whose id is or begins with `text`, of this company where one is given.
///
/// # Errors
/// When there is none or are several, or the database refuses or is away.
pub async fn resolve(database: &Database, company: Option<&str>, text: &str) -> Result<Key, ResolveError> {
    let range = ids::range(text, ids::DIGITS).ok_or_else(|| ResolveError::NotAnId(text.to_owned()))?;
    let mut found = database.unit(async |conn| store::matching(conn, company, range, 2).await).await?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ResolveError::Ambiguous(text.to_owned())),
        (None, _) => Err(ResolveError::Unknown(text.to_owned())),
    }
}

/// One delivery with everything.
///
/// # Errors
/// When the database refuses or is away.
pub async fn get(database: &Database, key: &Key) -> Result<Option<Delivery>, sqlx::Error> {
    let (summary, details) = database
        .unit(async |conn| {
            let summary = store::summaries(conn, std::slice::from_ref(key)).await?.pop();
            Ok::<_, sqlx::Error>((summary, store::details(conn, key).await?))
        })
        .await?;
    let (Some(summary), Some(details)) = (summary, details) else { return Ok(None) };
    Ok(Some(Delivery {
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

/// Why a delivery is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// There is no such delivery.
    Gone,
    /// What it said was about a person who has been erased.
    Erased,
    /// It could not be rendered, and no time mends that.
    Invalid,
    /// It went out as a part of another delivery, which can be resent.
    Digested,
    /// A worker has it in hand.
    InFlight,
    /// A later version of the service knows its state.
    Unknown,
}

impl Refusal {
    /// For a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Erased => ERASED,
            Self::Invalid => "cannot be rendered",
            Self::Digested => "went out as a part of a digest; resend that",
            Self::InFlight => "in flight",
            Self::Unknown => "in a state of a later version",
        }
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Erased => "erased",
            Self::Invalid => "invalid",
            Self::Digested => "digested",
            Self::InFlight => "in_flight",
            Self::Unknown => "unknown",
        }
    }
}

/// How far a resending has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// Due now.
    pub done: u64,
    /// Of these, those that were superseded: the worker closes them again where a newer one went out.
    pub superseded: u64,
    /// Left as they are.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Resent {
    /// How many were left as they are.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Makes deliveries due again, in the order of `keys`, at most `rate` a second; `progress` is told after each
/// window. What had ended has a whole schedule ahead, and its dead letter is replaying; what is pending is due
/// at once. Says at the end whether the worker was woken each time.
///
/// # Errors
/// When the database refuses or is away; what `progress` was told last is done.
pub async fn resend(
    database: &Database,
    wake_up: Option<&mut WakeUp>,
    keys: &[Key],
    rate: Option<NonZeroU32>,
    mut progress: impl FnMut(&Resent),
) -> Result<(Resent, Result<(), WakeUpError>), sqlx::Error> {
    let mut rate_limit = RateLimit::new(rate);
    let (mut total, mut wake_up, mut woken) = (Resent::default(), wake_up, Ok(()));
    for keys in keys.chunks(rate_limit.window()) {
        rate_limit.wait(keys.len()).await;
        let window = database.transact(|_| true, async |conn| resend_window(conn, keys).await).await?;
        total.done += window.done;
        total.superseded += window.superseded;
        for (refusal, count) in window.refused {
            *total.refused.entry(refusal).or_default() += count;
        }
        progress(&total);
        if let Some(worker) = wake_up.take_if(|_| window.done > 0) {
            woken = worker.send().await;
            wake_up = Some(worker).filter(|_| woken.is_ok());
        }
    }
    Ok((total, woken))
}

async fn resend_window(conn: &mut PgConnection, keys: &[Key]) -> Result<Resent, sqlx::Error> {
    let locked = store::lock(conn, keys).await?;
    let (mut restarted, mut made_due, mut resent) = (Vec::new(), Vec::new(), Resent::default());
    let mut refuse = |refusal: Refusal, count: u64| {
        if count > 0 {
            *resent.refused.entry(refusal).or_default() += count;
        }
    };
    refuse(Refusal::Gone, (keys.len() - locked.len()) as u64);
    for one in &locked {
        match judge(one) {
            Ok(State::Pending) => made_due.push(one.key.clone()),
            Ok(_) => restarted.push(one),
            Err(refusal) => refuse(refusal, 1),
        }
    }
    let ended: Vec<Key> = restarted.iter().map(|one| one.key.clone()).collect();
    let superseded = restarted.iter().filter(|one| one.state == Some(State::Superseded)).count();
    store::restart(conn, &ended, State::VARIANTS).await?;
    store::make_due(conn, &made_due).await?;
    let replayed: Vec<_> = restarted.iter().map(|one| one.requested()).collect();
    dead_letters::begin_replay_of_deliveries(conn, &replayed).await?;
    resent.done = (restarted.len() + made_due.len()) as u64;
    resent.superseded = superseded as u64;
    Ok(resent)
}

/// Whether it can be sent again, and from which state.
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
