//! Which dead letters: the filters of listings and of operations on many.

use std::str::FromStr;

use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::fault::{Reason, Signature, Stage},
    postgres::columns::column,
};

/// The longest text to search for, in characters.
const MAX_SEARCH: usize = 200;

/// The state of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Waits for an operator.
    Open,
    /// Sent to its stage again, which has not applied it yet.
    Replaying,
    /// Its replay was applied.
    Resolved,
    /// An operator discarded it.
    Discarded,
}

impl State {
    /// The states that an operator can still settle.
    pub const UNSETTLED: [Self; 2] = [Self::Open, Self::Replaying];

    /// The name in listings, filters and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Text to look for: 1 to 200 characters without control characters. Letters match in either case; no character has a
/// meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text cannot be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text to search for must be 1 to {MAX_SEARCH} characters, without control characters")]
pub struct BadText;

impl FromStr for SearchText {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let is_searchable = (1..=MAX_SEARCH).contains(&text.chars().take(MAX_SEARCH + 1).count())
            && !text.contains(char::is_control);
        if is_searchable { Ok(Self(text.to_owned())) } else { Err(BadText) }
    }
}

/// Selects dead letters. `None` does not narrow.
#[derive(Clone, Debug)]
pub struct Filter {
    /// By reason.
    pub reason: Option<Reason>,
    /// By stage.
    pub stage: Option<Stage>,
    /// By company; the empty string selects those without one.
    pub company: Option<String>,
    /// By the name of the trigger.
    pub trigger: Option<String>,
    /// By the endpoint of the delivery.
    pub endpoint: Option<Uuid>,
    /// By `CloudEvents` `id`.
    pub event_id: Option<String>,
    /// By group.
    pub signature: Option<Signature>,
    /// By a part of the message, the trigger's name or the event's id.
    pub text: Option<SearchText>,
    /// Last seen then or later.
    pub since: Option<OffsetDateTime>,
    /// Last seen earlier.
    pub until: Option<OffsetDateTime>,
    /// In any of these states.
    pub states: Vec<State>,
    /// The maximum number of keys; the newest are kept. Pages have their own limit.
    pub limit: Option<i64>,
}

impl Default for Filter {
    /// Every unsettled dead letter.
    fn default() -> Self {
        Self {
            reason: None,
            stage: None,
            company: None,
            trigger: None,
            endpoint: None,
            event_id: None,
            signature: None,
            text: None,
            since: None,
            until: None,
            states: State::UNSETTLED.to_vec(),
            limit: None,
        }
    }
}

/// The parameters of a filter.
pub(super) struct Parameters<'a> {
    pub(super) states: Vec<&'static str>,
    /// Whether only unsettled ones match, or only settled ones, so that a partial index serves the statement.
    pub(super) unsettled: Option<bool>,
    pub(super) signature: Option<&'a [u8]>,
    pub(super) text: Option<&'a str>,
}

impl Filter {
    pub(super) fn parameters(&self) -> Parameters<'_> {
        let is_unsettled = |state: &State| State::UNSETTLED.contains(state);
        let unsettled = match (self.states.iter().all(is_unsettled), self.states.iter().any(is_unsettled)) {
            (true, _) => Some(true),
            (false, false) => Some(false),
            (false, true) => None,
        };
        Parameters {
            states: column(&self.states, |state| state.name()),
            unsettled,
            signature: self.signature.as_ref().map(|signature| &signature.as_bytes()[..]),
            text: self.text.as_ref().map(|text| text.0.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_to_search_for_is_short_and_on_one_line() {
        for good in ["a", "100%", "_", "' OR 1=1 --", "é", &"x".repeat(MAX_SEARCH)] {
            assert!(good.parse::<SearchText>().is_ok(), "{good}");
        }
        for bad in ["", "a\0b", "a\nb", &"x".repeat(MAX_SEARCH + 1), &"x".repeat(10_000)] {
            assert_eq!(bad.parse::<SearchText>(), Err(BadText), "{bad:.20}");
        }
    }

    #[test]
    fn filter_knows_whether_only_one_kind_of_state_matches() {
        let unsettled =
            |states: &[State]| Filter { states: states.to_vec(), ..Filter::default() }.parameters().unsettled;
        assert_eq!(unsettled(&State::UNSETTLED), Some(true));
        assert_eq!(unsettled(&[State::Discarded]), Some(false));
        assert_eq!(unsettled(&[State::Open, State::Resolved]), None);
    }
}
