//! Slack's incoming webhooks: the format of messages and the meaning of answers.
//!
//! Which endpoints are Slack's, and what happens to a delivery, is decided elsewhere.

mod answer;

use std::borrow::Cow;

use serde_json::{Value, json};

pub use self::answer::{Problem, explain, problem};

/// Length of `text` in characters; Slack truncates longer ones
/// (<https://api.slack.com/changelog/2018-04-truncating-really-long-messages>).
pub const MAX_TEXT: usize = 40_000;
/// Number of `blocks` per message (<https://docs.slack.dev/reference/block-kit/blocks>).
pub const MAX_BLOCKS: usize = 50;

/// A message needs at least one of these members.
const MESSAGE_MEMBERS: [&str; 3] = ["text", "blocks", "attachments"];

/// Replaces `&`, `<` and `>` with entities, so that no value can mention anybody (`<!channel>`) or link
/// anywhere (`<https://…|text>`): <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
///
/// Also safe on JSON, where only strings contain these characters.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// Summarizes the event that other receivers would get. For webhooks without a body.
#[must_use]
pub fn event_message(event: &[u8]) -> Vec<u8> {
    text_message(&event_text(event))
}

/// Wraps a text whose values are escaped already. Cuts it to [`MAX_TEXT`].
#[must_use]
pub fn text_message(text: &str) -> Vec<u8> {
    json!({ "text": cut(text) }).to_string().into_bytes()
}

/// Turns a JSON body whose values are escaped already into a message: a Slack message stays as it is, the
/// members of anything else become lines. An empty body becomes a summary of `event`.
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

/// Summarizes a `contact.upserted` or `webhook.requested` event in a few lines. Escaped.
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

/// One line for each member or item that has a value.
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

/// Strings as they are, null as the empty text, anything else as JSON.
fn shown(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Replaces line breaks, so that a value cannot add lines that look like ours.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// Cuts the text to [`MAX_TEXT`] with an ellipsis, never in the middle of an entity.
fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().nth(MAX_TEXT).is_none() {
        return Cow::Borrowed(text);
    }
    let end = text.char_indices().nth(MAX_TEXT - 1).map_or(text.len(), |(end, _)| end);
    let kept = text.get(..end).unwrap_or_default();
    // An entity that was cut has lost its semicolon and is a prefix of one of the three.
    let entity = kept.rfind('&').filter(|at| {
        let rest = kept.get(*at..).unwrap_or_default();
        !rest.contains(';') && ["&amp;", "&lt;", "&gt;"].iter().any(|entity| entity.starts_with(rest))
    });
    let kept = entity.and_then(|at| kept.get(..at)).unwrap_or(kept);
    Cow::Owned(format!("{kept}…"))
}

/// Cuts to [`MAX_BLOCKS`]; the last block then says how many are missing.
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
