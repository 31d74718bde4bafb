//! One delivery with everything. Bodies are printed because the operator asked for them; secrets never are.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::{
    super::{
        exit::Exit,
        output::{self, Output, bytes, moment, printable},
    },
    waits,
};
use crate::{
    operator::deliveries::{self, Delivery},
    postgres::{Database, attempts::Attempt},
};

pub(super) const HELP: &str = "\
It prints what was sent and answered, so it may print personal data. Headers and parts of the query whose names are
those of secrets are left out, and so they are of the curl command.

Example: contact-relay delivery show 4e4f86f0-3309";

/// How much of an answer's body is printed for people, in characters.
const BODY: usize = 2_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// Its id (the webhook-id of its requests), or the beginning of it
    id: String,
    /// Company (tenant) id
    #[arg(long)]
    company: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Show) -> anyhow::Result<Exit> {
    let key = deliveries::resolve(database, args.company.as_deref(), &args.id).await?;
    let delivery = deliveries::get(database, &key).await?;
    let delivery = delivery.ok_or_else(|| deliveries::ResolveError::Unknown(args.id.clone()))?;
    let value = as_json(&delivery)?;
    output::object(args.output.format, &value, |_| as_text(&delivery))?;
    Ok(Exit::Done)
}

fn as_json(delivery: &Delivery) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(&delivery.listed)?;
    let view = &delivery.request;
    let mut request = Map::new();
    request.insert("method".to_owned(), view.method.clone().into());
    request.insert("url".to_owned(), view.url.clone().into());
    request.insert("headers".to_owned(), json!(view.headers));
    request.extend(view.body.as_deref().map(|body| bytes("body", body)));
    request.insert("curl".to_owned(), view.curl().into());
    if let Value::Object(members) = &mut value {
        members.extend([
            ("source".to_owned(), json!(delivery.source)),
            ("step".to_owned(), json!(delivery.step)),
            ("fault".to_owned(), json!(delivery.fault)),
            ("deadLetter".to_owned(), json!(delivery.dead_letter)),
            ("digestMembers".to_owned(), json!(delivery.members)),
            ("request".to_owned(), Value::Object(request)),
            ("attemptLog".to_owned(), delivery.attempts.iter().map(attempt_json).collect()),
        ]);
    }
    Ok(value)
}

/// One attempt with all members.
pub(in crate::cli) fn attempt_json(attempt: &Attempt) -> Value {
    let mut value = json!({
        "deliveryId": attempt.delivery_id,
        "attempt": attempt.attempt,
        "startedAt": attempt.started_at.format(&Rfc3339).unwrap_or_default(),
        "durationMs": attempt.duration_ms,
        "connectMs": attempt.connect_ms,
        "answerMs": attempt.answer_ms,
        "class": attempt.class,
        "status": attempt.status,
        "error": attempt.error,
        "responseBytes": attempt.response_body.as_ref().map_or(0, Vec::len),
    });
    if let Value::Object(members) = &mut value {
        members.extend(attempt.response_body.as_deref().map(|body| bytes("responseBody", body)));
    }
    value
}

fn as_text(delivery: &Delivery) -> String {
    let mut text: Vec<String> = facts(delivery)
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<12}{}", printable(&value)))
        .collect();
    let view = &delivery.request;
    text.push(String::new());
    text.push(printable(&format!("{} {}", view.method, view.url)));
    text.extend(view.headers.iter().map(|(name, value)| printable(&format!("{name}: {value}"))));
    if let Some(body) = &view.body {
        text.push(String::new());
        text.extend(body_text(body, usize::MAX));
    }
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
        ("digest", summary.digest_id.map(|id| format!("went out as a part of {id}")).unwrap_or_default()),
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
    let times: String = [("", Some(attempt.duration_ms)), (", connected after ", attempt.connect_ms)]
        .into_iter()
        .chain([(", answered after ", attempt.answer_ms)])
        .filter_map(|(what, ms)| Some(format!("{what}{} ms", ms?)))
        .collect();
    let started = attempt.started_at.format(&Rfc3339).unwrap_or_default();
    let mut text =
        vec![format!("attempt {}: {started}, {times}: {}{status}", attempt.attempt, attempt.class)];
    text.extend(attempt.error.as_deref().map(|error| format!("  {}", printable(error))));
    if let Some(body) = &attempt.response_body {
        text.push(format!("  {} bytes:", body.len()));
        text.extend(body_text(body, BODY).into_iter().map(|line| format!("  {line}")));
    }
    text
}

/// The lines of a body: JSON set out, other text as it is, else only that it is no text. No more than `limit`
/// characters.
pub(in crate::cli) fn body_text(body: &[u8], limit: usize) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(body) else {
        return vec!["(not text; -o json has it in base64)".to_owned()];
    };
    let pretty =
        serde_json::from_str::<Value>(text).ok().filter(|value| value.is_object() || value.is_array());
    let text =
        pretty.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned());
    let beginning: String = text.chars().take(limit).collect();
    let cut = beginning.len() < text.len();
    let rest = cut.then(|| "… (-o json has the rest)".to_owned());
    beginning.lines().map(printable).chain(rest).collect()
}
