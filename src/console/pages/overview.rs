//! The first page: what failed, why and since when, and what waits.

use askama::Template;
use axum::{extract::State, response::Response};
use strum::VariantArray as _;
use time::OffsetDateTime;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    chart::{Bar, Chart},
    explain,
    parts::{Badge, Moment, Tone, count, link, object, printable, span, words},
    shell::{DONE, Shell, render},
};
use crate::{
    amqp::QueueDepth,
    operator::{
        endpoints::shortened,
        lane::LaneState,
        overview::{self, MAX_COUNTED, Minute, Overview, Waiting},
    },
};

/// Endpoints on the page.
const ENDPOINTS: usize = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    figures: Vec<Figure>,
    failed: Vec<Failed>,
    is_capped: bool,
    charts: Vec<Rate>,
    queues: Vec<Queue>,
    parts: Vec<Part>,
    endpoints: Vec<Endpoint>,
    more_endpoints: bool,
}

/// What is done in a minute.
struct Rate {
    name: &'static str,
    chart: Chart,
}

struct Figure {
    name: &'static str,
    value: String,
    remark: String,
    tone: &'static str,
    /// Where it is listed or drawn; empty if nowhere.
    href: &'static str,
}

struct Failed {
    href: String,
    reason: String,
    explanation: &'static str,
    stage: String,
    open: String,
    replaying: String,
    is_calm: bool,
    since: Moment,
    last: Moment,
}

struct Queue {
    name: String,
    depth: String,
    warning: Option<Badge>,
}

struct Part {
    name: String,
    badge: Badge,
    reason: Option<String>,
}

struct Endpoint {
    href: String,
    address: String,
    company: String,
    state: Badge,
    since: Option<Moment>,
    until: Option<Moment>,
    error: String,
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
) -> Result<Response, Problem> {
    let done = query.one(DONE)?;
    query.end()?;
    let seen = overview::read(&shared.database).await?;
    let shell = Shell::new(&caller, "/", "Overview").live().after(done.as_deref());
    let report = shared.health.report().into_iter();
    render(&Page {
        figures: figures(&seen),
        failed: failed(&seen),
        is_capped: seen.unsettled() >= MAX_COUNTED,
        charts: charts(&seen),
        queues: shared.queue_depths.borrow().iter().map(queue).collect(),
        parts: report.map(|(name, failing)| part(&name, failing.as_deref())).collect(),
        more_endpoints: seen.endpoints.len() > ENDPOINTS,
        endpoints: endpoints(&seen),
        shell,
    })
}

/// A count that may have ended at its limit.
fn capped(number: i64) -> String {
    if number >= MAX_COUNTED { format!("{}+", count(MAX_COUNTED)) } else { count(number) }
}

fn figures(seen: &Overview) -> Vec<Figure> {
    let unsettled = seen.unsettled();
    let oldest = seen.failed.iter().map(|failed| failed.first_seen_at).min();
    let troubled = i64::try_from(seen.endpoints.len()).unwrap_or(i64::MAX);
    let tone = |number: i64, tone: Tone| if number > 0 { tone.into() } else { "" };
    vec![
        Figure {
            name: "Dead letters",
            value: capped(unsettled),
            remark: oldest.map_or("none open".to_owned(), |at| format!("oldest {}", age(at, seen.now))),
            tone: tone(unsettled, Tone::Failed),
            href: "/dead-letters",
        },
        failure_rate(&seen.minutes),
        Figure {
            name: "Deliveries that wait",
            value: capped(seen.deliveries.count),
            remark: waiting(&seen.deliveries, seen.now, "nothing to send"),
            tone: tone(seen.deliveries.count, Tone::Waiting),
            href: "/deliveries?state=pending",
        },
        Figure {
            name: "Events to publish",
            value: capped(seen.events.count),
            remark: waiting(&seen.events, seen.now, "every event was published"),
            tone: tone(seen.events.due, Tone::Waiting),
            href: "",
        },
        Figure {
            name: "Endpoints in trouble",
            value: if seen.has_more_endpoints() { format!("{}+", count(troubled)) } else { count(troubled) },
            remark: states(seen),
            tone: tone(troubled, Tone::Failed),
            href: "/endpoints?state=trouble",
        },
    ]
}

/// How much of what ended in the last hour failed.
fn failure_rate(minutes: &[Minute]) -> Figure {
    let sum = |value: fn(&Minute) -> i64| minutes.iter().map(value).sum::<i64>();
    let failed = sum(|minute| minute.dead_letters);
    let ended = failed + sum(|minute| minute.events) + sum(|minute| minute.deliveries);
    Figure {
        name: "Failed in the last hour",
        value: percentage(failed, ended),
        remark: format!("{} of {}", count(failed), count(ended)),
        tone: if failed > 0 { Tone::Failed.into() } else { "" },
        href: "#hour",
    }
}

/// With one digit after the point, rounded up, but only nothing is 0 % and only all is 100 %.
fn percentage(part: i64, whole: i64) -> String {
    let tenths = (part.saturating_mul(1_000) + whole.max(1) - 1) / whole.max(1);
    let tenths = if part < whole { tenths.min(999) } else { tenths };
    if tenths == 0 { "0 %".to_owned() } else { format!("{}.{} %", tenths / 10, tenths % 10) }
}

/// How many endpoints are in which state: `2 breaker open, 1 paused`.
fn states(seen: &Overview) -> String {
    let count = |state: &LaneState| seen.endpoints.iter().filter(|(other, _)| other == state).count();
    let counts = LaneState::VARIANTS.iter().map(|state| (count(state), state));
    let texts = counts
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {}", words(state.name())));
    let texts: Vec<String> = texts.collect();
    match texts.join(", ") {
        none if none.is_empty() => "all are open".to_owned(),
        first if seen.has_more_endpoints() => format!("of the first {}: {first}", seen.endpoints.len()),
        all => all,
    }
}

fn age(at: OffsetDateTime, now: OffsetDateTime) -> String {
    span(now - at)
}

fn waiting(waiting: &Waiting, now: OffsetDateTime, none: &str) -> String {
    match waiting.oldest_at {
        Some(oldest) => format!("{} due, oldest {}", count(waiting.due), age(oldest, now)),
        None => none.to_owned(),
    }
}

fn failed(seen: &Overview) -> Vec<Failed> {
    let rows = seen.failed.iter().map(|row| Failed {
        href: link("/dead-letters", [("reason", row.reason.as_str()), ("stage", row.stage.as_str())]),
        reason: words(&row.reason),
        explanation: explain::reason(&row.reason),
        stage: words(&row.stage),
        open: count(row.count - row.replaying),
        replaying: count(row.replaying),
        is_calm: row.replaying == 0,
        since: Moment::new(row.first_seen_at, seen.now),
        last: Moment::new(row.last_seen_at, seen.now),
    });
    rows.collect()
}

/// A chart of everything that has a rate, with a bar for each of the last 60 minutes.
fn charts(seen: &Overview) -> Vec<Rate> {
    let rate = |name: &'static str, tone, what: &str, count: fn(&Minute) -> i64| Rate {
        name,
        chart: chart(&seen.minutes, tone, what, count),
    };
    vec![
        rate("Events applied", Tone::Done, "events were applied", |minute| minute.events),
        rate("Webhooks delivered", Tone::Done, "webhooks were delivered", |minute| minute.deliveries),
        rate("Failures", Tone::Failed, "messages and webhooks failed", |minute| minute.dead_letters),
    ]
}

fn chart(minutes: &[Minute], tone: Tone, what: &str, value: fn(&Minute) -> i64) -> Chart {
    let bar = |ago: i32| Bar {
        value: minutes.iter().filter(|minute| minute.ago == ago).map(value).sum(),
        label: if ago == 0 { "this minute".to_owned() } else { format!("{ago} min ago") },
    };
    let bars: Vec<Bar> = (0..60).rev().map(bar).collect();
    let total: i64 = bars.iter().map(|bar| bar.value).sum();
    Chart::new(tone, format!("{} {what} in the last hour", count(total)), ["1 h ago", "now"], &bars)
}

fn queue((name, depth): &(String, Option<QueueDepth>)) -> Queue {
    let depth_in_words =
        depth.as_ref().map_or("not known".to_owned(), |QueueDepth { messages, consumers }| {
            let plural = |number: u32| if number == 1 { "" } else { "s" };
            let (waiting, taking) = (count(i64::from(*messages)), count(i64::from(*consumers)));
            format!("{waiting} message{}, {taking} consumer{}", plural(*messages), plural(*consumers))
        });
    Queue {
        name: name.clone(),
        depth: depth_in_words,
        warning: depth.filter(|depth| depth.consumers == 0).map(|_| Badge::new(Tone::Failed, "not consumed")),
    }
}

fn part(name: &str, failing: Option<&str>) -> Part {
    let badge = match failing {
        Some(_) => Badge::new(Tone::Failed, "failing"),
        None => Badge::new(Tone::Done, "ready"),
    };
    Part { name: words(name), badge, reason: failing.map(printable) }
}

fn endpoints(seen: &Overview) -> Vec<Endpoint> {
    let rows = seen.endpoints.iter().take(ENDPOINTS).map(|(state, row)| Endpoint {
        href: object("endpoints", &row.company, row.id),
        address: printable(&shortened(&row.url)),
        company: printable(&row.company),
        state: Badge::endpoint(state.name()),
        since: Moment::of(state.since(&row.lane), seen.now),
        until: Moment::of(state.until(&row.lane), seen.now),
        error: row.last_error.as_deref().map(printable).unwrap_or_default(),
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nothing_is_zero_percent_and_only_all_is_a_hundred() {
        for (part, whole, expected) in [
            (0, 0, "0 %"),
            (0, 9, "0 %"),
            (1, 1_000_000, "0.1 %"),
            (1, 3, "33.4 %"),
            (999_999, 1_000_000, "99.9 %"),
            (7, 7, "100.0 %"),
        ] {
            assert_eq!(percentage(part, whole), expected, "{part} of {whole}");
        }
    }
}
