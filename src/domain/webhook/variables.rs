//! What a `$variable` of a webhook stands for.
//!
//! The platform's own names (`session.id`, `company.id`, `assistant.id`, `images`, `images[0]`, `event.id`,
//! `contact.…`) come first, so no argument that a language model fills in can pass for them; then
//! arguments, then client data. A name that is known and has no value (no session, a contact without a
//! phone, an image beyond the list) is [`Value::Nothing`], which is not the same as an unknown name.

use std::borrow::Cow;

use serde_json::Map;

use crate::domain::{
    contact::{Contact, Operation, field::Field},
    webhook::{
        request::{MAX_BODY, WebhookInvalid, too_long},
        template::{Piece, Reference, Template},
    },
};

/// What the variables of one webhook step can refer to.
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
    /// Every argument, as `$name`.
    pub arguments: &'a Map<String, serde_json::Value>,
    /// Every key of the client data that is not an argument too, as `$key`.
    pub client_data: &'a Map<String, serde_json::Value>,
    /// `$contact.…`, when a CRM step of the chain ran before.
    pub contact: Option<ContactView<'a>>,
}

/// The contact that the chain upserted.
#[derive(Clone, Copy)]
pub struct ContactView<'a> {
    /// The contact as of then.
    pub contact: &'a Contact,
    /// What the upsert did.
    pub operation: Operation,
    /// Whether `$contact.identity` may be read (setting `events.include_identity`). An unknown name otherwise.
    pub include_identity: bool,
}

/// The value of a variable. Personal data: no `Debug`.
pub enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A list of texts.
    List(&'a [String]),
    /// A value of the event, of any JSON type.
    Json(&'a serde_json::Value),
    /// Known, and without a value.
    Nothing,
}

impl<'a> Variables<'a> {
    /// The value of the longest known name at `reference`, and the text that follows that name.
    /// `None` when no name is known.
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
        self.arguments.get(name).or_else(|| self.client_data.get(name)).map(Value::Json)
    }
}

impl<'a> ContactView<'a> {
    fn lookup(&self, name: &str) -> Option<Value<'a>> {
        match name {
            "id" => Some(Value::Text(self.contact.id.to_string().into())),
            "operation" => Some(Value::Text(self.operation.name().into())),
            _ => {
                let field = Field::from_name(name)?;
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
    /// The value inside longer text: text as it is, numbers and booleans as JSON writes them, lists and
    /// objects as compact JSON, nothing and null as the empty text.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(serde_json::Value::String(text)) => Cow::Borrowed(text),
            Self::Nothing | Self::Json(serde_json::Value::Null) => Cow::Borrowed(""),
            Self::Json(_) | Self::List(_) => Cow::Owned(self.to_json()),
        }
    }

    /// The value as compact JSON of its own type; nothing is `null`.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_ref()).to_string(),
            Self::List(list) => serde_json::Value::from(*list).to_string(),
            Self::Json(value) => value.to_string(),
            Self::Nothing => "null".to_owned(),
        }
    }
}

/// Writes a text template; what is unknown stays as written.
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
