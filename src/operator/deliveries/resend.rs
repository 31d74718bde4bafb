//! Makes deliveries due again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;
use sqlx::PgConnection;
use strum::VariantArray as _;

use super::State;
use crate::{
    domain::event::Key,
    operator::audit::{self, Actor, Change},
    postgres::{
        Database, dead_letters,
        deliveries::{self as store, Locked},
    },
};

/// The fault of an erased delivery.
const ERASED: &str = "the person was erased";

/// Why a delivery cannot be resent or discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::EnumString, strum::IntoStaticStr)]
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
    /// It is to be discarded, and does not wait.
    WrongState,
    /// A process is sending it, or is about to.
    InFlight,
    /// It was attempted or resent since it was chosen.
    AttemptedSince,
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
            Self::WrongState => "no longer pending",
            Self::InFlight => "in flight",
            Self::AttemptedSince => "attempted since it was chosen",
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
        for (refusal, count) in &other.refused {
            *self.refused.entry(*refusal).or_default() += count;
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }
}

/// Makes deliveries due again. One that has ended starts a new retry schedule, and its dead letter is replaying. A pending one
/// is due at once.
///
/// # Errors
/// When the database fails; nothing has changed then.
pub async fn resend(database: &Database, actor: &Actor, keys: &[Key]) -> Result<Resent, sqlx::Error> {
    let chosen: Vec<(Key, Option<i32>)> = keys.iter().map(|key| (key.clone(), None)).collect();
    let done = database.transact(|_| true, async |conn| resend_window(conn, actor, &chosen).await).await?;
    let mut resent = Resent::default();
    for (_, outcome) in &done {
        match outcome {
            Ok(_) => resent.done += 1,
            Err(refusal) => resent.refuse(*refusal),
        }
    }
    // After the transaction, which has locks.
    let found: BTreeSet<&Key> = done.iter().map(|(key, _)| key).collect();
    let missing: Vec<Key> = keys.iter().filter(|key| !found.contains(key)).cloned().collect();
    without_row(database, &missing).await?.into_iter().for_each(|refusal| resent.refuse(refusal));
    Ok(resent)
}

/// Resends those that have a row, and were not attempted more often than is known of them. Returns the state that each had, or
/// why it was left alone.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn resend_window(
    conn: &mut PgConnection,
    actor: &Actor,
    chosen: &[(Key, Option<i32>)],
) -> Result<Vec<(Key, Result<State, Refusal>)>, sqlx::Error> {
    let keys: Vec<Key> = chosen.iter().map(|(key, _)| key.clone()).collect();
    let attempts: BTreeMap<&Key, i32> =
        chosen.iter().filter_map(|(key, attempts)| Some((key, (*attempts)?))).collect();
    let locked = store::lock(conn, &keys, Duration::ZERO).await?;
    let (mut restarted, mut made_due, mut judged) = (Vec::new(), Vec::new(), Vec::new());
    for one in &locked {
        let judgment = judge(one, attempts.get(&one.key).copied());
        match judgment {
            Ok(State::Pending) => made_due.push(one.key.clone()),
            Ok(_) => restarted.push(one),
            Err(_) => {}
        }
        judged.push((one, judgment));
    }
    let ended: Vec<Key> = restarted.iter().map(|one| one.key.clone()).collect();
    store::restart(conn, &ended, State::VARIANTS).await?;
    store::make_due(conn, &made_due).await?;
    let replayed: Vec<_> = restarted.iter().map(|one| one.message()).collect();
    dead_letters::begin_replay_of_deliveries(conn, &replayed).await?;
    let resent = judged.iter().filter(|(_, judgment)| judgment.is_ok());
    let changes: Vec<Change<'_>> = resent.map(|(one, _)| resent_one(one)).collect();
    audit::record_all(conn, actor, &changes).await?;
    Ok(judged.into_iter().map(|(one, judgment)| (one.key.clone(), judgment)).collect())
}

/// Why each of these, which have no row, cannot be resent or discarded.
///
/// # Errors
/// When the database fails.
pub(in crate::operator) async fn without_row(
    database: &Database,
    keys: &[Key],
) -> Result<Vec<Refusal>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let sought = database.unit(async |conn| store::unrecorded(conn, keys).await).await?;
    let sending: BTreeSet<&Key> = sought.found.iter().map(|one| &one.delivery.key).collect();
    let absent = if sought.is_complete { Refusal::Gone } else { Refusal::Unsearched };
    Ok(keys.iter().map(|key| if sending.contains(key) { Refusal::InFlight } else { absent }).collect())
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

/// The state from which the delivery can be resent, or why it cannot. `attempts` are those that it had when it was chosen.
fn judge(locked: &Locked, attempts: Option<i32>) -> Result<State, Refusal> {
    match (locked.state, locked.fault.as_deref()) {
        (None, _) => Err(Refusal::Unknown),
        (_, Some(ERASED)) => Err(Refusal::Erased),
        (_, Some(_)) => Err(Refusal::Invalid),
        (Some(State::Digested), None) => Err(Refusal::Digested),
        (Some(State::Pending), None) if locked.in_flight => Err(Refusal::InFlight),
        (Some(_), None) if attempts.is_some_and(|attempts| attempts != locked.attempts) => {
            Err(Refusal::AttemptedSince)
        }
        (Some(state), None) => Ok(state),
    }
}
