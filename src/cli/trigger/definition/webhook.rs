//! What the author of a webhook is unlikely to mean.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::Warning;
use crate::domain::{
    contact::field::Field,
    webhook::{
        action::WebhookAction,
        egress::is_bad_port,
        template::{Piece, Template},
    },
};

/// Variables that the platform and the service define, besides `contact.<field>` and `images[0]`.
const BUILT_IN: [&str; 7] =
    ["session.id", "company.id", "assistant.id", "images", "event.id", "contact.id", "contact.operation"];

/// Headers whose value is usually a secret.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// The addresses that start a workflow in Slack.
const SLACK_WORKFLOWS: [&str; 2] =
    ["https://hooks.slack.com/workflows/", "https://hooks.slack.com/triggers/"];

/// The warnings of a webhook; adds the variables that it uses to `used`.
pub(super) fn warnings(action: &Value, parameters: &[String], used: &mut BTreeSet<String>) -> Vec<Warning> {
    let url = action.get("url").and_then(Value::as_str).unwrap_or_default();
    let mut warnings: Vec<Warning> =
        of_url(url).into_iter().map(|message| ("/url".to_owned(), message)).collect();
    let mut strict = vec![("/url".to_owned(), url)];
    let headers = action.get("headers");
    if headers.is_some_and(Value::is_object) {
        warnings
            .push(("/headers".to_owned(), "an empty object is read as an empty list; write []".to_owned()));
    }
    for (index, header) in headers.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
        let place = format!("/headers/{index}/value");
        let secret = SECRET_HEADERS.contains(&text("key").to_lowercase().as_str());
        if secret && !text("value").is_empty() {
            let message = "anyone who can see the definition, the event or a dead letter sees this secret; \
                           prefer webhook.signing_secrets if the receiver can verify signatures";
            warnings.push((place.clone(), message.to_owned()));
        }
        strict.push((place, text("value")));
    }
    for (place, text) in &strict {
        for reference in references(text) {
            let known = reference.iter().any(|name| is_known(name, parameters));
            if !known && let Some(name) = reference.last() {
                let message = format!(
                    "${name} is neither a parameter nor a built-in variable; the step becomes a dead letter unless \
                     clientData has this key"
                );
                warnings.push((place.clone(), message));
            }
            used.extend(reference);
        }
    }
    let mut texts = Vec::new();
    collect("/body", action.get("body").unwrap_or(&Value::Null), &mut texts);
    for (place, text) in strict.iter().chain(&texts) {
        warnings.extend(foreign(text, parameters).into_iter().map(|message| (place.clone(), message)));
    }
    warnings.extend(of_body(url, action));
    used.extend(texts.into_iter().flat_map(|(_, text)| references(text)).flatten());
    warnings
}

fn of_url(url: &str) -> Option<String> {
    if url.starts_with("http:") {
        return Some("http is refused unless webhook.allow_http is set; write https".to_owned());
    }
    let port = Url::parse(url).ok()?.port().filter(|port| is_bad_port(*port))?;
    Some(format!(
        "port {port} belongs to another protocol; the step becomes a dead letter unless its network is in \
         webhook.allowed_networks"
    ))
}

fn of_body(url: &str, action: &Value) -> Option<Warning> {
    let body = action.get("body").filter(|body| !body.is_null());
    let message = if SLACK_WORKFLOWS.iter().any(|address| url.starts_with(address)) {
        workflow_problem(body)?
    } else {
        let text = body?.as_str()?.trim();
        let looks_like_json = (text.starts_with('{') && !text.starts_with("{{"))
            || (text.starts_with('[') && text.ends_with(']'));
        let is_sent_as_text =
            || WebhookAction::parse(action).is_ok_and(|webhook| webhook.falls_back_to_text());
        if !(looks_like_json && Template::parse(text).has_variables() && is_sent_as_text()) {
            return None;
        }
        "this is not JSON once values stand for its variables, so it is sent as text, and a value can change its \
         structure; write a JSON object instead of a text"
    };
    Some(("/body".to_owned(), message.to_owned()))
}

/// Slack starts a workflow with an object of texts, one for each variable of its trigger
/// (<https://slack.com/help/articles/360041352714>). It does not look into members of members (slackapi/slack-github-action
/// #280) or into `text` (elementary-data/elementary #1418).
fn workflow_problem(body: Option<&Value>) -> Option<&'static str> {
    match body {
        None => Some(
            "a Slack workflow takes its own variables, not the event; write a body with them, such as \
             {\"name\": \"$name\"}",
        ),
        Some(Value::Object(members)) if members.values().all(Value::is_string) => None,
        Some(Value::String(_)) => None,
        Some(_) => Some("a Slack workflow takes an object of texts; write {\"variable\": \"text\"}"),
    }
}

/// Messages about variables in the style of other tools, which are sent as they are written.
fn foreign(text: &str, parameters: &[String]) -> Vec<String> {
    let mut messages = Vec::new();
    for (opening, end) in [("{{", "}}"), ("${", "}")] {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(opening)
            && let Some((inside, after)) = after.split_once(end)
        {
            rest = after;
            let name = inside.trim_matches(|c: char| c.is_whitespace() || "{}$=".contains(c));
            let last = name.rsplit('.').next().unwrap_or_default();
            let message = match [name, last].into_iter().find(|name| is_known(name, parameters)) {
                Some(known) => format!("{opening}{inside}{end} is sent as written; write ${known}"),
                None => {
                    format!("{opening}{inside}{end} is sent as written; write $ and the name of a parameter")
                }
            };
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
    }
    messages
}

/// The variables of a text, each with the names that it may refer to, longest first.
fn references(text: &str) -> Vec<Vec<String>> {
    let template = Template::parse(text);
    let variables = template.pieces().iter().filter_map(|piece| match piece {
        Piece::Variable(reference) => Some(reference),
        Piece::Text(_) => None,
    });
    variables.map(|reference| reference.candidates().map(|(name, _)| name.to_owned()).collect()).collect()
}

fn is_known(name: &str, parameters: &[String]) -> bool {
    parameters.iter().any(|parameter| parameter == name)
        || BUILT_IN.contains(&name)
        || name.starts_with("images[")
        || name.strip_prefix("contact.").is_some_and(|field| field.parse::<Field>().is_ok())
}

/// Every text in a JSON value, at any depth, with its JSON pointer.
fn collect<'a>(place: &str, value: &'a Value, texts: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => texts.push((place.to_owned(), text)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{place}/{index}"), item, texts);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                collect(&format!("{place}/{}", super::escaped(key)), member, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
