//! One operation: what it will do, its progress, the outcome of each item, and the buttons to control it.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use strum::VariantArray as _;
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        decision::Decision,
        problem::Problem,
        route::Route,
        shared::Shared,
    },
    parts::{Badge, Id, Moment, Tone, count, object as link, printable, words},
    progress::{Progress, badge, path, selection, things, title, verb},
    query::{Choice, Given, PAGE, id},
    shell::{DONE, Done, Shell, go, render},
};
use crate::{
    operator::{
        audit::Actor,
        deliveries::Refusal,
        operations::{
            self, Action, ChangeError, Changes, ItemFilter, ItemResult, ItemState, Items, ListedItem, Object,
            Operation, Rate, State as Stage,
        },
    },
    settings::Role,
};

const NAMES: [&str; 3] = ["outcome", "state", "cursor"];

#[derive(Template)]
#[template(path = "operation.html")]
struct Page {
    shell: Shell,
    here: String,
    /// Its path, to which the verbs are appended.
    base: String,
    title: String,
    state: Badge,
    /// What it will do, while it is only planned.
    plan: Option<Plan>,
    /// The button beside the one that cancels it: its verb, class and name.
    change: Option<(&'static str, &'static str, &'static str)>,
    can_cancel: bool,
    /// The rate that it has; empty without one.
    rate: String,
    is_waiting: bool,
    paused_because: String,
    total: i64,
    progress: Progress,
    facts: Vec<(&'static str, String)>,
    id: Id,
    created: Moment,
    started: Option<Moment>,
    finished: Option<Moment>,
    fault: Option<String>,
    is_narrowed: bool,
    /// Links to the items with each outcome, and to all.
    outcomes: Vec<Choice>,
    /// The same by the state that they have now.
    states: Vec<Choice>,
    items: Vec<Item>,
    /// What an item is.
    object: &'static str,
    nothing: &'static str,
    first: Option<String>,
    next: Option<String>,
}

struct Plan {
    explanation: &'static str,
    verb: &'static str,
    /// The class of the button that runs it.
    class: &'static str,
    /// Whether it can have a canary, and whether one was planned.
    has_canary: bool,
    canary: bool,
}

impl Plan {
    fn new(action: Action, planned: &Operation) -> Self {
        let is_discard = matches!(action, Action::Discard | Action::DiscardDeliveries);
        Self {
            explanation: explanation(action),
            verb: verb(action),
            class: if is_discard { "danger" } else { "primary" },
            has_canary: action.may_fail(),
            canary: planned.canary.is_some(),
        }
    }
}

struct Item {
    position: String,
    href: String,
    id: Id,
    company: String,
    outcome: Badge,
    detail: String,
    state: Option<Badge>,
}

impl Item {
    fn new(item: &ListedItem, object: Object) -> Self {
        let outcome = item.outcome.as_deref().unwrap_or(ItemResult::Waiting.name());
        let tone = match outcome {
            "done" => Tone::Done,
            "failed" => Tone::Failed,
            "skipped" | "started" => Tone::Waiting,
            _ => Tone::Quiet,
        };
        Self {
            position: count(item.position),
            href: match object {
                Object::DeadLetter => link("dead-letters", &item.company, item.id),
                Object::Delivery => link("deliveries", &item.company, item.id),
            },
            id: Id::new(item.id),
            company: printable(&item.company),
            outcome: Badge::new(tone, outcome),
            detail: item.detail.as_deref().map(detail).unwrap_or_default(),
            state: item.state.as_deref().map(match object {
                Object::DeadLetter => Badge::dead_letter,
                Object::Delivery => Badge::delivery,
            }),
        }
    }
}

/// Why an item was skipped.
fn detail(name: &str) -> String {
    let text = match name {
        "wrong_state" => "Its state did not allow it, or its contents were not kept.",
        "replayed_since" => "Somebody else has replayed it since it was chosen.",
        "loop_guard" => "It has been replayed too often.",
        "delivery_gone" => "Its delivery has left, so nothing can be sent again.",
        "refused" => "The database refuses to change it.",
        "not_published" => "The broker did not take it; it is open again.",
        "superseded" => "It had been superseded; it is closed again if a newer version was sent.",
        other => {
            let refusal = other.parse().ok().map(Refusal::text);
            return refusal.map_or_else(|| words(other), |text| format!("It is {text}."));
        }
    };
    text.to_owned()
}

const fn explanation(action: Action) -> &'static str {
    match action {
        Action::Replay => {
            "Each message goes to the queue of the stage that failed, and each delivery is due again, the oldest first. It \
             fails again if its cause is still there."
        }
        Action::Discard => {
            "They count as settled. What was discarded can be restored until retention removes it."
        }
        Action::Restore => "They are open again, as they were before somebody discarded them.",
        Action::Resend => {
            "Each is due again, with the same id and the same bytes, the oldest first. One that has ended starts a new retry \
             schedule. What was attempted since it was chosen is skipped."
        }
        Action::DiscardDeliveries => {
            "They end without another attempt, and so do chains whose result waits only for them. What is in flight, or was \
             attempted since it was chosen, is skipped. What was discarded can be resent until \
             retention removes it."
        }
    }
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    mut query: Params,
) -> Result<Response, Problem> {
    let given = Given::take(&mut query, &NAMES)?;
    let done = query.one(DONE)?;
    query.end()?;
    let id = id(&text)?;
    let operation = operations::get(&shared.database, id).await?;
    let operation = operation.ok_or_else(|| ChangeError::Unknown(id.to_string()))?;
    let outcome = given.parsed("outcome", "one of the list", |text| text.parse().ok());
    let state = given.parsed("state", "one of the list", |text| ItemState::parse(text).ok());
    let after = given.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let (found, fault) = match outcome.and_then(|outcome| Ok((outcome, state?, after?))) {
        Ok((result, state, after)) => {
            let filter = ItemFilter { result, state };
            let after = after.unwrap_or_default();
            (operations::items(&shared.database, &operation, filter, after, PAGE).await?, None)
        }
        Err(fault) => (Items { items: Vec::new(), next: None }, Some(fault)),
    };
    let shell = Shell::new(&caller, "/operations", &title(&operation)).after(done.as_deref());
    render(&page(shell, &operation, &given, &found, fault))
}

fn page(shell: Shell, operation: &Operation, given: &Given, found: &Items, fault: Option<String>) -> Page {
    let now = OffsetDateTime::now_utc();
    let (base, is) = (path(operation.id), |state: Stage| operation.state == state.name());
    let action: Option<Action> = operation.action.parse().ok();
    let object = operation.object();
    let is_open = is(Stage::Planning) || is(Stage::Running);
    Page {
        shell: if is_open { shell.live() } else { shell },
        here: given.link(&base, "cursor", given.get("cursor")),
        title: match action.filter(|_| is(Stage::Planned)) {
            Some(action) => format!("{} {}?", verb(action), things(object, operation.total)),
            None => title(operation),
        },
        state: badge(operation),
        plan: action
            .filter(|_| is(Stage::Planned) && operation.total > 0)
            .map(|action| Plan::new(action, operation)),
        change: match () {
            () if is(Stage::Running) => Some(("pause", "", "Pause")),
            () if is(Stage::Paused) => Some(("resume", "primary", "Resume")),
            () => None,
        },
        can_cancel: is_open || is(Stage::Planned) || is(Stage::Paused),
        rate: operation.rate.map(|rate| rate.to_string()).unwrap_or_default(),
        is_waiting: operation.is_waiting,
        paused_because: operation.paused_because.as_deref().map(printable).unwrap_or_default(),
        total: operation.total,
        progress: Progress::new(operation),
        facts: facts(operation),
        id: Id::new(operation.id),
        created: Moment::new(operation.created_at, now),
        started: Moment::of(operation.started_at, now),
        finished: Moment::of(operation.finished_at, now),
        fault,
        is_narrowed: given.any(&["outcome", "state"]),
        outcomes: tabs(given, &base, "outcome", ItemResult::VARIANTS.iter().map(|result| result.name())),
        states: tabs(given, &base, "state", ItemState::of(object).map(ItemState::name)),
        items: found.items.iter().map(|item| Item::new(item, object)).collect(),
        object: if object == Object::Delivery { "Delivery" } else { "Dead letter" },
        nothing: if object == Object::Delivery { "No delivery" } else { "No dead letter" },
        first: given.given("cursor").map(|_| given.link(&base, "cursor", "")),
        next: found.next.map(|next| given.link(&base, "cursor", &next.to_string())),
        base,
    }
}

/// Links to the items of which a parameter has one of these values, after one to all: address, name, whether it is here.
fn tabs<'a>(given: &Given, base: &str, name: &str, values: impl IntoIterator<Item = &'a str>) -> Vec<Choice> {
    let values = [("", "any")].into_iter().chain(values.into_iter().map(|value| (value, value)));
    let tab = |(value, text): (&str, &str)| Choice {
        value: given.narrowed(base, name, value),
        name: words(text),
        is_chosen: given.get(name) == value,
    };
    values.map(tab).collect()
}

fn facts(operation: &Operation) -> Vec<(&'static str, String)> {
    let reason = operation.reason.as_deref().map(printable).unwrap_or_default();
    let rate = operation.rate.map_or_else(|| "no limit".to_owned(), |rate| format!("{rate} per second"));
    let canary = operation.canary.map(|canary| format!("up to place {canary}")).unwrap_or_default();
    let all = [
        ("Chosen by", selection(&operation.selection)),
        ("Rate", rate),
        ("Judged next", canary),
        ("Operator", printable(&operation.operator)),
        ("Reason", reason),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Who decides, and how the operation runs from then on. All forms of an operation have the same fields.
fn read(caller: &Caller, mut form: Params, decision: Decision) -> Result<(Actor, Changes), Problem> {
    let rate = form.parsed("rate", |text| text.parse().ok(), "a whole number from 1 on")?;
    // The field shows the rate that there is, so an empty one was emptied.
    let rate = Some(rate.map_or(Rate::Unlimited, Rate::PerSecond));
    // Only the form of a plan has this box, and one that is not ticked is not sent.
    let canary = form.one("canary")?.is_some();
    let actor = caller.because(form.one("reason")?.as_deref())?;
    form.end()?;
    Ok((actor, Changes { rate, canary: (decision == Decision::Run).then_some(canary) }))
}

/// The forms that decide about an operation.
pub(super) fn decisions() -> [Route; 4] {
    [
        decision("/operations/{id}/run", Decision::Run, Done::OperationRun),
        decision("/operations/{id}/pause", Decision::Pause, Done::OperationPaused),
        decision("/operations/{id}/resume", Decision::Resume, Done::OperationResumed),
        decision("/operations/{id}/cancel", Decision::Cancel, Done::OperationCanceled),
    ]
}

fn decision(path: &'static str, decision: Decision, done: Done) -> Route {
    let handler = move |State(shared): State<Shared>,
                        caller: Caller,
                        Path(text): Path<String>,
                        Form(form): Form| async move {
        let (id, (actor, changes)) = (id(&text)?, read(&caller, form, decision)?);
        decision.carry_out(shared, actor, id, changes).await?;
        Ok::<_, Problem>(go(&self::path(id), done))
    };
    Route::form(path, Role::Operator, handler)
}
