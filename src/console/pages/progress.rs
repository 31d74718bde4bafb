//! What the list of operations and the page of one operation have in common: title, state and progress.

use serde_json::Value;
use uuid::Uuid;

use super::parts::{Badge, Tone, count, printable, words};
use crate::operator::operations::{Action, Object, Operation};

/// The length of a whole progress bar, in units of its drawing.
const BAR: i64 = 1_000;

/// The gap between its parts, which nothing but their color would tell apart otherwise.
const GAP: i64 = 4;

/// The length of the smallest part: one failure of a million must be seen.
const LEAST: i64 = 4;

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
        Self {
            settled: count(settled),
            total: count(operation.total),
            done: count(operation.done),
            skipped: count(operation.skipped),
            failed: count(operation.failed),
            bar: bar(parts, operation.total),
        }
    }
}

/// Where each part of a progress bar begins, its length, and its meaning. Each has the least length and a share of what that leaves.
fn bar(parts: [(i64, Tone); 3], total: i64) -> Vec<(i64, i64, &'static str)> {
    let parts: Vec<(i64, Tone)> = parts.into_iter().filter(|(number, _)| *number > 0).collect();
    let settled: i64 = parts.iter().map(|(number, _)| number).sum();
    let taken: i64 = parts.iter().map(|_| LEAST + GAP).sum::<i64>() - GAP;
    let free = (settled.saturating_mul(BAR) / total.max(1) - taken).max(0);
    let mut begin = 0;
    let part = |(number, tone): (i64, Tone)| {
        let place = begin;
        let length = LEAST + free.saturating_mul(number) / settled;
        begin += length + GAP;
        (place, length, tone.into())
    };
    parts.into_iter().map(part).collect()
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
    fn every_part_of_the_bar_is_seen() {
        let of = |[done, skipped, failed]: [i64; 3], total: i64| {
            let parts = [(done, Tone::Done), (skipped, Tone::Waiting), (failed, Tone::Failed)];
            bar(parts, total).into_iter().map(|(begin, length, _)| (begin, length)).collect::<Vec<_>>()
        };
        for (numbers, total, expected) in [
            ([0, 0, 0], 0, &[][..]),
            ([0, 0, 0], 9, &[]),
            ([1, 0, 0], 1, &[(0, 1_000)]),
            ([1, 0, 0], 100_000, &[(0, 4)]),
            ([500, 0, 0], 1_000, &[(0, 500)]),
            ([999, 0, 1], 1_000, &[(0, 991), (995, 4)]),
            ([499_999, 1, 500_000], 1_000_000, &[(0, 493), (497, 4), (505, 494)]),
        ] {
            assert_eq!(of(numbers, total), expected, "{numbers:?} of {total}");
        }
        for numbers in [[99_700, 0, 300], [1, 1, 1], [0, 1, 99_999], [100_000, 1, 1]] {
            let parts = of(numbers, numbers.iter().sum());
            assert!(parts.windows(2).all(|two| two[0].0 + two[0].1 + GAP == two[1].0), "{parts:?}");
            assert!(
                parts.iter().all(|(begin, length)| *length >= LEAST && begin + length <= BAR),
                "{parts:?}"
            );
        }
    }

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
