//! One endpoint: its queue, its settings and its last attempts; pausing, resuming, enabling and testing it.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::{Shared, on_one_thread},
    },
    attempts::{Line, Request},
    explain,
    parts::{Badge, Id, Moment, count, link, object, printable, words},
    query,
    shell::{DONE, Done, Shell, go, render},
};
use crate::{
    domain::event::Key,
    operator::{
        audit::Actor,
        endpoints::{self, Change, Shown, Terms, shortened},
    },
    workers::webhook::endpoint_test,
};

#[derive(Template)]
#[template(path = "endpoint.html")]
struct Page {
    shell: Shell,
    id: Id,
    company: String,
    address: String,
    state: Badge,
    explanation: &'static str,
    since: Option<Moment>,
    until: Option<Moment>,
    test: String,
    pause: String,
    resume: String,
    enable: String,
    can_pause: bool,
    can_resume: bool,
    can_enable: bool,
    enable_verb: &'static str,
    /// The filter of what waits for an operator, for the button that discards it; empty if nothing does.
    discard: Vec<(&'static str, String)>,
    waiting_href: String,
    waiting: String,
    due: String,
    oldest: Option<Moment>,
    failures: i32,
    breaker: String,
    success: Option<Moment>,
    failure: Option<Moment>,
    error: String,
    disabled_because: String,
    paused_by: String,
    states: Vec<(String, String)>,
    states_since: Moment,
    terms: Vec<(&'static str, String)>,
    attempts: Vec<Line>,
    tested: Option<Tested>,
}

/// A test that has just been sent.
struct Tested {
    attempts: Vec<Line>,
    request: Request,
}

async fn key(shared: &Shared, id: &str, company: Option<String>) -> Result<Key, Problem> {
    match (company, query::id(id)) {
        (Some(company), Ok(id)) => Ok(Key { company, id }),
        (company, _) => Ok(endpoints::resolve(&shared.database, company.as_deref(), id).await?),
    }
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let (company, done) = (params.one("company")?, params.one(DONE)?);
    params.end()?;
    let key = key(&shared, &id, company).await?;
    let shown = endpoints::show(&shared.database, &shared.settings.webhook, &key).await?;
    let title = shortened(&shown.endpoint.url);
    let shell = Shell::new(&caller, "/endpoints", &printable(&title)).live().after(done.as_deref());
    render(&page(shell, &shown, None))
}

fn page(shell: Shell, shown: &Shown, tested: Option<Tested>) -> Page {
    let now = OffsetDateTime::now_utc();
    let row = &shown.endpoint;
    let here = object("endpoints", &row.company, row.id);
    let action = |verb: &str| here.replacen('?', &format!("/{verb}?"), 1);
    let shows_answers = shell.is_operator();
    let attempt = |one| Line::new(one, now, shows_answers).of_delivery(&row.company, one);
    let id = row.id.to_string();
    let waiting = [("state", "pending"), ("company", row.company.as_str()), ("endpoint", id.as_str())];
    // A pause hides that it is disabled, too.
    let is_disabled = row.disabled_because.is_some();
    Page {
        id: Id::new(row.id),
        company: printable(&row.company),
        address: printable(&shortened(&row.url)),
        state: Badge::endpoint(row.state),
        explanation: explain::endpoint(row.state),
        since: Moment::of(row.since, now),
        until: Moment::of(row.until, now),
        test: action("test"),
        pause: action("pause"),
        resume: action("resume"),
        enable: action("enable"),
        can_pause: row.state != "paused",
        can_resume: row.state == "paused",
        can_enable: is_disabled || !matches!(row.state, "open" | "paused"),
        enable_verb: if is_disabled { "Enable" } else { "Send now and forget failures" },
        waiting_href: link("/deliveries", waiting),
        discard: if (is_disabled || row.state == "paused") && row.waiting > 0 {
            waiting.map(|(name, value)| (name, value.to_owned())).to_vec()
        } else {
            Vec::new()
        },
        waiting: count(row.waiting),
        due: count(row.due),
        oldest: Moment::of(row.oldest_due_at, now),
        failures: row.failures,
        breaker: words(&row.breaker),
        success: Moment::of(row.last_success_at, now),
        failure: Moment::of(row.last_failure_at, now),
        error: row.last_error.as_deref().map(printable).unwrap_or_default(),
        disabled_because: row.disabled_because.as_deref().map(printable).unwrap_or_default(),
        paused_by: row.paused_by.as_deref().map(printable).unwrap_or_default(),
        states_since: Moment::new(shown.states_since, now),
        states: shown.states.iter().map(|(state, number)| (words(state), number.to_string())).collect(),
        terms: terms(&shown.terms),
        attempts: shown.attempts.iter().map(attempt).collect(),
        tested,
        shell,
    }
}

/// The settings that are not empty, in words.
fn terms(terms: &Terms) -> Vec<(&'static str, String)> {
    let span = |ms: u64| humantime::format_duration(Duration::from_millis(ms)).to_string();
    let codes = |codes: &[u16]| codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let signing: Vec<String> = terms
        .signing
        .iter()
        .map(|signing| match &signing.public_key {
            Some(key) => format!("{} {key}", signing.version),
            None => signing.version.to_owned(),
        })
        .collect();
    let all = [
        ("Profile", terms.profile.to_owned()),
        ("Requests at once", terms.max_in_flight.to_string()),
        ("Rate", terms.send_interval_ms.map(|ms| format!("one in {}", span(ms))).unwrap_or_default()),
        ("Timeout", span(terms.timeout_ms)),
        ("Retries after", terms.retry_schedule_ms.iter().copied().map(span).collect::<Vec<_>>().join(", ")),
        ("Retried too", codes(&terms.retry_statuses)),
        ("Not retried", codes(&terms.dead_statuses)),
        ("Signed", if signing.is_empty() { "no".to_owned() } else { signing.join(", ") }),
        ("Newest only", if terms.newest_only { "yes".to_owned() } else { String::new() }),
        ("Digest window", terms.digest_window_ms.map(span).unwrap_or_default()),
        ("Authorities", terms.ca_file.clone().unwrap_or_default()),
        ("Certificate", terms.client_certificate_file.clone().unwrap_or_default()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

async fn change(
    shared: Shared,
    (key, actor): (Key, Actor),
    (change, done): (Change, Done),
) -> Result<Response, Problem> {
    let here = object("endpoints", &key.company, key.id);
    let change = async move || {
        Ok(endpoints::change(&shared.database, &shared.settings.amqp, &actor, &key, change).await?)
    };
    let done = if on_one_thread(change).await?.changed { done } else { Done::Unchanged };
    Ok(go(&here, done))
}

pub(super) async fn pause(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    change(shared, query::target(&id, params, form, &caller)?, (Change::Pause, Done::Paused)).await
}

pub(super) async fn resume(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    change(shared, query::target(&id, params, form, &caller)?, (Change::Resume, Done::Resumed)).await
}

pub(super) async fn enable(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    change(shared, query::target(&id, params, form, &caller)?, (Change::Enable, Done::Enabled)).await
}

/// Sends a test, and shows its outcome. Only the fact that somebody sent it is recorded.
pub(super) async fn test(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let (key, actor) = query::target(&id, params, form, &caller)?;
    let shell = Shell::new(&caller, "/endpoints", "Endpoint");
    let (shown, test) = on_one_thread(move || async move {
        let (database, settings) = (&shared.database, &shared.settings);
        let shown = endpoints::show(database, &settings.webhook, &key).await?;
        let target = endpoints::test_target(database, Some(&key.company), &key.id.to_string()).await?;
        let started_at = endpoints::begin_test(database, &actor, &target).await?;
        let test = endpoint_test::run(settings, &target.company, &target.url, started_at).await;
        Ok((shown, test.map_err(|error| Problem::internal(&error))?))
    })
    .await?;
    let sent = &test.request;
    let tested = Tested {
        attempts: vec![Line {
            title: "Test".to_owned(),
            ..Line::new(&test.attempt(), test.started_at, true)
        }],
        request: Request::new(sent.method.name(), &sent.url, &sent.headers, sent.body.as_deref()),
    };
    render(&page(shell, &shown, Some(tested)))
}
