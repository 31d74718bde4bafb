//! Finds the definitions in a file and lints them. Errors come from the service's own parser. Warnings are about
//! definitions that the service accepts but the author is unlikely to mean.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

use super::{super::input, Finding, Severity};
use crate::domain::{
    chain::rules::Rules,
    contact::field::Field,
    event::without_nan,
    json::{is_empty, within_doubles},
    trigger::definition::{Action, Trigger},
    value::phone::Region,
    webhook::action::WebhookAction,
};
pub(super) use crate::operator::preview::{Found, find};

mod no_values;
mod values;
mod webhook;

/// A JSON pointer and a message.
type Warning = (String, String);

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
    let Err(source) = serde_json::from_str::<Value>(&text) else { return Ok(text) };
    let plain = without_nan(&text).filter(|plain| serde_json::from_str::<Value>(plain).is_ok());
    plain.ok_or_else(|| NotJson { file: file.to_owned(), source }.into())
}

/// All errors of a definition, or its warnings when it has no error. `region` is the company's.
pub(super) fn lint(found: &Found, region: Region, rules: &Rules) -> Vec<Finding> {
    let finding = |severity, place: &str, message: String| Finding {
        severity,
        place: format!("{}{place}", found.place),
        message,
    };
    let written: Value = serde_json::from_str(&found.raw).unwrap_or_default();
    let value = without_texts(&written);
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
            let parameters = value.get("parameters").into_iter();
            let values = parameters.flat_map(|schema| {
                let no_values = no_values::warnings(schema, &trigger, &rules.placeholders);
                no_values.into_iter().chain(values::warnings(schema, &trigger, region, rules))
            });
            let warnings =
                schema.chain(shapes(&written)).chain(values).chain(warnings(&trigger, &actions, &value));
            findings.extend(warnings.map(|(place, message)| finding(Severity::Warning, &place, message)));
        }
    }
    findings
}

/// The definition with the JSON that stands in texts.
fn without_texts(definition: &Value) -> Value {
    let mut definition = definition.clone();
    for name in ["parameters", "action", "actions"] {
        let text = definition.get(name).and_then(Value::as_str);
        let inside = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let (Some(inside), Some(members)) = (inside, definition.as_object_mut()) {
            members.insert(name.to_owned(), inside);
        }
    }
    definition
}

/// The actions of a definition, each with its JSON pointer.
fn actions(definition: &Value) -> Vec<(String, &Value)> {
    // An empty one beside the other counts as absent.
    let action = Some(&definition["action"]).filter(|action| !is_empty(action)).unwrap_or(&Value::Null);
    match (action, definition["actions"].as_array()) {
        (Value::Null, Some(actions)) => {
            actions.iter().enumerate().map(|(index, action)| (format!("/actions/{index}"), action)).collect()
        }
        (Value::Null, None) => Vec::new(),
        (action, _) => vec![("/action".to_owned(), action)],
    }
}

/// Members that are read although they have the shape of another language.
fn shapes(definition: &Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let member = |name: &str| definition.get(name).filter(|value| !value.is_null());
    if member("interpretResponse").is_some_and(|value| !value.is_boolean()) {
        let message = "this is read as true or false, and an empty text as false; write true or false";
        warnings.push(("/interpretResponse".to_owned(), message.to_owned()));
    }
    if member("description").is_some_and(|value| !value.is_string()) {
        warnings
            .push(("/description".to_owned(), "this is no text, and is ignored; write a text".to_owned()));
    }
    for name in ["parameters", "action", "actions"] {
        if member(name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty()) {
            let message = "this is a text that holds JSON; write the JSON itself";
            warnings.push((format!("/{name}"), message.to_owned()));
        }
    }
    warnings
}

/// Messages about what the author is unlikely to mean, each with its JSON pointer.
fn warnings(trigger: &Trigger, actions: &[(String, &Value)], definition: &Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut used = BTreeSet::new();
    let always_texts = webhook::always_texts(&definition["parameters"]);
    for (action, (place, raw)) in trigger.actions().iter().zip(actions) {
        match action {
            Action::UpsertContact(mapping) => {
                let fields: BTreeSet<Field> = mapping.iter().map(|(field, _)| field).collect();
                warnings.extend(empty_members(place, raw));
                used.extend(mapping.iter().map(|(_, parameter)| parameter.to_owned()));
                if !fields.contains(&Field::Phone) && !fields.contains(&Field::Email) {
                    let message = "neither phone nor email is mapped; every event will create a new contact";
                    warnings.push((place.clone(), message.to_owned()));
                }
            }
            Action::Webhook(_) => {
                let found =
                    webhook::warnings(raw, trigger.parameters(), &always_texts, &mut used).into_iter();
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

/// The members of a CRM action at `place` that map nothing.
fn empty_members(place: &str, action: &Value) -> Vec<Warning> {
    let members = action.as_object().into_iter().flatten().filter(|(_, value)| is_empty(value));
    let message = "this is empty, so it fills no field; remove it, or write the name of a parameter";
    members.map(|(key, _)| (format!("{place}/{}", escaped(key)), message.to_owned())).collect()
}

/// A key in a JSON pointer (RFC 6901, 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
