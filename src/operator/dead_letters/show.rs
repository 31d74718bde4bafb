//! One dead letter with what operators have done to it, and what they know of its cause.

use super::{DeadLetter, Note, get, note};
use crate::{
    domain::{event::Key, fault::Signature},
    operator::audit::{self, Entry},
    postgres::Database,
};

/// Changes that are shown, the newest ones.
const MAX_CHANGES: u32 = 20;

/// What is known of a dead letter.
pub struct Shown {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// Recorded changes of it, the newest ones, newest first.
    pub changes: Vec<Entry>,
    /// The note on its group.
    pub note: Option<Note>,
}

/// One dead letter with all details.
///
/// # Errors
/// When the database fails.
pub async fn show(database: &Database, key: &Key) -> Result<Option<Shown>, sqlx::Error> {
    let Some(dead_letter) = get(database, key).await? else { return Ok(None) };
    let of_it = audit::Filter { object: Some(key.id.to_string()), ..audit::Filter::default() };
    let changes = audit::list(database, &of_it, MAX_CHANGES).await?.items;
    let note = match Signature::try_from(dead_letter.summary.signature.as_slice()) {
        Ok(signature) => note(database, signature).await?,
        Err(_) => None,
    };
    Ok(Some(Shown { dead_letter, changes, note }))
}
