//! Resolves the `$variable`s of a webhook.
//!
//! The platform's own names (`session.id`, `company.id`, `assistant.id`, `images`, `images[0]`, `event.id`,
//! `contact.…`) come first, so that an argument from a language model cannot override them; then arguments,
//! then client data. A known name without a value (a declared parameter that was not given, no session, a
//! contact without a phone, an image beyond the list) is [`Value::Nothing`], unlike an unknown name.

use std::borrow::Cow;

use serde_json::Map;

use crate::domain::{
    contact::{Contact, Operation, field::Field},
    json::Digits,
    webhook::{
        request::{MAX_BODY, WebhookInvalid, too_long},
        template::{Piece, Reference, Template},
    },
};

/// Knows the names of parameters.
pub trait Declared {
    /// Whether there is a parameter of this name.
    fn declares(&self, name: &str) -> bool;
}

/// The values that the variables of a webhook step can have.
#[derive(Clone, Copy)]
pub struct Variables<'a> {
    /// `$event.id`: `CloudEvents` `id` of the trigger event.
    pub event_id: &'a str,
    /// `$company.id`.
    pub company_id: &'a str,
    /// `$session.id`.
    pub session_id: Option<&'a str>,
    /// `$assistant.id`.
    pub assistant_id: Option<&'a str>,
    /// `$images` and `$images[0]`.
    pub images: &'a [String],
    /// `$name` for each argument. Null counts as not given.
    pub arguments: (&'a Map<String, serde_json::Value>, &'a Digits),
    /// `$key` for each key of the client data, unless an argument has the same name.
    pub client_data: (&'a Map<String, serde_json::Value>, &'a Digits),
    /// The parameters of the chain's triggers, known even if they were not given.
    pub declared: &'a (dyn Declared + Sync),
    /// `$contact.…`, if a CRM step of the chain ran before.
    pub contact: Option<ContactView<'a>>,
}

/// The contact of the chain's last CRM step.
#[derive(Clone, Copy)]
pub struct ContactView<'a> {
    /// Its state after that step.
    pub contact: &'a Contact,
    /// The effect of that step.
    pub operation: Operation,
    /// Setting `events.include_identity`. Without it `$contact.identity` is an unknown name.
    pub include_identity: bool,
}

/// The value of a variable. Personal data: no `Debug`.
pub enum Value<'a> {
    /// From the event's ids or the contact.
    Text(Cow<'a, str>),
    /// The images.
    List(&'a [String]),
    /// An argument or client data, of any JSON type.
    Json(&'a serde_json::Value),
    /// A number that has no other representation, as it was written.
    Digits(&'a str),
    /// A known name without a value.
    Nothing,
}

impl<'a> Variables<'a> {
    /// The value of the longest known name in `reference`, and the text after that name. `None` if no name is
    /// known.
    #[must_use]
    pub fn resolve<'t>(&self, reference: &'t Reference) -> Option<(Value<'a>, &'t str)> {
        reference.candidates().find_map(|(name, rest)| Some((self.lookup(name)?, rest)))
    }

    fn lookup(&self, name: &str) -> Option<Value<'a>> {
        let optional = |text: Option<&'a str>| text.map_or(Value::Nothing, |text| Value::Text(text.into()));
        match name {
            "event.id" => return Some(Value::Text(self.event_id.into())),
            "company.id" => return Some(Value::Text(self.company_id.into())),
            "session.id" => return Some(optional(self.session_id)),
            "assistant.id" => return Some(optional(self.assistant_id)),
            "images" => return Some(Value::List(self.images)),
            _ => {}
        }
        if let Some(index) = name.strip_prefix("images[").and_then(|rest| rest.strip_suffix(']')) {
            let image = index.parse().ok().and_then(|index: usize| self.images.get(index));
            return Some(optional(image.map(String::as_str)));
        }
        if let Some(value) = name.strip_prefix("contact.").and_then(|field| self.contact?.lookup(field)) {
            return Some(value);
        }
        let given = |(values, digits): (&'a Map<String, serde_json::Value>, &'a Digits)| {
            let value = values.get(name)?;
            Some(
                digits
                    .get(name)
                    .filter(|_| value.is_number())
                    .map_or(Value::Json(value), |digits| Value::Digits(digits)),
            )
        };
        let argument =
            given(self.arguments).filter(|value| !matches!(value, Value::Json(serde_json::Value::Null)));
        argument
            .or_else(|| given(self.client_data))
            .or_else(|| self.declared.declares(name).then_some(Value::Nothing))
    }
}

impl<'a> ContactView<'a> {
    fn lookup(&self, name: &str) -> Option<Value<'a>> {
        match name {
            "id" => Some(Value::Text(self.contact.id.to_string().into())),
            "operation" => Some(Value::Text(self.operation.name().into())),
            _ => {
                let field: Field = name.parse().ok()?;
                if field == Field::Identity && !self.include_identity {
                    return None;
                }
                let value = self.contact.values.get(field);
                Some(value.map_or(Value::Nothing, |stamped| Value::Text(stamped.value.as_str().into())))
            }
        }
    }
}

impl Value<'_> {
    /// Whether it is a list or an object.
    #[must_use]
    pub const fn is_structure(&self) -> bool {
        matches!(self, Self::List(_) | Self::Json(serde_json::Value::Array(_) | serde_json::Value::Object(_)))
    }

    /// The value within longer text: text as it is, nothing and null as the empty text, anything else as
    /// compact JSON.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Digits(digits) => Cow::Borrowed(digits),
            Self::Json(serde_json::Value::String(text)) => Cow::Borrowed(text),
            Self::Nothing | Self::Json(serde_json::Value::Null) => Cow::Borrowed(""),
            Self::Json(_) | Self::List(_) => Cow::Owned(self.to_json()),
        }
    }

    /// Compact JSON of the value's own type. Nothing is `null`.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_ref()).to_string(),
            Self::List(list) => serde_json::Value::from(*list).to_string(),
            Self::Json(value) => value.to_string(),
            Self::Digits(digits) => (*digits).to_owned(),
            Self::Nothing => "null".to_owned(),
        }
    }
}

/// Renders a text template. Unknown variables stay as written.
pub(in crate::domain) fn push_text(
    out: &mut String,
    template: &Template,
    variables: &Variables<'_>,
    mut push_value: impl FnMut(&mut String, &Value<'_>),
) -> Result<(), WebhookInvalid> {
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable(reference) => match variables.resolve(reference) {
                Some((value, rest)) => {
                    push_value(out, &value);
                    out.push_str(rest);
                }
                None => out.push_str(reference.as_written()),
            },
        }
        if out.len() > MAX_BODY {
            return Err(too_long());
        }
    }
    Ok(())
}
