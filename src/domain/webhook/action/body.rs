//! The body of a webhook: JSON with variables in its strings, or text.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};

use super::url_template::percent_encode;
use crate::domain::{
    json,
    webhook::{
        request::{MAX_BODY, WebhookInvalid, too_long},
        slack,
        template::{Piece, Template},
        variables::{Variables, push_text},
    },
};

/// The member `body` as its author wrote it.
pub(in crate::domain) enum Body {
    /// JSON, or a string that holds JSON.
    Json(Json),
    /// A form. Values are percent-encoded, so none can add a parameter.
    Form(Template),
    /// Any other string.
    Text(Template),
}

/// Escapes the text of a value, or its JSON, before it is inserted.
type Escape = for<'t> fn(&'t str) -> Cow<'t, str>;

/// JSON with its strings parsed as templates.
pub(in crate::domain) enum Json {
    /// A value without variables, as compact JSON. Numbers of a text stay as they are written.
    Fixed(String),
    /// A string with variables.
    Text(Template),
    Array(Vec<Self>),
    /// Keys as JSON strings; variables in keys are not replaced.
    Object(Vec<(String, Self)>),
}

impl Body {
    /// `content_type` is the one in the author's headers, if any.
    ///
    /// A string is JSON if it is valid once bare variables (`{"age": $age}`) are quoted, and either an object or a
    /// list or declared as JSON. Its values then are typed and escaped like those of any JSON body, and cannot
    /// break out of it, under any content type that the author declares.
    ///
    /// # Errors
    /// If it has variables and is declared as JSON but is not: inserted as text, a value could change its
    /// structure.
    pub(super) fn parse(value: &Value, content_type: Option<&str>) -> Result<Self, WebhookInvalid> {
        let Value::String(text) = value else { return Ok(Self::Json(Json::parse(value, &[]))) };
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        let json = as_json(text);
        let is_declared = is_json(&media_type);
        if is_declared && json.is_none() && Template::parse(text).has_variables() {
            return Err(WebhookInvalid::new("the body is declared as JSON but is not JSON"));
        }
        Ok(match json.filter(|(value, _)| is_declared || value.is_object() || value.is_array()) {
            Some((value, numbers)) => Self::Json(Json::parse(&value, &numbers)),
            None if media_type == "application/x-www-form-urlencoded" => Self::Form(Template::parse(text)),
            None => Self::Text(Template::parse(text)),
        })
    }

    /// The content type if the author declared none.
    pub(in crate::domain) fn content_type(&self, variables: &Variables<'_>) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Form(_) => "application/x-www-form-urlencoded",
            Self::Text(template) if is_one_structure(template, variables) => "application/json",
            Self::Text(_) => "text/plain; charset=utf-8",
        }
    }

    /// The body as a receiver without a profile gets it.
    pub(in crate::domain) fn render(&self, variables: &Variables<'_>) -> Result<Vec<u8>, WebhookInvalid> {
        let mut out = String::new();
        match self {
            Self::Json(body) => body.render(&mut out, variables, |text| text.into())?,
            Self::Form(template) => push_text(&mut out, template, variables, |out, value| {
                percent_encode(out, &value.to_text());
            })?,
            Self::Text(template) => {
                push_text(&mut out, template, variables, |out, value| out.push_str(&value.to_text()))?;
            }
        }
        Ok(out.into_bytes())
    }

    /// Renders a Slack message. An empty body becomes a summary of `event`.
    pub(in crate::domain) fn render_for_slack(
        &self,
        variables: &Variables<'_>,
        event: &[u8],
    ) -> Result<Vec<u8>, WebhookInvalid> {
        let mut out = String::new();
        match self {
            Self::Json(body) => {
                body.render(&mut out, variables, slack::escape)?;
                // It is valid JSON, but a value may nest deeper than the parser's limit, and the author's numbers may
                // be of any size.
                let message = json::parse(out.as_bytes()).ok_or_else(|| {
                    WebhookInvalid::new(
                        "the body is nested too deeply for Slack, or has a number of more than 64 bits",
                    )
                })?;
                Ok(slack::json_message(message, event))
            }
            Self::Form(template) | Self::Text(template) => {
                push_text(&mut out, template, variables, |out, value| {
                    out.push_str(&slack::escape(&value.to_text()));
                })?;
                Ok(slack::text_message(&out))
            }
        }
    }
}

fn is_json(media_type: &str) -> bool {
    matches!(media_type, "application/json" | "text/json" | "application/x-json" | "text/x-json")
        || media_type.ends_with("+json")
}

impl Json {
    /// `numbers` are those of a text, in which the value has their indexes; see [`as_json`].
    fn parse(value: &Value, numbers: &[String]) -> Self {
        match value {
            Value::String(text) => {
                let template = Template::parse(text);
                if template.has_variables() { Self::Text(template) } else { Self::Fixed(value.to_string()) }
            }
            Value::Array(items) => Self::Array(items.iter().map(|item| Self::parse(item, numbers)).collect()),
            Value::Object(members) => {
                let member = |(key, value): (&String, &Value)| {
                    (Value::from(key.as_str()).to_string(), Self::parse(value, numbers))
                };
                Self::Object(members.iter().map(member).collect())
            }
            Value::Number(number) => {
                let index = number.as_u64().and_then(|index| usize::try_from(index).ok());
                let written = index.and_then(|index| numbers.get(index));
                Self::Fixed(written.cloned().unwrap_or_else(|| number.to_string()))
            }
            Value::Null | Value::Bool(_) => Self::Fixed(value.to_string()),
        }
    }

    fn render(
        &self,
        out: &mut String,
        variables: &Variables<'_>,
        escape: Escape,
    ) -> Result<(), WebhookInvalid> {
        match self {
            Self::Fixed(json) => out.push_str(json),
            Self::Text(template) => render_string(out, template, variables, escape)?,
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    item.render(out, variables, escape)?;
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(key);
                    out.push(':');
                    value.render(out, variables, escape)?;
                }
                out.push('}');
            }
        }
        if out.len() > MAX_BODY { Err(too_long()) } else { Ok(()) }
    }
}

/// Whether a text is exactly one variable, and that is a list or an object.
fn is_one_structure(template: &Template, variables: &Variables<'_>) -> bool {
    let [Piece::Variable(reference)] = template.pieces() else { return false };
    variables.resolve(reference).is_some_and(|(value, rest)| rest.is_empty() && value.is_structure())
}

/// A string that is exactly one variable takes the variable's type; any other stays a string.
fn render_string(
    out: &mut String,
    template: &Template,
    variables: &Variables<'_>,
    escape: Escape,
) -> Result<(), WebhookInvalid> {
    if let [Piece::Variable(reference)] = template.pieces()
        && let Some((value, "")) = variables.resolve(reference)
    {
        out.push_str(&escape(&value.to_json()));
        return Ok(());
    }
    let mut text = String::new();
    push_text(&mut text, template, variables, |out, value| out.push_str(&escape(&value.to_text())))?;
    out.push_str(&Value::from(text).to_string());
    Ok(())
}

/// The JSON that a string is once each variable has a value. Editors may put a byte order mark before it.
///
/// Numbers may have more digits than 64 bits can hold. So each number in the JSON is only the index of its text in the
/// list.
pub(super) fn as_json(text: &str) -> Option<(Value, Vec<String>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut numbers = Vec::new();
    let value = json::parse(without_bare_parts(text, &mut numbers).as_bytes())?;
    Some((value, numbers))
}

/// Outside of JSON strings, puts quotes around each variable, and replaces each number by its index in `numbers`.
fn without_bare_parts(text: &str, numbers: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut inside, mut escaped) = (false, false);
    for piece in Template::parse(text).pieces() {
        match piece {
            Piece::Text(text) => {
                let mut rest: &str = text;
                while let Some(c) = rest.chars().next() {
                    let number = if inside { "" } else { number(rest) };
                    let length = if number.is_empty() { c.len_utf8() } else { number.len() };
                    let Some((part, after)) = rest.split_at_checked(length) else { break };
                    rest = after;
                    if !number.is_empty() && serde_json::from_str::<&RawValue>(number).is_ok() {
                        out.push_str(&numbers.len().to_string());
                        numbers.push(number.to_owned());
                        continue;
                    }
                    inside ^= c == '"' && !escaped;
                    escaped = inside && c == '\\' && !escaped;
                    out.push_str(part);
                }
            }
            Piece::Variable(reference) if inside => {
                escaped = false;
                out.push_str(reference.as_written());
            }
            Piece::Variable(reference) => {
                out.extend(["\"", reference.as_written(), "\""]);
            }
        }
    }
    out
}

/// The number that the text begins with. JSON may not allow it (`01`, `1.`).
fn number(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return "";
    }
    let is_inside = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    text.get(..text.find(|c| !is_inside(c)).unwrap_or(text.len())).unwrap_or_default()
}
