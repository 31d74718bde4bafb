//! Members that programs spell differently than their type requires: JSON as a text, a time in a language's own
//! notation. Each is converted to the required form, and nothing is guessed.

use std::borrow::Cow;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::DecodePaddingMode,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Value, value::RawValue};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::domain::{
    event::{without_mark, without_nan},
    json::{self, Members},
};

/// How often an object may have been encoded as a text: by the model, by the library that calls it, by the platform.
const MAX_ENCODED: usize = 3;

/// Base64 with or without the characters that fill up the last group.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The JSON that stands in a text as JSON: `function.arguments` of `OpenAI`, a column of a database. Anything else as
/// it is.
#[must_use]
pub fn unwrapped(text: &str) -> Cow<'_, str> {
    let mut inside = if text.starts_with('"') { json::text(text) } else { None };
    for _ in 1..MAX_ENCODED {
        let is_text = |inside: &String| inside.trim_start().starts_with('"');
        inside = match inside {
            Some(inside) if is_text(&inside) => json::text(&inside),
            inside => inside,
        };
    }
    match inside.filter(|inside| inside.trim_start().starts_with(['{', '['])) {
        Some(inside) => Cow::Owned(without_nan(&inside).unwrap_or(inside)),
        None => Cow::Borrowed(text),
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
        json::text(value?.get())
    };
    let decoded = || {
        // RFC 4648, 5: the alphabet for URLs.
        let standard = text("data_base64")?.replace('-', "+").replace('_', "/");
        let bytes = BASE64.decode(standard.trim_ascii()).ok()?;
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
        "next" => {
            let inside = in_text(value);
            list(inside.as_deref().unwrap_or(value)).or(inside)
        }
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

    /// JSON in a text, the JSON, and a source.
    const IN_TEXTS: &[(&str, &str, &str)] = &[
        (r#""{\"a\": 1}""#, r#"{"a": 1}"#, "OpenAI: function.arguments"),
        (r#"" [1]""#, " [1]", "as above: a list after a blank"),
        (
            r#""{\"a\": [NaN, \"NaN\"]}""#,
            r#"{"a": [null, "NaN"]}"#,
            "https://github.com/langwatch/langwatch/issues/1558: Python's NaN",
        ),
        (
            r#""\"{\\\"a\\\": 1}\"""#,
            r#"{"a": 1}"#,
            "https://github.com/livekit/agents/pull/5409: encoded twice",
        ),
        (r#""\" {} \"""#, " {} ", "https://github.com/vllm-project/vllm/pull/54964: encoded twice"),
        (r#""\"\\\"{}\\\"\"""#, "{}", "as above: three times"),
        (r#""\"x\"""#, r#""\"x\"""#, "https://github.com/MoonshotAI/kimi-cli/pull/2513: a quoted word"),
        (r#""x""#, r#""x""#, "JSON: a text"),
        (r#"{"a": "{}"}"#, r#"{"a": "{}"}"#, "as above: within an object"),
        ("\"", "\"", "as above: cut"),
    ];

    #[test]
    fn json_in_a_text_is_unwrapped() {
        for (text, expected, source) in IN_TEXTS {
            assert_eq!(unwrapped(text), *expected, "{text} ({source})");
        }
        let often = |times: usize| (0..times).fold("{}".to_owned(), |text, _| Value::from(text).to_string());
        assert_eq!(unwrapped(&often(MAX_ENCODED)), "{}");
        assert_eq!(unwrapped(&often(MAX_ENCODED + 1)), often(MAX_ENCODED + 1));
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
        for (text, expected, source) in [
            (
                r#"{"id": "1", "data": "{\"a\": \"é\"}"}"#,
                Some(r#"{"id":"1","data":{"a": "é"}}"#),
                "https://github.com/Azure/azure-sdk-for-python/issues/13555",
            ),
            (
                r#"{"data_base64": "eyJhIjogTmFOfQ==", "id": "1"}"#,
                Some(r#"{"id":"1","data":{"a": null}}"#),
                "https://github.com/cloudevents/sdk-python/issues/28: data as bytes",
            ),
            (
                r#"{"data": null, "data_base64": "e30="}"#,
                Some(r#"{"data":{}}"#),
                "Go: a member without omitempty",
            ),
            (
                r#"{"data_base64": "eyJhIjoiw7_Dv8O_PyJ9"}"#,
                Some(r#"{"data":{"a":"ÿÿÿ?"}}"#),
                "RFC 4648, 5: for URLs",
            ),
            (r#"{"data_base64": "e30"}"#, Some(r#"{"data":{}}"#), "as above: without padding"),
            (
                r#"{"data": "{\"a\": \"\ud83d\"}"}"#,
                Some("{\"data\":{\"a\": \"\u{fffd}\"}}"),
                "ECMA-262, 25.5.2.3: half of an emoji",
            ),
            (r#"{"i\"d": NaN, "data": {}}"#, Some(r#"{"i\"d": null, "data": {}}"#), "Python: json.dumps"),
            (r#"{"data": {}, "data_base64": "e30="}"#, None, "as above: both"),
            (r#"{"data": "x"}"#, None, "JSON: a text"),
            (r#"{"data": "{"}"#, None, "as above: cut"),
            (r#"{"data": "[]"}"#, None, "JSON: a list"),
            (r#"{"data_base64": "W10="}"#, None, "as above: in base64"),
            (r#"{"data_base64": "!"}"#, None, "RFC 4648, 4: another character"),
            (r#"{"data": "{}", "data": "{}"}"#, None, "RFC 8259, 4: a name twice"),
            ("[]", None, "JSON: a list"),
            ("", None, "as above: nothing"),
        ] {
            assert_eq!(event(text).as_deref(), expected, "{text} ({source})");
        }
    }

    #[test]
    fn version_is_1_0_in_every_spelling() {
        for (version, expected, source) in [
            ("1.0", true, "https://github.com/cloudevents/spec/blob/main/cloudevents/spec.md"),
            ("1", true, "JavaScript: 1.0 is written as 1"),
            ("1.0.2", true, "https://github.com/RockLib/RockLib.Messaging/issues/166"),
            ("1.0.", false, "as above: cut"),
            ("1.0.x", false, "as above: letters"),
            ("1.1", false, "https://github.com/cloudevents/spec/issues/1134: another version"),
            ("10", false, "as above"),
            ("0.3", false, "https://github.com/cloudevents/spec/blob/v0.3/spec.md"),
            ("v1.0", false, "as above: a tag of Git"),
            ("", false, "as above: nothing"),
        ] {
            assert_eq!(is_version_1(version), expected, "{version} ({source})");
        }
    }

    /// Times with the zone that an event needs, and their sources.
    const TIMES: &[(&str, Option<&str>, &str)] = &[
        (
            "2026-11-22T10:00:00+0000",
            Some("2026-11-22T10:00:00+00:00"),
            "https://github.com/toml-lang/toml/issues/555: %z of C and Python",
        ),
        (
            "2026-11-22T10:00:00.5-0330",
            Some("2026-11-22T10:00:00.5-03:30"),
            "https://github.com/ruby/time/issues/77",
        ),
        ("2026-11-22 10:00:00.123456+00", Some("2026-11-22T10:00:00.123456+00:00"), "PostgreSQL"),
        ("2026-11-22 10:00:00+00:00", Some("2026-11-22T10:00:00+00:00"), "Python: str of a datetime"),
        ("2026-11-22 10:00:00 UTC", Some("2026-11-22T10:00:00Z"), "Ruby: Time#to_s"),
        ("2026-11-22 10:00:00 -0300", Some("2026-11-22T10:00:00-03:00"), "Ruby: Time#to_s"),
        ("2026-11-22 10:00:00.1 +0000 UTC m=+0.01", Some("2026-11-22T10:00:00.1+00:00"), "Go: Time.String"),
        (
            "2026-11-22T10:00Z",
            Some("2026-11-22T10:00:00Z"),
            "https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/time/OffsetDateTime.html#toString()",
        ),
        (
            "2026-11-22T10:00:00Z[UTC]",
            Some("2026-11-22T10:00:00Z"),
            "https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/time/ZonedDateTime.html#toString()",
        ),
        ("2026-11-22T10:00+01:00[Europe/Paris]", Some("2026-11-22T10:00:00+01:00"), "as above"),
        ("2026-11-22T10:00:00,123Z", Some("2026-11-22T10:00:00.123Z"), "ISO 8601, 5.3.1.4: a comma"),
        (" 2026-11-22T10:00:00z\n", Some("2026-11-22T10:00:00Z"), "RFC 3339, 5.6: small letters"),
        ("2026-11-22T10:00:00", None, "ISO 8601, 5.3.1: local time"),
        ("2026-11-22 10:00:00 EST", None, "Ruby: a zone that several countries have"),
        ("2026-11-22", None, "RFC 3339, 5.6: a date"),
        ("Sun, 22 Nov 2026 10:00:00 GMT", None, "RFC 9110, 5.6.7"),
        (
            "1795341600",
            None,
            "https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap04.html: seconds since the Epoch",
        ),
        ("2026-11-22é10:00:00Z", None, "as above: no such notation"),
        ("", None, "as above: nothing"),
    ];

    #[test]
    fn time_is_spelled_as_rfc_3339_asks() {
        for (text, expected, source) in TIMES {
            assert_eq!(time(text).as_deref(), *expected, "{text} ({source})");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_respelled(text in matching("\\PC{0,40}")) {
            let _ = (time(&text), event(&text), value_in(&text), unwrapped(&text));
        }
    }
}
