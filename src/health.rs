//! The state of each component, for `/readyz`: components report it, the console reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The process itself, which has a part in the report once it is stopping.
const PROCESS: &str = "process";

/// The last report of each component. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Health {
    /// Reports that `component` works.
    pub fn ready(&self, component: &str) {
        self.set(component, None);
    }

    /// Reports why `component` does not work. The reason must hold no personal data and no secret.
    pub fn failing(&self, component: &str, reason: impl Into<String>) {
        self.set(component, Some(reason.into()));
    }

    /// Reports that `component` works, if it last failed for a reason that begins so. Returns whether it did.
    #[must_use]
    pub fn recovered(&self, component: &str, reason: &str) -> bool {
        let mut components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failure =
            components.get_mut(component).and_then(|state| state.take_if(|last| last.starts_with(reason)));
        failure.is_some()
    }

    /// Why `component` does not work, if it last reported so.
    #[must_use]
    pub fn failure(&self, component: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(component).cloned().flatten()
    }

    /// Whether every component that has reported works, and any has.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !components.is_empty() && components.values().all(Option::is_none)
    }

    /// Reports that the process is stopping. Nothing makes it ready again.
    pub fn stopping(&self) {
        self.failing(PROCESS, "stopping; it finishes its work and takes no more");
    }

    /// Every component that has reported; `None` is ready, `Some` the reason why it is not.
    #[must_use]
    pub fn report(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, component: &str, state: Option<String>) {
        let mut components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match components.get_mut(component) {
            Some(current) => *current = state,
            None => {
                components.insert(component.to_owned(), state);
            }
        }
    }
}
