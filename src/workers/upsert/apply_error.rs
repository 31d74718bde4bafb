//! Why a transaction of worker 1 was not committed.

use std::collections::HashSet;

use super::give_up::SharedKey;
use crate::{
    domain::event::Key,
    postgres::{Failure, ROW_LOCKED, classify, dead_letters::Replay, refusal},
};

/// Why nothing was committed.
///
/// Its text contains no value, but those of its sources may.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// Another worker was faster; the next try sees its rows.
    #[error("it lost races against other transactions, or stored rows contradict each other ({0})")]
    Race(String),
    /// An assumption about it is wrong, and nothing is inserted.
    #[error("one of its events or people was seen before")]
    Seen,
    /// The events and webhooks of several messages are too large together, or their dead letters take too long to search.
    #[error("its messages are too many for one transaction")]
    TooLarge,
    /// Running the chain of the accepted message with this index panicked.
    #[error("applying one of its messages panicked")]
    Panicked(usize),
    /// An operator has discarded the dead letters that these messages replay.
    #[error("an operator has discarded a dead letter that it replays")]
    Discarded(HashSet<Replay>),
    /// The database rejects the values of a row, by this rule.
    #[error("the database rejects its values ({0})")]
    Data(String),
    /// A stored row cannot be read.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
    /// Another session keeps a row locked.
    #[error("{why}")]
    Locked {
        /// For a person.
        why: String,
        /// The accepted messages that need it, as far as that was looked up, in their order.
        blocked: Vec<Blocked>,
    },
    /// Another session keeps a whole table locked.
    #[error("a table is locked, by a migration or a person")]
    TableLocked,
    /// A statement took too long.
    #[error("{0}")]
    Slow(String),
    /// Nothing is wrong with the messages; they wait for the database.
    #[error(transparent)]
    Systemic(sqlx::Error),
}

/// A message that needs rows which other sessions have locked.
#[derive(Debug)]
pub(super) struct Blocked {
    /// Its place among the accepted messages.
    pub(super) index: usize,
    /// The keys of the locked rows.
    pub(super) keys: Vec<SharedKey>,
    /// The lanes among that.
    pub(super) lanes: Vec<Key>,
}

impl ApplyError {
    /// A row is known to be locked.
    pub(super) fn locked() -> Self {
        Self::Locked { why: ROW_LOCKED.to_owned(), blocked: Vec::new() }
    }

    /// The accepted messages that are known to need a locked row.
    pub(super) fn into_blocked(self) -> Vec<Blocked> {
        match self {
            Self::Locked { blocked, .. } => blocked,
            _ => Vec::new(),
        }
    }

    /// Whether it is about the messages: others may be applied meanwhile.
    pub(super) const fn concerns_messages(&self) -> bool {
        !matches!(self, Self::TableLocked | Self::Systemic(_) | Self::Panicked(_))
    }

    /// Whether it will repeat until somebody repairs or unlocks a row, or the database is faster.
    pub(super) const fn waits_for_repair(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Locked { .. } | Self::Slow(_))
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Failure::Race => Self::Race(refusal(&error)),
            Failure::Data => Self::Data(refusal(&error)),
            Failure::Unreadable => Self::Unreadable(refusal(&error)),
            Failure::Locked => Self::Locked { why: refusal(&error), blocked: Vec::new() },
            Failure::Slow => Self::Slow(refusal(&error)),
            Failure::Systemic => Self::Systemic(error),
        }
    }
}
