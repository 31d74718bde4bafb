//! Slack's incoming webhooks: what a message looks like, and what its answers mean.
//!
//! Pure shaping of what is rendered already: which endpoint speaks Slack is decided elsewhere, and
//! nothing here decides what happens to a delivery.

mod answer;

use std::borrow::Cow;

use serde_json::{Value, json};

pub use self::answer::{Problem, explain, problem};

/// The longest `text`, in characters; Slack cuts what is longer
/// (<https://api.slack.com/changelog/2018-04-truncating-really-long-messages>).
pub const MAX_TEXT: usize = 40_000;
/// The most `blocks` of one message (<https://docs.slack.dev/reference/block-kit/blocks>).
pub const MAX_BLOCKS: usize = 50;

/// The members of which a message must have one.
const MESSAGE_MEMBERS: [&str; 3] = ["text", "blocks", "attachments"];

/// Writes `&`, `<` and `>` as entities, so that no value mentions anybody (`<!channel>`) or links anywhere
/// (`<https://…|text>`): <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
///
/// On the JSON text of a value it escapes the strings only, because JSON has none of the three elsewhere.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// The message of a webhook without a body of its own, made from the event that others would be sent.
#[must_use]
pub fn event_message(event: &[u8]) -> Vec<u8> {
    text_message(&event_text(event))
}

/// The message with this text, in which values are escaped already.
#[must_use]
pub fn text_message(text: &str) -> Vec<u8> {
    json!({ "text": cut(text) }).to_string().into_bytes()
}

/// The message for a JSON body, in which values are escaped already: as it is when it is a message, else
/// its members as lines. `event` stands in for a body that says nothing.
#[must_use]
pub fn json_message(body: Value, event: &[u8]) -> Vec<u8> {
    match body {
        Value::Object(mut message) if MESSAGE_MEMBERS.iter().any(|name| message.contains_key(*name)) => {
            if let Some(text) = message.get_mut("text") {
                *text = cut(&shown(text)).into();
            }
            if let Some(Value::Array(blocks)) = message.get_mut("blocks") {
                cut_blocks(blocks);
            }
            Value::Object(message).to_string().into_bytes()
        }
        other => {
            let text = listing(&other);
            if text.is_empty() { event_message(event) } else { text_message(&text) }
        }
    }
}

/// What a `contact.upserted` or `webhook.requested` event says, in a few lines for people. Escaped.
#[must_use]
pub fn event_text(event: &[u8]) -> String {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    let at = |pointer: &str| {
        let text = event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())?;
        Some(escape(&one_line(text)).into_owned())
    };
    let heading = match event.pointer("/data/operation").and_then(Value::as_str) {
        Some("created") => "New contact",
        Some("updated") => "Contact updated",
        Some("unchanged") => "Known contact",
        _ => "Trigger fired",
    };
    let mut text = match at("/data/contact/name") {
        Some(name) => format!("*{heading}*: {name}"),
        None => format!("*{heading}*"),
    };
    for (label, pointer) in [
        ("Company", "/data/contact/company"),
        ("Email", "/data/contact/email"),
        ("Phone", "/data/contact/phone"),
        ("Trigger", "/data/trigger/name"),
    ] {
        if let Some(value) = at(pointer) {
            text.extend(["\n*", label, "*: ", &value]);
        }
    }
    text
}

/// One line for each member, item or value that there is.
fn listing(body: &Value) -> String {
    let is_there = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    let lines: Vec<String> = match body {
        Value::Object(members) => {
            let there = members.iter().filter(|(_, value)| is_there(value));
            there.map(|(key, value)| format!("*{}*: {}", one_line(key), one_line(&shown(value)))).collect()
        }
        Value::Array(items) => items.iter().filter(is_there).map(|item| one_line(&shown(item))).collect(),
        other => return shown(other).into_owned(),
    };
    lines.join("\n")
}

/// A value as text: strings as they are, nothing for null, all else as JSON.
fn shown(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// The text without line breaks: a value must not write lines that look like ours.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// The text, or as much of it as Slack shows, with an ellipsis. No entity is cut in two.
fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().nth(MAX_TEXT).is_none() {
        return Cow::Borrowed(text);
    }
    let end = text.char_indices().nth(MAX_TEXT - 1).map_or(text.len(), |(end, _)| end);
    let kept = text.get(..end).unwrap_or_default();
    // The longest entity is `&amp;`: one that is whole or cut begins in the last four characters.
    let entity = kept.rfind('&').filter(|at| {
        let rest = kept.get(*at..).unwrap_or_default();
        !rest.contains(';') && ["&amp;", "&lt;", "&gt;"].iter().any(|entity| entity.starts_with(rest))
    });
    let kept = entity.and_then(|at| kept.get(..at)).unwrap_or(kept);
    Cow::Owned(format!("{kept}…"))
}

/// Leaves as many blocks as Slack takes, the last of which says how many are missing.
fn cut_blocks(blocks: &mut Vec<Value>) {
    if blocks.len() > MAX_BLOCKS {
        let missing = blocks.len() - (MAX_BLOCKS - 1);
        blocks.truncate(MAX_BLOCKS - 1);
        let text = json!({"type": "plain_text", "text": format!("… and {missing} more")});
        blocks.push(json!({"type": "section", "text": text}));
    }
}

#[cfg(test)]
mod tests;
