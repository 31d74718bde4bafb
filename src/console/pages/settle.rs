//! Replays, discards and restores the dead letters that somebody has selected, after they have seen how many these are.

use std::collections::BTreeSet;

use askama::Template;
use axum::{extract::State, response::Response};
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::{Kind, Problem},
        route::CSRF_FIELD,
        shared::{Shared, on_one_thread},
    },
    dead_letters::Row,
    query::{back, key_text, keys},
    shell::{Done, Shell, go, render},
};
use crate::{
    amqp::{Publisher, Topology},
    domain::event::Key,
    operator::{
        audit::Actor,
        dead_letters::{self, Progress, ReplayError, State as Letter, Summary},
    },
    telemetry::chain,
};

/// Rows that the confirmation shows.
const SHOWN: usize = 50;

/// What may be done to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Action {
    Replay,
    Discard,
    Restore,
}

impl Action {
    /// Those that the state allows, with their names.
    pub(super) fn of(state: &str, is_blank: bool) -> Vec<(&'static str, &'static str)> {
        let all = [Self::Replay, Self::Discard, Self::Restore];
        let allowed = all.into_iter().filter(|action| action.accepts(state, is_blank));
        allowed.map(|action| (action.into(), action.verb())).collect()
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Replay => "Replay",
            Self::Discard => "Discard",
            Self::Restore => "Restore",
        }
    }

    const fn done(self) -> (&'static str, Done) {
        match self {
            Self::Replay => ("replayed", Done::Replayed),
            Self::Discard => ("discarded", Done::Discarded),
            Self::Restore => ("restored", Done::Restored),
        }
    }

    const fn explanation(self) -> &'static str {
        match self {
            Self::Replay => {
                "Each message goes to the queue of the stage that failed, and each delivery is due again. It fails again if \
                 its cause is still there."
            }
            Self::Discard => "They count as settled. What was discarded can be restored until it leaves.",
            Self::Restore => "They are open again, as they were before somebody discarded them.",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Discard => "danger",
            Self::Replay | Self::Restore => "primary",
        }
    }

    fn accepts(self, state: &str, is_blank: bool) -> bool {
        let is_unsettled = Letter::UNSETTLED.iter().any(|one| one.name() == state);
        match self {
            Self::Replay => is_unsettled && !is_blank,
            Self::Discard => is_unsettled,
            Self::Restore => state == Letter::Discarded.name() && !is_blank,
        }
    }
}

/// What the forms send.
struct Sent {
    action: Action,
    keys: Vec<Key>,
    back: String,
    reason: Option<String>,
}

impl Sent {
    fn read(mut form: Params) -> Result<Self, Problem> {
        form.one(CSRF_FIELD)?;
        let action = form.parsed("action", |text| text.parse().ok(), "replay, discard or restore")?;
        let action = action.ok_or_else(|| Problem::invalid("action", "choose what to do"))?;
        let selected: BTreeSet<Key> = keys(&form.all("id"))?.into_iter().collect();
        let back = back(form.one("back")?, "/dead-letters");
        let reason = form.one("reason")?;
        form.end()?;
        Ok(Self { action, keys: selected.into_iter().collect(), back, reason })
    }
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Page {
    shell: Shell,
    question: String,
    explanation: &'static str,
    done: &'static str,
    verb: &'static str,
    class: &'static str,
    action: &'static str,
    selected: usize,
    possible: usize,
    skipped: usize,
    keys: Vec<String>,
    back: String,
    rows: Vec<Row>,
}

/// Shows how many of the selected ones the action would change. Nothing is changed yet.
pub(super) async fn confirm(
    State(shared): State<Shared>,
    caller: Caller,
    Form(form): Form,
) -> Result<Response, Problem> {
    let Sent { action, keys, back, .. } = Sent::read(form)?;
    let found = dead_letters::summaries(&shared.database, &keys).await?;
    let shell = Shell::new(&caller, "/dead-letters", action.verb());
    render(&page(shell, action, keys.len(), &found, back))
}

fn page(shell: Shell, action: Action, selected: usize, found: &[Summary], back: String) -> Page {
    let now = OffsetDateTime::now_utc();
    let possible: Vec<&Summary> = found.iter().filter(|row| action.accepts(&row.state, false)).collect();
    let (done, _) = action.done();
    let question = match possible.len() {
        0 if selected == 0 => "Nothing is selected".to_owned(),
        0 => format!("None of the selected dead letters can be {done}"),
        1 => format!("{} this dead letter?", action.verb()),
        many => format!("{} {many} dead letters?", action.verb()),
    };
    let key = |row: &&Summary| key_text(&Key { company: row.company.clone(), id: row.id });
    Page {
        shell,
        question,
        explanation: action.explanation(),
        done,
        verb: action.verb(),
        class: action.class(),
        action: action.into(),
        selected,
        possible: possible.len(),
        skipped: selected.saturating_sub(possible.len()),
        keys: possible.iter().map(key).collect(),
        back,
        rows: possible.iter().take(SHOWN).map(|row| Row::new(row, now)).collect(),
    }
}

/// Does it.
pub(super) async fn settle(
    State(shared): State<Shared>,
    caller: Caller,
    Form(form): Form,
) -> Result<Response, Problem> {
    let Sent { action, keys, back, reason } = Sent::read(form)?;
    let actor = caller.actor.clone().because(reason.as_deref());
    let actor = actor.map_err(|error| Problem::invalid("reason", error.to_string()))?;
    let progress = on_one_thread(move || run(shared, actor, action, keys)).await?;
    Ok(go(&back, action.done().1, &[progress.done, progress.skipped, progress.failed]))
}

async fn run(shared: Shared, actor: Actor, action: Action, keys: Vec<Key>) -> Result<Progress, Problem> {
    let database = &shared.database;
    match action {
        Action::Discard => Ok(dead_letters::discard(database, &actor, &keys, None, |_| ()).await?),
        Action::Restore => Ok(dead_letters::restore(database, &actor, &keys, None, |_| ()).await?),
        Action::Replay => {
            let (mut publisher, topology) = broker(&shared).await?;
            let replayed =
                dead_letters::replay(database, &actor, &mut publisher, &topology, &keys, None, |_| ()).await;
            replayed.map_err(|error| match error {
                ReplayError::Database(error) => error.into(),
                error @ ReplayError::Publish(_) => no_broker(&error),
            })
        }
    }
}

/// A connection to publish with.
pub(super) async fn broker(shared: &Shared) -> Result<(Publisher, Topology), Problem> {
    let amqp = &shared.settings.amqp;
    let publisher = Publisher::connect(amqp, "replay").await.map_err(|error| no_broker(&error))?;
    Ok((publisher, Topology::new(&amqp.namespace)))
}

fn no_broker(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::warn!(error = chain(error), "could not reach the broker for a page");
    Problem::new(Kind::Unavailable, "the broker does not answer; what was not sent is open again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_follow_the_state() {
        let names = |state, is_blank| {
            Action::of(state, is_blank).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("open", false), ["replay", "discard"]);
        assert_eq!(names("open", true), ["discard"]);
        assert_eq!(names("discarded", false), ["restore"]);
        assert_eq!(names("resolved", false), [""; 0]);
        assert_eq!(names("of_a_later_version", false), [""; 0]);
    }

    #[test]
    fn form_needs_a_known_action_and_keys() {
        let read = |text: &str| Sent::read(Params::new(text.as_bytes())?);
        let id = "00000000-0000-0000-0000-000000000007";
        let sent =
            read(&format!("csrf=x&action=replay&id={id}/acme&id={id}/acme&back=//evil.example")).unwrap();
        assert_eq!((sent.keys.len(), sent.back.as_str()), (1, "/dead-letters"));
        for bad in ["action=purge", "id=1", "action=replay&id=x", "action=replay&filter=all", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
