//! Finds the definitions in a file and lints them. Errors come from the service's own parser. Warnings are about
//! definitions that the service accepts but the author is unlikely to mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Path, PathBuf},
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

/// Members of an object, each as it was written.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// Variables that the platform and the service define, besides `contact.<field>` and `images[0]`.
const BUILT_IN: [&str; 7] =
    ["session.id", "company.id", "assistant.id", "images", "event.id", "contact.id", "contact.operation"];

/// Headers whose value is usually a secret.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// A definition in a file.
pub(super) struct Found {
    /// JSON pointer (RFC 6901) into the file.
    pub(super) place: String,
    /// The definition as it was written.
    pub(super) raw: String,
}

/// A file that the JSON parser refuses. Its error names line and column, never a value.
#[derive(Debug, thiserror::Error)]
#[error("could not parse {} as JSON", name(file))]
pub(super) struct NotJson {
    file: PathBuf,
    source: serde_json::Error,
}

fn name(file: &Path) -> String {
    if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// The JSON text in the file, or in standard input when it is `-`.
///
/// # Errors
/// When it cannot be read, or is not JSON ([`NotJson`]).
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if is_standard_input(file) {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.with_context(|| format!("could not read {}", name(file)))?;
    match serde_json::from_str::<Value>(&text) {
        Ok(_) => Ok(text),
        Err(source) => Err(NotJson { file: file.to_owned(), source }.into()),
    }
}

/// The definitions in `text`: an event, an object with `trigger` and `next`, or one definition.
pub(super) fn find(text: &str) -> anyhow::Result<Vec<Found>> {
    let (base, members) = data(text);
    let Some(trigger) = members.get("trigger") else {
        return Ok(vec![Found { place: base.to_owned(), raw: text.to_owned() }]);
    };
    let mut found = vec![Found { place: format!("{base}/trigger"), raw: trigger.get().to_owned() }];
    if let Some(next) = members.get("next").filter(|next| next.get() != "null") {
        // The parser's error would quote the value.
        let next: Vec<Box<RawValue>> = serde_json::from_str(next.get())
            .map_err(|_| anyhow::anyhow!("{base}/next must be a list of definitions"))?;
        found.extend(
            next.into_iter().enumerate().map(|(index, raw)| Found {
                place: format!("{base}/next/{index}"),
                raw: raw.get().to_owned(),
            }),
        );
    }
    Ok(found)
}

/// The object that holds `trigger`, with its place; without members when the text is a definition itself.
pub(super) fn data(text: &str) -> (&'static str, Members) {
    let members: Members = serde_json::from_str(text).unwrap_or_default();
    match members.get("data").map(|data| serde_json::from_str::<Members>(data.get())) {
        Some(Ok(data)) => ("/data", data),
        _ if members.contains_key("trigger") => ("", members),
        _ => ("", Members::new()),
    }
}

/// All errors of a definition, or its warnings when it has no error.
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
        // The parser below reports a webhook that has the wrong shape.
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

/// The actions of a definition, each with its JSON pointer.
fn actions(definition: &Value) -> Vec<(String, &Value)> {
    match (&definition["action"], definition["actions"].as_array()) {
        (Value::Null, Some(actions)) => {
            actions.iter().enumerate().map(|(index, action)| (format!("/actions/{index}"), action)).collect()
        }
        (Value::Null, None) => Vec::new(),
        (action, _) => vec![("/action".to_owned(), action)],
    }
}

/// Messages about what the author is unlikely to mean, each with its JSON pointer.
fn warnings(trigger: &Trigger, actions: &[(String, &Value)]) -> Vec<(String, String)> {
    let mut warnings = Vec::new();
    let mut used = BTreeSet::new();
    for (action, (place, raw)) in trigger.actions().iter().zip(actions) {
        match action {
            Action::UpsertContact(mapping) => {
                let fields: BTreeSet<Field> = mapping.iter().map(|(field, _)| field).collect();
                used.extend(mapping.iter().map(|(_, parameter)| parameter.to_owned()));
                if !fields.contains(&Field::Phone) && !fields.contains(&Field::Email) {
                    let message = "neither phone nor email is mapped; every event will create a new contact";
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

/// The warnings of a webhook, each with its JSON pointer; adds the variables that it uses to `used`.
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
            let message = "anyone who can see the definition, the event or a dead letter sees this secret; \
                           prefer webhook.signing_secrets if the receiver can verify signatures";
            warnings.push((place.clone(), message.to_owned()));
        }
        strict.push((place, text("value")));
    }
    for (place, text) in strict {
        for reference in references(text) {
            let known = reference.iter().any(|name| parameters.contains(name) || is_built_in(name));
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
    collect(action.get("body").unwrap_or(&Value::Null), &mut texts);
    used.extend(texts.into_iter().flat_map(references).flatten());
    warnings
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

fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
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
