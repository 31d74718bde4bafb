//! Plans an operation on the dead letters that somebody has ticked, or on all that match a filter. Nothing is done to them
//! before somebody has seen their number on the operation's page, and runs it there.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        route::CSRF_FIELD,
        shared::{Shared, on_one_thread},
    },
    dead_letters::{FILTERS, filter},
    progress::{path, verb},
    query::{Given, keys},
};
use crate::{
    domain::event::Key,
    operator::{
        dead_letters::State as Letter,
        operations::{self, Action, Options, Selection},
    },
};

/// The field of buttons that act on ticked dead letters.
const TICKED: &str = "action";

/// The field of buttons that act on all that match.
const MATCHING: &str = "matching";

/// What may be done to a dead letter in this state: the values and names of buttons.
pub(super) fn actions(state: &str, is_blank: bool) -> Vec<(&'static str, &'static str)> {
    let all = [Action::Replay, Action::Discard, Action::Restore];
    let allowed = all.into_iter().filter(|action| accepts(*action, state, is_blank));
    allowed.map(|action| (action.name(), verb(action))).collect()
}

fn accepts(action: Action, state: &str, is_blank: bool) -> bool {
    action.default_states().iter().any(|one| one.name() == state) && !(is_blank && action != Action::Discard)
}

/// What a form selects.
struct Sent {
    action: Action,
    selection: Selection,
    /// The selection for people.
    shown: Value,
}

impl Sent {
    fn read(mut form: Params, now: OffsetDateTime) -> Result<Self, Problem> {
        form.one(CSRF_FIELD)?;
        let expected = "replay, discard or restore";
        let ticked: Option<Action> = form.parsed(TICKED, |text| text.parse().ok(), expected)?;
        let matching: Option<Action> = form.parsed(MATCHING, |text| text.parse().ok(), expected)?;
        let chosen: BTreeSet<Key> = keys(&form.all("id"))?.into_iter().collect();
        let given = Given::take(&mut form, &FILTERS)?;
        form.end()?;
        match (ticked, matching) {
            (Some(action), None) => Self::of_keys(action, chosen),
            (None, Some(action)) => Self::of_filter(action, &given, now),
            _ => Err(Problem::invalid(TICKED, "choose what to do")),
        }
    }

    fn of_keys(action: Action, chosen: BTreeSet<Key>) -> Result<Self, Problem> {
        if chosen.is_empty() {
            return Err(Problem::invalid("id", "select at least one dead letter"));
        }
        let mut keys: Vec<Key> = chosen.into_iter().collect();
        // The oldest first.
        keys.sort_by_key(|key| key.id);
        Ok(Self { action, shown: json!({ "ids": keys.len() }), selection: Selection::Keys(keys) })
    }

    fn of_filter(action: Action, given: &Given, now: OffsetDateTime) -> Result<Self, Problem> {
        let mut filter =
            filter(given, now).map_err(|fault| Problem::invalid(MATCHING, fault.trim_end_matches('.')))?;
        if given.get("state").is_empty() {
            filter.states = action.default_states().to_vec();
        }
        // It could not change those in other states.
        filter.states.retain(|state: &Letter| action.default_states().contains(state));
        if filter.states.is_empty() {
            return Err(Problem::invalid("state", "dead letters in this state cannot be changed so"));
        }
        let shown = operations::shown(&filter);
        Ok(Self { action, selection: Selection::Matching(Box::new(filter)), shown })
    }
}

pub(super) async fn plan(
    State(shared): State<Shared>,
    caller: Caller,
    Form(form): Form,
) -> Result<Response, Problem> {
    let Sent { action, selection, shown } = Sent::read(form, OffsetDateTime::now_utc())?;
    let planned = on_one_thread(move || async move {
        let (database, actor) = (&shared.database, &caller.actor);
        Ok(operations::plan(database, actor, action, &selection, &shown, Options::default()).await?)
    })
    .await?;
    Ok(Redirect::to(&path(planned.id)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_follow_the_state() {
        let names =
            |state, is_blank| actions(state, is_blank).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("open", false), ["replay", "discard"]);
        assert_eq!(names("open", true), ["discard"]);
        assert_eq!(names("discarded", false), ["restore"]);
        assert_eq!(names("discarded", true), [""; 0]);
        assert_eq!(names("resolved", false), [""; 0]);
        assert_eq!(names("of_a_later_version", false), [""; 0]);
    }

    fn read(text: &str) -> Result<Sent, Problem> {
        Sent::read(Params::new(text.as_bytes())?, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn form_selects_what_is_ticked_or_what_matches() {
        let id = "00000000-0000-0000-0000-000000000007";
        // The filter of the page does not narrow what is ticked.
        let ticked =
            read(&format!("csrf=x&action=replay&company=b&id={id}/acme&id={id}/acme")).unwrap().selection;
        assert!(matches!(ticked, Selection::Keys(keys) if keys.len() == 1 && keys[0].company == "acme"));
        // What is ticked does not narrow what matches.
        let matching = read(&format!("matching=discard&company=acme&state=any&id={id}/b")).unwrap();
        let Selection::Matching(filter) = matching.selection else { panic!("keys") };
        assert_eq!((matching.action, filter.company.as_deref()), (Action::Discard, Some("acme")));
        assert_eq!(filter.states, Letter::UNSETTLED);
        let restore = read("matching=restore").unwrap().selection;
        assert!(matches!(restore, Selection::Matching(filter) if filter.states == [Letter::Discarded]));
        for bad in [
            "",
            "action=purge",
            "id=1",
            "action=replay",
            "action=replay&id=x",
            &format!("action=replay&matching=replay&id={id}/acme"),
            "matching=replay&filter=all",
            "matching=replay&state=resolved",
            "matching=replay&since=soon",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
