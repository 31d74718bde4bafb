//! `endpoint show`: one endpoint in full, including the whole path, because the operator asks for it. Only the public
//! keys of signing secrets are printed.

use std::time::Duration;

use super::{
    super::{
        delivery::attempt_text,
        exit::Exit,
        output::{self, moment, printable},
    },
    One,
};
use crate::{
    operator::{
        endpoints::{self, Shown},
        views::{self, Sight},
    },
    postgres::Database,
    settings::Settings,
};

pub(super) async fn run(database: &Database, args: &One, settings: &Settings) -> anyhow::Result<Exit> {
    let key = args.key(database).await?;
    let shown = endpoints::show(database, &settings.webhook, &key).await?;
    let value = views::endpoints::shown(&shown, Sight::Full)?;
    output::object(args.output.format, &value, |_| as_text(&shown))?;
    Ok(Exit::Done)
}

fn as_text(shown: &Shown) -> String {
    let mut text = output::facts(15, [facts(shown), terms(shown), signing(shown)].concat());
    for attempt in &shown.attempts {
        let mut lines = attempt_text(attempt).into_iter();
        let first = lines.next().unwrap_or_default();
        // `delivery show` prints the response.
        text.extend([String::new(), format!("{} {first}", attempt.delivery_id)]);
        text.extend(attempt.error.as_deref().map(|error| format!("  {}", printable(error))));
    }
    text.join("\n")
}

fn facts(shown: &Shown) -> Vec<(&'static str, String)> {
    let endpoint = &shown.endpoint;
    let states = shown.states.iter().map(|(state, count)| format!("{count} {state}"));
    vec![
        ("id", endpoint.id.to_string()),
        ("company", endpoint.company.clone()),
        ("url", endpoint.url.clone()),
        ("state", endpoint.state.to_owned()),
        ("since", endpoint.since.map(moment).unwrap_or_default()),
        ("until", endpoint.until.map(moment).unwrap_or_default()),
        ("paused by", endpoint.paused_by.clone().unwrap_or_default()),
        ("disabled", endpoint.disabled_because.clone().unwrap_or_default()),
        ("breaker", endpoint.breaker.clone()),
        ("waiting", endpoint.waiting.to_string()),
        ("due", endpoint.due.to_string()),
        ("oldest due", endpoint.oldest_due_at.map(moment).unwrap_or_default()),
        ("failures", endpoint.failures.to_string()),
        ("last success", endpoint.last_success_at.map(moment).unwrap_or_default()),
        ("last failure", endpoint.last_failure_at.map(moment).unwrap_or_default()),
        ("last error", endpoint.last_error.clone().unwrap_or_default()),
        ("created", moment(endpoint.created_at)),
        ("deliveries", states.collect::<Vec<_>>().join(", ")),
        ("counted since", moment(shown.states_since)),
    ]
}

fn terms(shown: &Shown) -> Vec<(&'static str, String)> {
    let terms = &shown.terms;
    let list = |codes: &[u16]| codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let schedule = terms.retry_schedule_ms.iter().map(|ms| span(*ms)).collect::<Vec<_>>().join(", ");
    vec![
        ("profile", terms.profile.to_owned()),
        ("max in flight", format!("{} of all processes", terms.max_in_flight)),
        ("rate", terms.send_interval_ms.map(|ms| format!("one in {}", span(ms))).unwrap_or_default()),
        ("timeout", span(terms.timeout_ms)),
        ("retries after", schedule),
        ("retried too", list(&terms.retry_statuses)),
        ("not retried", list(&terms.dead_statuses)),
        ("newest only", if terms.newest_only { "yes".to_owned() } else { String::new() }),
        ("digest window", terms.digest_window_ms.map(span).unwrap_or_default()),
        ("authorities", terms.ca_file.clone().unwrap_or_default()),
        ("certificate", terms.client_certificate_file.clone().unwrap_or_default()),
    ]
}

/// One line per signature, so that a receiver's public key is easy to copy.
fn signing(shown: &Shown) -> Vec<(&'static str, String)> {
    let lines = shown.terms.signing.iter().map(|signing| match &signing.public_key {
        Some(key) => format!("{} {key}", signing.version),
        None => signing.version.to_owned(),
    });
    let mut lines: Vec<_> = lines.map(|line| ("signing", line)).collect();
    if lines.is_empty() {
        lines.push(("signing", "none".to_owned()));
    }
    lines
}

/// A duration as it is written in settings.
fn span(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}
