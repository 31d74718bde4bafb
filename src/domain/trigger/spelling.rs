//! Members that programs spell differently than their type requires: JSON as a text, a time in a language's own
//! notation. Each is converted to the required form, and nothing is guessed.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, value::RawValue};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::domain::{
    event::{without_mark, without_nan},
    json::{self, Members},
};

/// The JSON that stands in a text as JSON: `function.arguments` of `OpenAI`, a column of a database. Anything else as
/// it is.
#[must_use]
pub fn unwrapped(json: &str) -> Cow<'_, str> {
    let inside = if json.starts_with('"') { serde_json::from_str::<String>(json).ok() } else { None };
    match inside.filter(|inside| inside.trim_start().starts_with(['{', '['])) {
        Some(inside) => Cow::Owned(without_nan(&inside).unwrap_or(inside)),
        None => Cow::Borrowed(json),
    }
}

/// The value of a text that holds strict JSON, an object or a list.
pub(super) fn value_in(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut object =
        json::object(&format!("{{\"value\":{text}}}")).ok().filter(|object| object.len() == 1)?;
    object.remove("value")
}

/// The event as JSON: `null` for `NaN`, and its data as an object even if they are in a text or in base64. `None` if
/// that changes nothing.
pub(super) fn event(text: &str) -> Option<String> {
    let plain = without_nan(text);
    let unfolded = with_data(plain.as_deref().unwrap_or(text)).filter(|event| json::is_shallow(event));
    unfolded.or(plain)
}

/// The event with its data as an object. `data_base64` is what SDKs of CloudEvents write for data that they were given
/// as bytes (CloudEvents 1.0, JSON format, 3.1.1).
fn with_data(text: &str) -> Option<String> {
    let members = json::members(text).ok().filter(|members| !json::has_duplicate(members))?;
    let data = data(&members)?;
    let mut out = String::with_capacity(text.len());
    out.push('{');
    for (key, value) in members.iter().filter(|(key, _)| !matches!(key.as_str(), "data" | "data_base64")) {
        out.extend([Value::from(key.as_str()).to_string().as_str(), ":", value.get(), ","]);
    }
    out.extend(["\"data\":", &data, "}"]);
    Some(out)
}

/// The data from a text or from base64.
fn data(members: &Members<'_>) -> Option<String> {
    let text = |name: &str| {
        let value: Option<&RawValue> = members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        serde_json::from_str::<String>(value?.get()).ok()
    };
    let decoded = || {
        let bytes = STANDARD.decode(text("data_base64")?.trim_ascii()).ok()?;
        String::from_utf8(without_mark(&bytes).to_vec()).ok()
    };
    let is_there = members.iter().any(|(key, value)| key == "data" && value.get() != "null");
    let data = if is_there { text("data") } else { decoded() }?;
    let data = without_nan(&data).unwrap_or(data);
    Some(data).filter(|data| json::is_shallow(data) && json::members(data).is_ok())
}

/// The event as it is read: its data, its definitions, its arguments and its client data as JSON where they are in
/// texts. `None` if none of them does.
pub(super) fn unfolded(text: &str) -> Option<String> {
    // JSON in a text has escapes, unless it is empty or of numbers.
    if !["\\\"", "\\u0022", "data_base64"].iter().any(|sign| text.contains(sign)) {
        return None;
    }
    let event = event(text);
    let in_data = |key: &str, value: &str| match key {
        "trigger" | "arguments" | "clientData" => in_text(value),
        "next" => list(value),
        _ => None,
    };
    let in_event = |key: &str, value: &str| if key == "data" { with(value, in_data) } else { None };
    with(event.as_deref().unwrap_or(text), in_event).or(event)
}

/// The object with other values for some of its members. `None` if that changes nothing, or a key is there twice.
fn with(object: &str, other: impl Fn(&str, &str) -> Option<String>) -> Option<String> {
    let members = json::members(object).ok().filter(|members| !json::has_duplicate(members))?;
    let others: Vec<Option<String>> = members.iter().map(|(key, value)| other(key, value.get())).collect();
    if others.iter().all(Option::is_none) {
        return None;
    }
    let mut out = String::with_capacity(object.len());
    for ((key, value), other) in members.iter().zip(&others) {
        let value = other.as_deref().unwrap_or(value.get());
        out.push(if out.is_empty() { '{' } else { ',' });
        out.extend([Value::from(key.as_str()).to_string().as_str(), ":", value]);
    }
    out.push('}');
    Some(out)
}

/// The JSON in a text.
fn in_text(value: &str) -> Option<String> {
    let Cow::Owned(inside) = unwrapped(value) else { return None };
    let is_json = json::is_shallow(&inside) && serde_json::from_str::<&RawValue>(&inside).is_ok();
    is_json.then_some(inside)
}

/// The list without texts around its items.
fn list(value: &str) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    let others: Vec<Option<String>> = items.iter().map(|item| in_text(item.get())).collect();
    if others.iter().all(Option::is_none) {
        return None;
    }
    let items = items.iter().zip(&others).map(|(item, other)| other.as_deref().unwrap_or(item.get()));
    Some(format!("[{}]", items.collect::<Vec<_>>().join(",")))
}

/// Whether it is `1.0`. JavaScript writes the number 1.0 as 1, and the versions 1.0.1 and 1.0.2 of the specification are
/// `1.0` in events (cloudevents/spec #1134).
pub(super) fn is_version_1(version: &str) -> bool {
    let is_patch = |patch: &str| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    matches!(version, "1.0" | "1") || version.strip_prefix("1.0.").is_some_and(is_patch)
}

/// Parses RFC 3339, also spelled otherwise, to the nanosecond; further digits are cut. All four-digit years fit
/// `timestamptz`.
pub(super) fn utc(text: &str) -> Option<OffsetDateTime> {
    let spelled = || OffsetDateTime::parse(&time(text)?, &Rfc3339).ok();
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(spelled)?;
    // An offset can move the last hours of 9999 into a year with five digits.
    time.checked_to_offset(UtcOffset::UTC).filter(|time| (0..=9999).contains(&time.year()))
}

/// RFC 3339 for a time with a zone that differs from it in its spelling only. `None` if it differs in more.
///
/// `+0000` and `+00` as offsets (strftime, Postgres), blanks and the zone's name after it (Go, Ruby, Java), a comma
/// before the fraction (ISO 8601), no seconds if they are zero (Java).
fn time(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.split_once('[').map_or(text, |(time, _)| time);
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let is_clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | ',');
    let (clock, zone) = rest.split_at_checked(rest.find(|c| !is_clock(c))?)?;
    let seconds = if clock.len() == "10:00".len() { ":00" } else { "" };
    let zone = offset(zone.split_whitespace().next()?)?;
    Some(format!("{date}T{}{seconds}{zone}", clock.replace(',', ".")))
}

/// `Z` or `+00:00`.
fn offset(zone: &str) -> Option<String> {
    if ["Z", "UTC", "GMT"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return Some("Z".to_owned());
    }
    let (sign, rest) = zone.split_at_checked(1).filter(|(sign, _)| matches!(*sign, "+" | "-"))?;
    let digits = rest.replacen(':', "", 1);
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { "00" } else { minutes };
    Some(format!("{sign}{hours}:{minutes}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn json_in_a_text_is_unwrapped_once() {
        for (text, expected) in [
            (r#""{\"a\": 1}""#, r#"{"a": 1}"#),
            (r#"" [1]""#, " [1]"),
            (r#""{\"a\": [NaN, \"NaN\"]}""#, r#"{"a": [null, "NaN"]}"#),
            (r#""\"{}\"""#, r#""\"{}\"""#),
            (r#""x""#, r#""x""#),
            (r#"{"a": "{}"}"#, r#"{"a": "{}"}"#),
            ("\"", "\""),
        ] {
            assert_eq!(unwrapped(text), expected, "{text}");
        }
        for (text, expected) in [
            (r#"{"a": 1}"#, Some(r#"{"a":1}"#)),
            (" [1, {}]\n", Some("[1,{}]")),
            ("5", None),
            ("{", None),
            ("[1], \"x\": 2", None),
            (r#"{"a": 1, "a": 2}"#, None),
        ] {
            assert_eq!(value_in(text).map(|value| value.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn data_in_a_text_or_in_base64_become_an_object() {
        for (text, expected) in [
            (r#"{"id": "1", "data": "{\"a\": \"é\"}"}"#, Some(r#"{"id":"1","data":{"a": "é"}}"#)),
            (r#"{"data_base64": "eyJhIjogTmFOfQ==", "id": "1"}"#, Some(r#"{"id":"1","data":{"a": null}}"#)),
            (r#"{"data": null, "data_base64": "e30="}"#, Some(r#"{"data":{}}"#)),
            (r#"{"i\"d": NaN, "data": {}}"#, Some(r#"{"i\"d": null, "data": {}}"#)),
            (r#"{"data": {}, "data_base64": "e30="}"#, None),
            (r#"{"data": "x"}"#, None),
            (r#"{"data": "{"}"#, None),
            (r#"{"data": "[]"}"#, None),
            (r#"{"data_base64": "W10="}"#, None),
            (r#"{"data_base64": "!"}"#, None),
            (r#"{"data": "{}", "data": "{}"}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(event(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn version_is_1_0_in_every_spelling() {
        for (version, expected) in [
            ("1.0", true),
            ("1", true),
            ("1.0.2", true),
            ("1.0.", false),
            ("1.0.x", false),
            ("1.1", false),
            ("10", false),
            ("0.3", false),
            ("v1.0", false),
            ("", false),
        ] {
            assert_eq!(is_version_1(version), expected, "{version}");
        }
    }

    #[test]
    fn time_is_spelled_as_rfc_3339_asks() {
        for (text, expected) in [
            // %z of C and Python, XX of Java: toml-lang/toml #555, ruby/time #77, rtfeldman/elm-iso8601-date-strings #13
            ("2026-11-22T10:00:00+0000", Some("2026-11-22T10:00:00+00:00")),
            ("2026-11-22T10:00:00.5-0330", Some("2026-11-22T10:00:00.5-03:30")),
            // Postgres, Python's str()
            ("2026-11-22 10:00:00.123456+00", Some("2026-11-22T10:00:00.123456+00:00")),
            ("2026-11-22 10:00:00+00:00", Some("2026-11-22T10:00:00+00:00")),
            // Ruby, Go
            ("2026-11-22 10:00:00 UTC", Some("2026-11-22T10:00:00Z")),
            ("2026-11-22 10:00:00 -0300", Some("2026-11-22T10:00:00-03:00")),
            ("2026-11-22 10:00:00.1 +0000 UTC m=+0.01", Some("2026-11-22T10:00:00.1+00:00")),
            // Java
            ("2026-11-22T10:00Z", Some("2026-11-22T10:00:00Z")),
            ("2026-11-22T10:00:00Z[UTC]", Some("2026-11-22T10:00:00Z")),
            ("2026-11-22T10:00+01:00[Europe/Paris]", Some("2026-11-22T10:00:00+01:00")),
            ("2026-11-22T10:00:00,123Z", Some("2026-11-22T10:00:00.123Z")),
            (" 2026-11-22T10:00:00z\n", Some("2026-11-22T10:00:00Z")),
            // Without a zone, or with one that has no single offset
            ("2026-11-22T10:00:00", None),
            ("2026-11-22 10:00:00 EST", None),
            ("2026-11-22", None),
            ("Sun, 22 Nov 2026 10:00:00 GMT", None),
            ("1795341600", None),
            ("2026-11-22é10:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(time(text).as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_respelled(text in matching("\\PC{0,40}")) {
            let _ = (time(&text), event(&text), value_in(&text), unwrapped(&text));
        }
    }
}
