//! What is wrong with a trigger definition, and what to write instead. Errors come from the service's own parser. Warnings
//! are about definitions that the service accepts but the author is unlikely to mean.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::preview::{self, Found, PreviewError};
use crate::{
    domain::{
        chain::rules::Rules,
        contact::field::Field,
        json::is_empty,
        trigger::definition::{Action, MAX_ACTIONS, Trigger},
        value::phone::Region,
        webhook::action::WebhookAction,
    },
    settings::Settings,
    telemetry::chain,
};
use webhook::Webhook;

mod no_values;
mod suggested;
mod values;
mod webhook;

/// Whether the service refuses the definition because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// One remark for the trigger's author.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Whether the service refuses the definition because of it.
    pub severity: Severity,
    /// JSON pointer (RFC 6901) into the text.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// A JSON pointer and a message.
type Warning = (String, String);

/// Warnings of one definition. A stranger's may deserve a million.
const MAX_WARNINGS: usize = 200;

/// Up to [`MAX_WARNINGS`].
#[derive(Default)]
struct Warnings {
    list: Vec<Warning>,
    has_more: bool,
}

impl Warnings {
    fn push(&mut self, place: &str, message: impl Into<String>) {
        self.extend([(place.to_owned(), message.into())]);
    }

    /// Stops at the limit.
    fn extend(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        for warning in warnings {
            if self.list.len() == MAX_WARNINGS {
                self.has_more = true;
                return;
            }
            self.list.push(warning);
        }
    }
}

/// All errors of each definition in `text`, or its warnings when it has no error. The text is a definition, an object with
/// `trigger` and `next`, or a whole event.
#[must_use]
pub fn check(text: &str, settings: &Settings) -> Vec<Finding> {
    let found = preview::spelled(text).map_err(PreviewError::from).and_then(|text| preview::find(&text));
    // A definition does not say whose it is.
    let (region, rules) = (settings.contacts.default_region, settings.rules());
    match found {
        Ok(found) => found.iter().flat_map(|one| lint(one, region, &rules)).collect(),
        Err(error) => {
            vec![Finding { severity: Severity::Error, place: String::new(), message: chain(&error) }]
        }
    }
}

/// Whether the service would accept definitions with these findings.
#[must_use]
pub fn is_accepted(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Warning)
}

/// All errors of a definition, or its warnings when it has no error.
fn lint(found: &Found, region: Region, rules: &Rules) -> Vec<Finding> {
    let finding = |severity, place: &str, message: String| Finding {
        severity,
        place: format!("{}{place}", found.place),
        message,
    };
    let written: Value = serde_json::from_str(&found.raw).unwrap_or_default();
    let value = without_texts(&written);
    let actions = actions(&value);
    let mut findings = Vec::new();
    // The parser below reports that there are more.
    for (place, action) in actions.iter().take(MAX_ACTIONS).filter(|(_, action)| action["type"] == "WEBHOOK")
    {
        // The parser below reports a webhook that has the wrong shape.
        let problems = WebhookAction::parse(action).map(|webhook| webhook.problems()).unwrap_or_default();
        let problems = problems.into_iter().take(MAX_WARNINGS);
        findings.extend(problems.map(|problem| finding(Severity::Error, place, problem)));
    }
    match Trigger::parse(&found.raw) {
        Err(bad) => {
            let problems = bad.problems.into_iter();
            findings
                .extend(problems.map(|problem| finding(Severity::Error, &problem.pointer, problem.message)));
            findings.sort_by(|a, b| a.place.cmp(&b.place));
        }
        Ok(trigger) => {
            let mut all = Warnings::default();
            all.extend(trigger.warnings().iter().map(|one| (one.pointer.clone(), one.message.clone())));
            all.extend(shapes(&written));
            if let Some(schema) = value.get("parameters") {
                all.extend(no_values::warnings(schema, &trigger, &rules.placeholders));
                all.extend(values::warnings(schema, &trigger, region, rules));
            }
            warnings(&trigger, &actions, &value, &mut all);
            let list = all.list.into_iter();
            findings.extend(list.map(|(place, message)| finding(Severity::Warning, &place, message)));
            if all.has_more {
                let message = format!("there are more warnings than these {MAX_WARNINGS}");
                findings.push(finding(Severity::Warning, "", message));
            }
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
    let actions = definition.get_mut("actions").and_then(Value::as_array_mut);
    for action in actions.into_iter().flatten() {
        if let Some(inside) = action.as_str().and_then(|text| serde_json::from_str(text).ok()) {
            *action = inside;
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
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let texts =
        ["parameters", "action", "actions"].into_iter().filter(|name| member(name).is_some_and(is_text));
    let actions = member("actions").and_then(Value::as_array).into_iter().flatten().enumerate();
    let in_list = actions.filter(|(_, action)| is_text(action)).map(|(index, _)| format!("/actions/{index}"));
    for place in texts.map(|name| format!("/{name}")).chain(in_list) {
        let message = "this is a text that holds JSON; write the JSON itself";
        warnings.push((place, message.to_owned()));
    }
    warnings
}

/// Adds what the author is unlikely to mean.
fn warnings(trigger: &Trigger, actions: &[(String, &Value)], definition: &Value, all: &mut Warnings) {
    let mut used = BTreeSet::new();
    let always_texts = webhook::always_texts(&definition["parameters"]);
    for (action, (place, raw)) in trigger.actions().iter().zip(actions) {
        match action {
            Action::UpsertContact(mapping) => {
                let fields: BTreeSet<Field> = mapping.iter().map(|(field, _)| field).collect();
                all.extend(empty_members(place, raw));
                used.extend(mapping.iter().map(|(_, parameter)| parameter.to_owned()));
                if !fields.contains(&Field::Phone) && !fields.contains(&Field::Email) {
                    all.push(
                        place,
                        "neither phone nor email is mapped; every event will create a new contact",
                    );
                }
            }
            Action::Webhook(_) => {
                let webhook = Webhook { action: raw, place, trigger, always_texts: &always_texts };
                webhook.warnings(&mut used, all);
            }
        }
    }
    let unused = trigger.parameters().iter().filter(|name| !used.contains(*name));
    all.extend(unused.map(|parameter| {
        let place = format!("/parameters/properties/{}", escaped(parameter));
        (place, "no action uses this parameter".to_owned())
    }));
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
