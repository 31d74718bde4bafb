//! Idempotency keys that are free again, but still taken in the database.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Maximum number of keys in [`ReleasedKeys`].
const MAX_RELEASED: usize = 10_000;

/// Keys of requests that changed nothing, but which the database could not release. Other
/// processes treat them as interrupted after a while.
#[derive(Default)]
pub(super) struct ReleasedKeys(Mutex<HashSet<(String, String)>>);

impl ReleasedKeys {
    /// Remembers a key.
    pub(super) fn add(&self, caller: &str, key: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() < MAX_RELEASED {
            keys.insert((caller.to_owned(), key.to_owned()));
        }
    }

    /// Whether the key was in it. It no longer is.
    pub(super) fn take(&self, caller: &str, key: &str) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !keys.is_empty() && keys.remove(&(caller.to_owned(), key.to_owned()))
    }
}
