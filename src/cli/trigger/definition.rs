//! Finds the definitions in a file and lints them. Errors come from the service's own parser. Warnings are about
//! definitions that the service accepts but the author is unlikely to mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, value::RawValue};

use super::{super::input, Finding, Severity};
use crate::domain::{
    contact::field::Field,
    trigger::{
        definition::{Action, Trigger},
        shapes::{ListOrEmptyObject, within_doubles},
    },
    webhook::action::WebhookAction,
};

mod webhook;

/// A JSON pointer and a message.
type Warning = (String, String);

/// Members of an object, each as it was written.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

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
    if input::is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

/// The JSON text in the file, or in standard input when it is `-`.
///
/// # Errors
/// When it cannot be read, or is not JSON ([`NotJson`]).
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let text = input::read(file).with_context(|| format!("could not read {}", name(file)))?;
    let text = within_doubles(&text).into_owned();
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
        let ListOrEmptyObject::<Box<RawValue>>(next) = serde_json::from_str(next.get())
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
            let schema = trigger.warnings().iter().map(|one| (one.pointer.clone(), one.message.clone()));
            let warnings = schema.chain(shapes(&value)).chain(warnings(&trigger, &actions));
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

/// A member that is read although it has the shape of another language.
fn shapes(definition: &Value) -> Option<Warning> {
    let interpret =
        definition.get("interpretResponse").filter(|value| !value.is_null() && !value.is_boolean())?;
    let written = interpret.to_string();
    Some((
        "/interpretResponse".to_owned(),
        format!("{written} is read as true or false; write true or false"),
    ))
}

/// Messages about what the author is unlikely to mean, each with its JSON pointer.
fn warnings(trigger: &Trigger, actions: &[(String, &Value)]) -> Vec<Warning> {
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
                let found = webhook::warnings(raw, trigger.parameters(), &mut used).into_iter();
                warnings.extend(found.map(|(at, message)| (format!("{place}{at}"), message)));
            }
        }
    }
    for parameter in trigger.parameters().iter().filter(|name| !used.contains(*name)) {
        let place = format!("/parameters/properties/{}", escaped(parameter));
        warnings.push((place, "no action uses this parameter".to_owned()));
    }
    warnings
}

/// A key in a JSON pointer (RFC 6901, 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
