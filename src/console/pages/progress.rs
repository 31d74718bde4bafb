//! What the list of operations and the page of one operation have in common: title, state and progress.

use serde_json::Value;
use uuid::Uuid;

use super::parts::{Badge, Tone, count, printable, words};
use crate::operator::operations::{Action, Object, Operation};

/// The length of a whole progress bar, in units of its drawing.
const BAR: i64 = 1_000;

/// The gap between its parts, which nothing but their color would tell apart otherwise.
const GAP: i64 = 4;

/// How far an operation is, in numbers and as a bar.
pub(super) struct Progress {
    pub(super) settled: String,
    pub(super) total: String,
    pub(super) done: String,
    pub(super) skipped: String,
    pub(super) failed: String,
    /// The parts of the bar: where each begins, its width, and its meaning.
    pub(super) bar: Vec<(i64, i64, &'static str)>,
}

impl Progress {
    pub(super) fn new(operation: &Operation) -> Self {
        let settled = operation.done + operation.skipped + operation.failed;
        let parts = [
            (operation.done, Tone::Done),
            (operation.skipped, Tone::Waiting),
            (operation.failed, Tone::Failed),
        ];
        let (mut bar, mut before) = (Vec::new(), 0_i64);
        for (number, tone) in parts.into_iter().filter(|(number, _)| *number > 0) {
            let place = |number: i64| number.saturating_mul(BAR) / operation.total.max(1);
            let begin = place(before) + if bar.is_empty() { 0 } else { GAP };
            before += number;
            bar.push((begin, (place(before) - begin).max(1), tone.into()));
        }
        Self {
            settled: count(settled),
            total: count(operation.total),
            done: count(operation.done),
            skipped: count(operation.skipped),
            failed: count(operation.failed),
            bar,
        }
    }
}

/// The path of its page.
pub(super) fn path(id: Uuid) -> String {
    format!("/operations/{id}")
}

/// `Replay of 1,234 dead letters`.
pub(super) fn title(operation: &Operation) -> String {
    let action: Option<Action> = operation.action.parse().ok();
    let verb = action.map_or_else(|| words(&operation.action), |action| verb(action).to_owned());
    format!("{verb} of {}", things(operation.object(), operation.total))
}

/// `1,234 dead letters`.
pub(super) fn things(object: Object, number: i64) -> String {
    match (object, number) {
        (Object::DeadLetter, 1) => "1 dead letter".to_owned(),
        (Object::DeadLetter, _) => format!("{} dead letters", count(number)),
        (Object::Delivery, 1) => "1 delivery".to_owned(),
        (Object::Delivery, _) => format!("{} deliveries", count(number)),
    }
}

/// Its state, in the color of its meaning.
pub(super) fn badge(operation: &Operation) -> Badge {
    let tone = match operation.state.as_str() {
        "paused" if operation.paused_because.is_some() => Tone::Failed,
        "planning" | "running" | "paused" => Tone::Waiting,
        "done" if operation.failed > 0 => Tone::Failed,
        "done" => Tone::Done,
        _ => Tone::Quiet,
    };
    Badge::new(tone, &operation.state)
}

/// The name of a button.
pub(super) const fn verb(action: Action) -> &'static str {
    match action {
        Action::Replay => "Replay",
        Action::Discard | Action::DiscardDeliveries => "Discard",
        Action::Restore => "Restore",
        Action::Resend => "Resend",
    }
}

/// `{"reason": "broker", "states": ["open", "replaying"]}` as `reason broker, states open or replaying`.
pub(super) fn selection(value: &Value) -> String {
    match (value.get("ids").and_then(Value::as_u64), value.as_object()) {
        (Some(1), _) => "one, chosen by itself".to_owned(),
        (Some(count), _) => format!("{count}, chosen one by one"),
        (None, Some(members)) => {
            let members =
                members.iter().map(|(name, value)| format!("{} {}", words(name), text(value, name)));
            members.collect::<Vec<_>>().join(", ")
        }
        (None, None) => String::new(),
    }
}

fn text(value: &Value, name: &str) -> String {
    // Only these are names from the code, with underscores instead of spaces.
    let is_ours = matches!(name, "reason" | "stage" | "states");
    match value {
        Value::String(text) if is_ours => words(text),
        Value::String(text) => printable(text),
        Value::Array(texts) => texts.iter().map(|one| text(one, name)).collect::<Vec<_>>().join(" or "),
        other => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selection_is_a_sentence() {
        let filter = json!({ "reason": "webhook_exhausted", "company": "a\u{202e}_b", "states": ["open", "replaying"] });
        for (value, expected) in [
            (filter, "reason webhook exhausted, company a\u{fffd}_b, states open or replaying"),
            (json!({ "ids": 1 }), "one, chosen by itself"),
            (json!({ "ids": 7 }), "7, chosen one by one"),
            (json!({ "limit": 3 }), "limit 3"),
            (Value::Null, ""),
        ] {
            assert_eq!(selection(&value), expected);
        }
    }
}
