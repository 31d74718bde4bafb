//! `delivery show`: one delivery in full. Bodies are printed because the operator asks for them; secrets never are.

use time::format_description::well_known::Rfc3339;

use super::{
    super::{
        confirm::Who,
        exit::Exit,
        output::{self, Output, moment, printable},
    },
    waits,
};
use crate::{
    domain::json,
    operator::{
        deliveries::{self, Delivery},
        views::{self, Sight},
    },
    postgres::{Database, attempts::Attempt},
};

pub(super) const HELP: &str = "\
It prints requests and responses, which may contain personal data. Headers and query parameters that are named like
secrets are redacted, in the curl command as well.

Example: contact-relay delivery show 4e4f86f0-3309";

/// Characters of a response body in text output.
const MAX_RESPONSE_TEXT: usize = 2_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// Delivery id (the webhook-id of its requests), or its first 8 or more digits
    id: String,
    /// Company (tenant) id
    #[arg(long)]
    company: Option<String>,
    /// Do not mask identity documents; recorded
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Show) -> anyhow::Result<Exit> {
    let key = deliveries::resolve(database, args.company.as_deref(), &args.id).await?;
    let delivery = if args.reveal {
        deliveries::reveal(database, &args.who.actor()?, &key).await?
    } else {
        deliveries::get(database, &key).await?
    };
    let delivery = delivery.ok_or_else(|| deliveries::ResolveError::Unknown(args.id.clone()))?;
    if delivery.has_documents {
        output::note("identity documents are masked; --reveal shows them, and is recorded");
    }
    let value = views::deliveries::delivery(&delivery, Sight::Full)?;
    output::object(args.output.format, &value, |_| as_text(&delivery))?;
    Ok(Exit::Done)
}

/// The lines of a request, with its whole body.
pub(in crate::cli) fn request_text(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Vec<String> {
    let mut text = vec![printable(&format!("{method} {url}"))];
    text.extend(headers.iter().map(|(name, value)| printable(&format!("{name}: {value}"))));
    if let Some(body) = body {
        text.push(String::new());
        text.extend(body_text(body, usize::MAX));
    }
    text
}

fn as_text(delivery: &Delivery) -> String {
    let mut text = output::facts(12, facts(delivery));
    let view = &delivery.request;
    text.push(String::new());
    text.extend(request_text(&view.method, &view.url, &view.headers, view.body.as_deref()));
    text.push(String::new());
    text.push(
        "each attempt adds user-agent, traceparent, webhook-timestamp and webhook-signature".to_owned(),
    );
    if delivery.fault.is_none() {
        text.extend([String::new(), printable(&view.curl())]);
    }
    for attempt in &delivery.attempts {
        text.push(String::new());
        text.extend(attempt_text(attempt));
    }
    text.join("\n")
}

fn facts(delivery: &Delivery) -> Vec<(&'static str, String)> {
    let summary = &delivery.listed.summary;
    let ids = |ids: &[uuid::Uuid]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let contact = match (summary.contact_id, summary.contact_version) {
        (Some(id), Some(version)) => format!("{id}, version {version}"),
        (Some(id), None) => id.to_string(),
        (None, _) => String::new(),
    };
    let dead = delivery.dead_letter.as_ref();
    vec![
        ("id", summary.id.to_string()),
        ("company", summary.company.clone()),
        ("state", summary.state.clone()),
        ("waits for", waits(summary)),
        ("fault", delivery.fault.clone().unwrap_or_default()),
        ("trigger", summary.trigger.clone()),
        ("event", summary.event_id.clone()),
        ("source", delivery.source.clone()),
        ("step", delivery.step.to_string()),
        ("contact", contact),
        ("endpoint", summary.endpoint_id.map(|id| id.to_string()).unwrap_or_default()),
        ("", summary.endpoint_url.clone().unwrap_or_default()),
        ("newest only", if summary.newest_only { "yes".to_owned() } else { String::new() }),
        ("digest", summary.digest_id.map(|id| format!("sent as part of {id}")).unwrap_or_default()),
        ("holds", ids(&delivery.members)),
        (
            "dead letter",
            dead.map(|dead| format!("{}, {}, {}", dead.id, dead.reason, dead.state)).unwrap_or_default(),
        ),
        ("attempts", summary.attempts.to_string()),
        ("last error", summary.last_error.clone().unwrap_or_default()),
        ("created", moment(summary.created_at)),
        ("next", summary.next_attempt_at.map(moment).unwrap_or_default()),
        ("finished", summary.finished_at.map(moment).unwrap_or_default()),
    ]
}

/// The lines of one attempt.
pub(in crate::cli) fn attempt_text(attempt: &Attempt) -> Vec<String> {
    let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
    let times: String = [
        ("", Some(attempt.duration_ms)),
        (", connected after ", attempt.connect_ms),
        (", answered after ", attempt.answer_ms),
    ]
    .into_iter()
    .filter_map(|(what, ms)| Some(format!("{what}{} ms", ms?)))
    .collect();
    let started = attempt.started_at.format(&Rfc3339).unwrap_or_default();
    let mut text =
        vec![format!("attempt {}: {started}, {times}: {}{status}", attempt.attempt, attempt.class)];
    text.extend(attempt.error.as_deref().map(|error| format!("  {}", printable(error))));
    if let Some(body) = &attempt.response_body {
        text.push(format!("  {} bytes:", body.len()));
        text.extend(body_text(body, MAX_RESPONSE_TEXT).into_iter().map(|line| format!("  {line}")));
    }
    text
}

/// The lines of a body, at most `limit` characters: JSON indented, other text as it is, and a note for bytes that
/// are not text.
fn body_text(body: &[u8], limit: usize) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(body) else {
        return vec!["(not text; -o json has it in base64)".to_owned()];
    };
    let pretty = json::parse(body).filter(|value| value.is_object() || value.is_array());
    let text =
        pretty.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned());
    let beginning: String = text.chars().take(limit).collect();
    let cut = beginning.len() < text.len();
    let rest = cut.then(|| "… (-o json has the rest)".to_owned());
    beginning.lines().map(printable).chain(rest).collect()
}
