//! Plans an operation on the ticked dead letters or deliveries, or on all that match a filter. Nothing changes until
//! somebody has seen their number on the operation's page and runs it there.

use std::{collections::BTreeSet, str::FromStr};

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::{Shared, on_one_thread},
    },
    dead_letters::{FILTERS, filter},
    deliveries,
    progress::{path, verb},
    query::{Given, keys},
};
use crate::{
    domain::event::Key,
    operator::{
        dead_letters::{Filter, State as Letter},
        deliveries::{Filter as OfDeliveries, State as Delivery},
        operations::{self, Action, Chosen, Object, Options},
        selection::Selection,
    },
};

/// The field of buttons that act on what is ticked.
const TICKED: &str = "action";

/// The field of buttons that act on all that match.
const MATCHING: &str = "matching";

/// The actions for a dead letter in this state: values and names of buttons.
pub(super) fn actions(state: &str, is_blank: bool) -> Vec<(&'static str, &'static str)> {
    let all = [Action::Replay, Action::Discard, Action::Restore];
    let allowed = all.into_iter().filter(|action| accepts(*action, state, is_blank));
    allowed.map(|action| (action.name(), verb(action))).collect()
}

fn accepts(action: Action, state: &str, is_blank: bool) -> bool {
    action.default_states().iter().any(|one| one.name() == state) && !(is_blank && action != Action::Discard)
}

/// What a form selects.
pub(super) struct Sent<A> {
    pub(super) action: A,
    pub(super) selection: Selection<Filter>,
}

/// The action of a form, the ticked boxes, and the filter if the action is about all that match it.
fn read<A: FromStr>(
    mut form: Params,
    names: &[&'static str],
    expected: &'static str,
) -> Result<(A, Vec<Key>, Option<Given>), Problem> {
    let ticked: Option<A> = form.parsed(TICKED, |text| text.parse().ok(), expected)?;
    let matching: Option<A> = form.parsed(MATCHING, |text| text.parse().ok(), expected)?;
    let chosen: BTreeSet<Key> = keys(&form.all("id"))?.into_iter().collect();
    let given = Given::take(&mut form, names)?;
    form.end()?;
    let mut keys: Vec<Key> = chosen.into_iter().collect();
    match (ticked, matching) {
        (Some(_), None) if keys.is_empty() => Err(Problem::invalid("id", "select at least one")),
        (Some(action), None) => {
            // The oldest first.
            keys.sort_by_key(|key| key.id);
            Ok((action, keys, None))
        }
        (None, Some(action)) => Ok((action, keys, Some(given))),
        _ => Err(Problem::invalid(TICKED, "choose what to do")),
    }
}

fn fault(fault: &str) -> Problem {
    Problem::invalid(MATCHING, fault.trim_end_matches('.'))
}

impl Sent<Action> {
    fn read(form: Params, now: OffsetDateTime) -> Result<Self, Problem> {
        let (action, keys, given) = read::<Action>(form, &FILTERS, "replay, discard or restore")?;
        if action.object() != Object::DeadLetter {
            return Err(Problem::invalid(TICKED, "expected replay, discard or restore"));
        }
        let Some(given) = given else { return Ok(Self { action, selection: Selection::Keys(keys) }) };
        let mut filter = filter(&given, now).map_err(|text| fault(&text))?;
        if given.get("state").is_empty() {
            filter.states = action.default_states().to_vec();
        }
        // It could not change those in other states.
        filter.states.retain(|state: &Letter| action.default_states().contains(state));
        if filter.states.is_empty() {
            return Err(Problem::invalid("state", "dead letters in this state cannot be changed so"));
        }
        Ok(Self { action, selection: Selection::Matching(Box::new(filter)) })
    }
}

/// What `export` means in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Exported {
    /// Dead letters are downloaded.
    Export,
}

impl Sent<Exported> {
    pub(super) fn read(form: Params, now: OffsetDateTime) -> Result<Self, Problem> {
        let (action, keys, given) = read::<Exported>(form, &FILTERS, "export")?;
        let selection = match given {
            None => Selection::Keys(keys),
            Some(given) => Selection::Matching(Box::new(filter(&given, now).map_err(|text| fault(&text))?)),
        };
        Ok(Self { action, selection })
    }
}

pub(super) async fn plan(
    State(shared): State<Shared>,
    caller: Caller,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    // The reason of a download is in the same form.
    let actor = caller.because(form.one("because")?.as_deref())?;
    let caller = Caller { actor, ..caller };
    let Sent { action, selection } = Sent::<Action>::read(form, OffsetDateTime::now_utc())?;
    store(shared, caller, action, Chosen::DeadLetters(selection)).await
}

pub(super) async fn plan_resend(
    State(shared): State<Shared>,
    caller: Caller,
    Form(form): Form,
) -> Result<Response, Problem> {
    let selection = selection(form, Action::Resend, "resend")?;
    // What was delivered would be sent once more.
    if matches!(&selection, Selection::Matching(filter) if filter.states.is_none()) {
        return Err(Problem::invalid("state", "choose a state first, such as dead"));
    }
    store(shared, caller, Action::Resend, Chosen::Deliveries(selection)).await
}

pub(super) async fn plan_discard(
    State(shared): State<Shared>,
    caller: Caller,
    Form(form): Form,
) -> Result<Response, Problem> {
    let selection = selection(form, Action::DiscardDeliveries, "discard_deliveries")?;
    let pending = [Delivery::Pending];
    if matches!(&selection, Selection::Matching(filter) if filter.states.as_deref() != Some(&pending)) {
        return Err(Problem::invalid("state", "choose pending: only deliveries that wait can be discarded"));
    }
    store(shared, caller, Action::DiscardDeliveries, Chosen::Deliveries(selection)).await
}

/// The deliveries of a form that does this. `name` is that of the action.
fn selection(form: Params, action: Action, name: &'static str) -> Result<Selection<OfDeliveries>, Problem> {
    let (given_action, keys, given) = read::<Action>(form, &deliveries::FILTERS, name)?;
    if given_action != action {
        return Err(Problem::invalid(TICKED, format!("expected {name}")));
    }
    let Some(given) = given else { return Ok(Selection::Keys(keys)) };
    let filter = deliveries::filter(&given, OffsetDateTime::now_utc()).map_err(|text| fault(&text))?;
    Ok(Selection::Matching(Box::new(filter)))
}

async fn store(shared: Shared, caller: Caller, action: Action, chosen: Chosen) -> Result<Response, Problem> {
    let planned = on_one_thread(move || async move {
        let (database, actor) = (&shared.database, &caller.actor);
        Ok(operations::plan(database, actor, action, &chosen, Options::default()).await?)
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

    fn read(text: &str) -> Result<Sent<Action>, Problem> {
        Sent::<Action>::read(Params::new(text.as_bytes())?, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn form_selects_what_is_ticked_or_what_matches() {
        let id = "00000000-0000-0000-0000-000000000007";
        // The page's filter does not narrow the ticked ones.
        let ticked = read(&format!("action=replay&company=b&id={id}/acme&id={id}/acme")).unwrap().selection;
        assert!(matches!(ticked, Selection::Keys(keys) if keys.len() == 1 && keys[0].company == "acme"));
        // The ticked ones do not narrow the matching ones.
        let matching = read(&format!("matching=discard&company=acme&state=any&id={id}/b")).unwrap();
        let Selection::Matching(filter) = matching.selection else { panic!("keys") };
        assert_eq!((matching.action, filter.company.as_deref()), (Action::Discard, Some("acme")));
        assert_eq!(filter.states, Letter::UNSETTLED);
        let restore = read("matching=restore").unwrap().selection;
        assert!(matches!(restore, Selection::Matching(filter) if filter.states == [Letter::Discarded]));
        for bad in [
            "",
            "action=purge",
            "matching=resend",
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
