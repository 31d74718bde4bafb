//! What each part of the process says of itself, for `/readyz`. A leaf: workers write, the console
//! reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The state of every part that has reported. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Health {
    /// `part` works.
    pub fn ready(&self, part: &str) {
        self.set(part, None);
    }

    /// `part` does not work, for this reason. No personal data, no secret.
    pub fn failing(&self, part: &str, reason: impl Into<String>) {
        self.set(part, Some(reason.into()));
    }

    /// Every part and, where it is not ready, why.
    #[must_use]
    pub fn report(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, part: &str, state: Option<String>) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match parts.get_mut(part) {
            Some(current) => *current = state,
            None => {
                parts.insert(part.to_owned(), state);
            }
        }
    }
}
