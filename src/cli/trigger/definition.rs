//! Finds the definitions in a file and lints them: what the service would refuse, by the service's own
//! parser, and what it would take although it is hardly meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Value, value::RawValue};

use super::{Finding, Severity};
use crate::domain::{
    contact::field::Field,
    trigger::definition::{Action, Trigger},
    webhook::{
        action::WebhookAction,
        template::{Piece, Template},
    },
};

/// Members of an object, each as it is written.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// Names that the platform and the service define (besides `contact.<field>` and `images[0]`).
const OWN_NAMES: [&str; 7] =
    ["session.id", "company.id", "assistant.id", "images", "event.id", "contact.id", "contact.operation"];

/// Headers whose value is a secret as a rule.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// A definition in a file.
pub(super) struct Found {
    /// Its place in the file, as a JSON pointer.
    pub(super) place: String,
    /// Its text.
    pub(super) raw: String,
}

/// The text of the file, or of standard input where it is `-`.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("could not read standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    }
    Ok(text)
}

/// The definitions in `text`: an event, an object with `trigger` and `next`, or one definition.
pub(super) fn find(text: &str) -> anyhow::Result<Vec<Found>> {
    let (base, members) = data(text);
    let Some(trigger) = members.get("trigger") else {
        return Ok(vec![Found { place: base.to_owned(), raw: text.to_owned() }]);
    };
    let mut found = vec![Found { place: format!("{base}/trigger"), raw: trigger.get().to_owned() }];
    if let Some(next) = members.get("next").filter(|next| next.get() != "null") {
        let next: Vec<Box<RawValue>> =
            serde_json::from_str(next.get()).with_context(|| format!("{base}/next must be a list"))?;
        found.extend(
            next.into_iter().enumerate().map(|(index, raw)| Found {
                place: format!("{base}/next/{index}"),
                raw: raw.get().to_owned(),
            }),
        );
    }
    Ok(found)
}

/// The object that holds `trigger`, with its place; without members where the text is a definition.
pub(super) fn data(text: &str) -> (&'static str, Members) {
    let members: Members = serde_json::from_str(text).unwrap_or_default();
    match members.get("data").map(|data| serde_json::from_str::<Members>(data.get())) {
        Some(Ok(data)) => ("/data", data),
        _ if members.contains_key("trigger") => ("", members),
        _ => ("", Members::new()),
    }
}

/// Everything to tell about one definition, errors first.
pub(super) fn lint(found: &Found) -> Vec<Finding> {
    let finding = |severity, place: &str, message: String| Finding {
        severity,
        place: format!("{}{place}", found.place),
        message,
    };
    let value: Value = serde_json::from_str(&found.raw).unwrap_or_default();
    let actions = actions(&value);
    let mut findings = Vec::new();
    for (place, action) in actions.iter().filter(|(_, action)| action["type"] == "WEBHOOK") {
        // A webhook whose shape is wrong is told of with the other problems of the definition.
        let problems = WebhookAction::parse(action).map(|webhook| webhook.problems()).unwrap_or_default();
        findings.extend(problems.into_iter().map(|problem| finding(Severity::Error, place, problem)));
    }
    match Trigger::parse(&found.raw) {
        Err(bad) => {
            let problems = bad.problems.into_iter();
            findings
                .extend(problems.map(|problem| finding(Severity::Error, &problem.pointer, problem.message)));
            findings.sort_by(|a, b| a.place.cmp(&b.place));
        }
        Ok(trigger) => {
            let warnings = warnings(&trigger, &actions).into_iter();
            findings.extend(warnings.map(|(place, message)| finding(Severity::Warning, &place, message)));
        }
    }
    findings
}

/// The actions of a definition, each with its place.
fn actions(definition: &Value) -> Vec<(String, &Value)> {
    match (&definition["action"], definition["actions"].as_array()) {
        (Value::Null, Some(actions)) => {
            actions.iter().enumerate().map(|(index, action)| (format!("/actions/{index}"), action)).collect()
        }
        (Value::Null, None) => Vec::new(),
        (action, _) => vec![("/action".to_owned(), action)],
    }
}

/// What is hardly meant, with its place.
fn warnings(trigger: &Trigger, actions: &[(String, &Value)]) -> Vec<(String, String)> {
    let mut warnings = Vec::new();
    let mut used = BTreeSet::new();
    for (action, (place, raw)) in trigger.actions().iter().zip(actions) {
        match action {
            Action::UpsertContact(mapping) => {
                let fields: BTreeSet<Field> = mapping.iter().map(|(field, _)| field).collect();
                used.extend(mapping.iter().map(|(_, parameter)| parameter.to_owned()));
                if !fields.contains(&Field::Phone) && !fields.contains(&Field::Email) {
                    let message = "neither phone nor email is mapped: every firing makes a new contact";
                    warnings.push((place.clone(), message.to_owned()));
                }
            }
            Action::Webhook(_) => {
                let found = webhook_warnings(raw, trigger.parameters(), &mut used).into_iter();
                warnings.extend(found.map(|(at, message)| (format!("{place}{at}"), message)));
            }
        }
    }
    for parameter in trigger.parameters().iter().filter(|name| !used.contains(*name)) {
        let place = format!("/parameters/properties/{}", parameter.replace('~', "~0").replace('/', "~1"));
        warnings.push((place, "no action uses this parameter".to_owned()));
    }
    warnings
}

/// What is hardly meant in a webhook, with its place; adds the names that it uses to `used`.
fn webhook_warnings(
    action: &Value,
    parameters: &[String],
    used: &mut BTreeSet<String>,
) -> Vec<(String, String)> {
    let mut warnings = Vec::new();
    let url = action.get("url").and_then(Value::as_str).unwrap_or_default();
    if url.starts_with("http:") {
        warnings.push((
            "/url".to_owned(),
            "http is refused unless webhook.allow_http is set; write https".to_owned(),
        ));
    }
    let mut strict = vec![("/url".to_owned(), url)];
    let headers = action.get("headers").and_then(Value::as_array).into_iter().flatten();
    for (index, header) in headers.enumerate() {
        let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
        let place = format!("/headers/{index}/value");
        let secret = SECRET_HEADERS.contains(&text("key").to_lowercase().as_str());
        if secret && !text("value").is_empty() {
            let message = "holds a secret that everyone sees who may see the definition, the event or the dead letter; \
                           prefer webhook.signing_secrets where the receiver can check signatures";
            warnings.push((place.clone(), message.to_owned()));
        }
        strict.push((place, text("value")));
    }
    for (place, text) in strict {
        for reference in references(text) {
            let known = reference.iter().any(|name| parameters.contains(name) || is_own(name));
            if !known && let Some(name) = reference.last() {
                let message = format!(
                    "${name} is no parameter and no name of the platform; where clientData has no such key either, \
                     this step is a dead letter"
                );
                warnings.push((place.clone(), message));
            }
            used.extend(reference);
        }
    }
    let mut texts = Vec::new();
    collect(action.get("body").unwrap_or(&Value::Null), &mut texts);
    used.extend(texts.into_iter().flat_map(references).flatten());
    warnings
}

/// The variables of a text, each with the names that it may be, longest first.
fn references(text: &str) -> Vec<Vec<String>> {
    let template = Template::parse(text);
    let variables = template.pieces().iter().filter_map(|piece| match piece {
        Piece::Variable(reference) => Some(reference),
        Piece::Text(_) => None,
    });
    variables.map(|reference| reference.candidates().map(|(name, _)| name.to_owned()).collect()).collect()
}

fn is_own(name: &str) -> bool {
    OWN_NAMES.contains(&name)
        || name.starts_with("images[")
        || name.strip_prefix("contact.").is_some_and(|field| field.parse::<Field>().is_ok())
}

/// Every text in a JSON value, at any depth.
fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
