//! Parses a trigger definition: the parameters and actions that an author writes. Arguments play no role here.

mod wide_bodies;

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use crate::domain::{
    fault::Reason,
    json::{self, Defect, is_empty},
    trigger::{
        mapping::Mapping,
        parameters::Parameters,
        problem::{Problem, Problems},
        shapes, size, spelling,
    },
    value::text::quote,
    webhook::action::WebhookAction,
};

/// Name of a trigger, in characters.
const MAX_NAME: usize = 255;
/// Actions per trigger.
pub const MAX_ACTIONS: usize = 10;

/// A valid trigger definition.
pub struct Trigger {
    /// 1 to 255 characters without control characters.
    name: String,
    description: Option<String>,
    parameters: Parameters,
    interpret_response: bool,
    /// 1 to 10.
    actions: Vec<Action>,
    /// See [`Trigger::size`].
    size: usize,
}

/// An action. Once it runs, it is a step of the chain.
#[derive(Clone, Debug)]
pub enum Action {
    /// `CRM / UPSERT_CONTACT`.
    UpsertContact(Mapping),
    /// `WEBHOOK`.
    Webhook(Arc<WebhookAction>),
}

/// The problems of an invalid trigger definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct BadTrigger {
    /// `undecodable`, `event_invalid` (a member that every event needs is missing) or `trigger_invalid`.
    pub reason: Reason,
    /// The trigger's name, if it can be read.
    pub name: Option<String>,
    /// At least one, in the order in which they were found.
    pub problems: Vec<Problem>,
}

impl BadTrigger {
    /// All problems in one sentence, each with its pointer.
    #[must_use]
    pub fn message(&self) -> String {
        let say = |problem: &Problem| match problem.pointer.as_str() {
            "" => problem.message.clone(),
            pointer => format!("{pointer}: {}", problem.message),
        };
        self.problems.iter().map(say).collect::<Vec<_>>().join("; ")
    }
}

impl Trigger {
    /// Parses a definition, which is a JSON object. Ignores unknown members.
    ///
    /// # Errors
    /// All problems of the definition at once.
    pub fn parse(raw: &str) -> Result<Self, BadTrigger> {
        let mut object = object(raw)?;
        for key in ["parameters", "action", "actions"] {
            object.get_mut(key).into_iter().for_each(unwrap);
        }
        object.get_mut("actions").and_then(Value::as_array_mut).into_iter().flatten().for_each(unwrap);
        let mut problems = Problems::default();
        let name = name(&object, &mut problems);
        // Every event needs a name and actions; any later problem is the definition's own.
        let actions = listed_actions(&object, &mut problems);
        let reason = if problems.count() > 0 { Reason::EventInvalid } else { Reason::TriggerInvalid };

        check_name(name, &mut problems);
        // Only shown to people, so no other value is worth an event.
        let description = object.get("description").and_then(Value::as_str);
        let interpret = interpret_response(&object, &mut problems);
        let parameters = match said(&object, "parameters") {
            Some(schema) => problems.within("parameters", |problems| Parameters::compile(schema, problems)),
            None => Parameters::default(),
        };
        let actions = actions.into_iter().filter_map(|(path, action)| {
            problems.within_all(&path, |problems| parse_action(action, &parameters, problems))
        });
        let actions: Vec<Action> = actions.collect();

        let problems = problems.into_vec();
        if !problems.is_empty() {
            let name = name.filter(|name| is_name(name)).map(ToOwned::to_owned);
            return Err(BadTrigger { reason, name, problems });
        }
        // What is compiled takes about as much as twice the decoded text.
        let size = 2 * size::of_members(&object) + parameters.size();
        Ok(Self {
            size,
            name: name.unwrap_or_default().to_owned(),
            description: description.map(ToOwned::to_owned),
            parameters,
            interpret_response: interpret,
            actions,
        })
    }

    /// 1 to 255 characters without control characters.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The author's description of its purpose.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Whether the platform waits for `trigger.completed`, the result of the chain.
    #[must_use]
    pub const fn interprets_response(&self) -> bool {
        self.interpret_response
    }

    /// 1 to 10, in the author's order.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The names of the declared parameters.
    #[must_use]
    pub fn parameters(&self) -> &[String] {
        self.parameters.declared()
    }

    /// Whether there is a parameter of this name.
    #[must_use]
    pub fn declares(&self, name: &str) -> bool {
        self.parameters.declares(name)
    }

    /// Whether this argument may be null: it is not required, or its schema accepts null.
    #[must_use]
    pub fn accepts_null(&self, name: &str) -> bool {
        self.parameters.accepts_null(name)
    }

    /// What was left out of the schema of the parameters because it cannot be checked, or is read in another way.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        self.parameters.warnings()
    }

    /// About how much memory it takes, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Validates arguments, an object, against the declared parameters. A null counts as not given, unless its
    /// parameter is required and accepts it.
    ///
    /// # Errors
    /// A sentence that names a parameter and a rule, never values.
    pub fn check_arguments(&self, arguments: &Value) -> Result<(), String> {
        self.parameters.check(arguments)
    }
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers of a webhook contain secrets.
        f.debug_struct("Trigger").field("name", &self.name).finish_non_exhaustive()
    }
}

fn object(raw: &str) -> Result<Map<String, Value>, BadTrigger> {
    // Schemas contain limits of other number types.
    let read = |raw: &str| json::object_with("parameters", raw);
    let object = read(raw).or_else(|bad| match wide_bodies::as_texts(raw) {
        Some(raw) if bad.defect == Defect::WideNumber => read(&raw),
        _ => Err(bad),
    });
    object.map_err(|bad| {
        let reason = match bad.defect {
            Defect::Syntax { .. } | Defect::DuplicateKey => Reason::Undecodable,
            Defect::NotAnObject => Reason::EventInvalid,
            Defect::WideNumber => Reason::TriggerInvalid,
        };
        let mut problems = Problems::default();
        match bad.member {
            Some(member) => problems.push_in(member, bad.defect.to_string()),
            None => problems.push(bad.defect.to_string()),
        }
        BadTrigger { reason, name: peek_name(raw), problems: problems.into_vec() }
    })
}

/// The name in a definition that cannot be parsed as a whole.
fn peek_name(raw: &str) -> Option<String> {
    let members = json::members(raw).ok()?;
    let (_, name) = members.into_iter().find(|(key, _)| key == "name")?;
    serde_json::from_str(name.get()).ok().filter(|name: &String| is_name(name))
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_control) && name.chars().nth(MAX_NAME).is_none()
}

/// A member; null counts as absent.
fn given<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// A member; null and an empty text count as absent.
fn said<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    given(object, key).filter(|value| value.as_str().is_none_or(|text| !text.trim().is_empty()))
}

/// Replaces a text that holds JSON by what it holds.
fn unwrap(member: &mut Value) {
    if let Some(value) = member.as_str().and_then(spelling::value_in) {
        *member = value;
    }
}

fn name<'a>(object: &'a Map<String, Value>, problems: &mut Problems) -> Option<&'a str> {
    let name = given(object, "name");
    let text = name.and_then(Value::as_str);
    match (name, text) {
        (None, _) => problems.push_in("name", "is required"),
        (Some(_), None) => problems.push_in("name", "must be a string"),
        (Some(_), Some(_)) => {}
    }
    text
}

fn check_name(name: Option<&str>, problems: &mut Problems) {
    if name.is_some_and(|name| !is_name(name)) {
        problems.push_in("name", format!("must be 1 to {MAX_NAME} characters without control characters"));
    }
}

fn interpret_response(object: &Map<String, Value>, problems: &mut Problems) -> bool {
    let Some(value) = said(object, "interpretResponse") else { return false };
    let flag = shapes::flag(value);
    if flag.is_none() {
        problems.push_in("interpretResponse", "must be true or false");
    }
    flag.unwrap_or_default()
}

/// The actions and their paths: `action` (one) or `actions` (1 to 10). If both are given, an empty one counts as
/// absent.
fn listed_actions<'a>(
    object: &'a Map<String, Value>,
    problems: &mut Problems,
) -> Vec<(Vec<String>, &'a Value)> {
    let (mut action, mut actions) = (given(object, "action"), given(object, "actions"));
    if action.is_some() && actions.is_some() {
        let has_content = |value: &&Value| !is_empty(value);
        (action, actions) = (action.filter(has_content), actions.filter(has_content));
    }
    match (action, actions) {
        (Some(action), None) => return vec![(vec!["action".into()], action)],
        (None, Some(Value::Array(actions))) if (1..=MAX_ACTIONS).contains(&actions.len()) => {
            let path = |index: usize| vec!["actions".into(), index.to_string()];
            return actions.iter().enumerate().map(|(index, action)| (path(index), action)).collect();
        }
        (None, Some(_)) => {
            problems.push_in("actions", format!("must be a list of 1 to {MAX_ACTIONS} actions"));
        }
        (None, None) => problems.push("one of `action` and `actions` is required"),
        (Some(_), Some(_)) => problems.push("give either `action` or `actions`, not both"),
    }
    Vec::new()
}

fn parse_action(action: &Value, parameters: &Parameters, problems: &mut Problems) -> Option<Action> {
    let Some(object) = action.as_object() else {
        problems.push("must be an object");
        return None;
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    match (text("type"), text("subtype")) {
        (Some("CRM"), Some("UPSERT_CONTACT")) => {
            Some(Action::UpsertContact(Mapping::read(object, parameters, problems)))
        }
        (Some("CRM"), _) => {
            problems.push_in("subtype", "must be `UPSERT_CONTACT`");
            None
        }
        (Some("WEBHOOK"), _) => match WebhookAction::parse(action) {
            Ok(webhook) => Some(Action::Webhook(Arc::new(webhook))),
            Err(message) => {
                problems.push(message);
                None
            }
        },
        (Some(other), _) => {
            problems.push_in("type", format!("unknown type {}; write `CRM` or `WEBHOOK`", quote(other)));
            None
        }
        (None, _) => {
            problems.push_in("type", "is required; write `CRM` or `WEBHOOK`");
            None
        }
    }
}

#[cfg(test)]
mod tests;
