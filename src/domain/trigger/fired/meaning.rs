//! The meaning of an event, by which a repeated message is recognized.

use crate::domain::{
    event::{self, MAX_BODY, without_mark},
    json,
    trigger::spelling,
};

/// The members of the envelope that say nothing about the event. Whoever passes an event on may add them (CloudEvents,
/// distributed tracing extension), and publishing it again may begin another trace.
const OF_THE_TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// [`event::meaning`] of the event as it is read: an object in a text means the object, so the order of its members does not
/// matter there either, and the trace that it belongs to is not part of it.
#[must_use]
pub fn meaning(body: &[u8]) -> [u8; 32] {
    let text = if body.len() > MAX_BODY { None } else { std::str::from_utf8(without_mark(body)).ok() };
    let unfolded = text.filter(|text| json::is_shallow(text)).and_then(spelling::unfolded);
    event::meaning_without(&OF_THE_TRACE, unfolded.as_deref().map_or(body, str::as_bytes))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::*;

    /// A message with this data.
    fn with_data(data: &Value) -> String {
        json!({"id": "1", "source": "/a", "data": data}).to_string()
    }

    fn is_same(one: &str, other: &str) -> bool {
        meaning(one.as_bytes()) == meaning(other.as_bytes())
    }

    /// `OpenAI` gives arguments as a text, columns of databases hold definitions as one, and queues whole bodies.
    #[test]
    fn order_does_not_matter_within_a_text() {
        let (one, other) = (r#"{"a": "x\"y", "b": [1, NaN]}"#, r#"{"b":[1.0,null],"a":"x\"y"}"#);
        let object: Value = serde_json::from_str(other).unwrap();
        for wrap in [
            |value: Value| with_data(&json!({"arguments": value})),
            |value: Value| with_data(&json!({"trigger": value, "arguments": {"é\"": 1}})),
            |value: Value| with_data(&json!({"clientData": value})),
            |value: Value| with_data(&json!({"next": ["x", value, {"a": "\""}]})),
            |value: Value| with_data(&json!({"next": json!([value]).to_string()})),
            |value: Value| with_data(&json!(json!({"arguments": value}).to_string())),
            |value: Value| with_data(&value),
        ] {
            let (one, other) = (wrap(json!(one)), wrap(json!(other)));
            assert!(is_same(&one, &other), "{one} and {other}");
            assert!(is_same(&one, &wrap(object.clone())), "{one} and the object");
        }
        let base64 =
            |data: &str| json!({"id": "1", "source": "/a", "data_base64": STANDARD.encode(data)}).to_string();
        assert!(is_same(&base64(one), &base64(other)));
        assert!(is_same(&base64(one), &with_data(&object)));
    }

    #[test]
    fn other_values_are_other_events() {
        let (one, other) = (r#"{"a": "x", "b": 1}"#, r#"{"b": 1, "a": "x"}"#);
        for wrap in [
            // Texts are values here.
            |text: &str| with_data(&json!({"arguments": {"a": text}})),
            |text: &str| with_data(&json!({"session": text})),
            |text: &str| json!({"data": {}, "trigger": text}).to_string(),
            // No JSON.
            |text: &str| with_data(&json!({"arguments": format!("{text} x")})),
            |text: &str| with_data(&json!({"arguments": format!("x {text}")})),
        ] {
            assert!(!is_same(&wrap(one), &wrap(other)), "{}", wrap(one));
        }
        assert!(!is_same(&with_data(&json!(one)), &with_data(&json!(one.replace('1', "2")))));
        // The contents of a text stay within its member.
        let (inside, outside) =
            (r#"{"a": ""}, "b": {"c": 1}"#, json!({"arguments": {"a": ""}, "b": {"c": 1}}));
        assert!(!is_same(&with_data(&json!({"arguments": inside})), &with_data(&outside)));
        let twice = r#"{"data": {"arguments": "{\"a\": 1, \"b\": 2}", "arguments": {}}}"#;
        assert!(!is_same(twice, &twice.replace(r#"\"a\": 1, \"b\": 2"#, r#"\"b\": 2, \"a\": 1"#)));
    }

    #[test]
    fn trace_is_not_part_of_the_meaning() {
        let data = r#""data": {"arguments": {"traceparent": "1"}}"#;
        let (without, with) =
            (format!("{{{data}}}"), format!(r#"{{"traceparent": "a", {data}, "tracestate": 1}}"#));
        assert!(is_same(&without, &with));
        assert!(!is_same(&without, &with.replace('1', "2")), "an argument may have any name");
    }

    #[test]
    fn other_bodies_mean_what_they_meant() {
        for body in [
            &b"{}"[..],
            b"\xff{}",
            b"no JSON",
            b"\xef\xbb\xbf{\"a\": \"\\\"\"}",
            br#"{"data": {"arguments": "\"", "x": "{\"a\": 1}"}}"#,
            br#"{"data": {"arguments": {"a": "\""}}}"#,
        ] {
            assert_eq!(meaning(body), event::meaning(body), "{}", String::from_utf8_lossy(body));
        }
        let deep = format!(r#"{{"data": "\"{}"}}"#, "[".repeat(100_000));
        assert_eq!(meaning(deep.as_bytes()), event::meaning(deep.as_bytes()));
    }
}
