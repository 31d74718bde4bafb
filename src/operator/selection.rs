//! Which objects a change applies to.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::domain::event::Key;

/// What an operator chose, by name or by a filter.
#[derive(Clone, Debug)]
pub enum Selection<F> {
    /// These, in this order.
    Keys(Vec<Key>),
    /// All that match now.
    Matching(Box<F>),
}

impl<F> Selection<F> {
    /// The selection for people, without personal data; `filter` writes a filter so.
    pub(super) fn shown(&self, filter: impl FnOnce(&F) -> Value) -> Value {
        match self {
            Self::Keys(keys) => json!({ "ids": keys.len() }),
            Self::Matching(given) => filter(given),
        }
    }
}

/// A time in a filter for people.
pub(super) fn moment(at: Option<OffsetDateTime>) -> Option<String> {
    at.and_then(|at| at.format(&Rfc3339).ok())
}

/// An object without the members that do not narrow.
pub(super) fn narrowed(mut filter: Value) -> Value {
    if let Some(members) = filter.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    filter
}
