//! Bodies that are not JSON, or JSON that breaks parsers.

use super::{Bad, MARKER, event};

/// A valid event with `arguments` inserted verbatim.
fn with_arguments(arguments: &str) -> Vec<u8> {
    replaced(r#""arguments":{}"#, &format!(r#""arguments":{arguments}"#))
}

/// A valid event without arguments, with one part of its text replaced.
fn replaced(part: &str, by: &str) -> Vec<u8> {
    let event = event().with("/data/arguments", serde_json::json!({}));
    let text = String::from_utf8(event.bytes()).unwrap();
    assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
    text.replace(part, by).into_bytes()
}

pub(super) fn no_json() -> Vec<Bad> {
    let undecodable = |what, body: Vec<u8>, says| Bad::new(what, body, "undecodable", says);
    let not_json = "is not JSON";
    let whole = event().bytes();
    let without_end = whole[..whole.len() - 1].to_vec();
    let mut not_utf8 = with_arguments(&format!(r#"{{"name":"{MARKER}~"}}"#));
    let place = not_utf8.iter().position(|byte| *byte == b'~').unwrap();
    not_utf8[place] = 0xff;
    vec![
        undecodable("nothing", Vec::new(), not_json),
        undecodable("blanks", b" \n".to_vec(), not_json),
        undecodable("prose", format!("call {MARKER} back").into_bytes(), not_json),
        undecodable("bytes", vec![0, 1, 2, 0xfe, 0xff], "UTF-8"),
        undecodable("UTF-8 cut in two", not_utf8, "UTF-8"),
        undecodable("UTF-16", whole.iter().flat_map(|byte| [*byte, 0]).collect(), ""),
        undecodable("JSON without its end", without_end, not_json),
        undecodable("more after its end", [whole.as_slice(), b"}"].concat(), not_json),
        undecodable("two events", [whole.as_slice(), b"\n", &whole].concat(), not_json),
        undecodable("single quotes", with_arguments(&format!("{{'name':'{MARKER}'}}")), not_json),
        undecodable("a comment", with_arguments("{/* none */}"), not_json),
        Bad::new("a list", format!(r#"["{MARKER}"]"#), "event_invalid", "must be an object"),
        Bad::new("a text", format!(r#""{MARKER}""#), "event_invalid", "must be an object"),
        Bad::new("a number", "1e400", "event_invalid", ""),
        Bad::new("null", "null", "event_invalid", "must be an object"),
        Bad::new("an empty object", "{}", "event_invalid", "`specversion` is required"),
    ]
}

pub(super) fn hostile_json() -> Vec<Bad> {
    let undecodable = |what, body: Vec<u8>, says| Bad::new(what, body, "undecodable", says);
    let nested = |depth: usize| format!(r#"{{"name":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let arguments = |what, text: &str, says| Bad::new(what, with_arguments(text), "arguments_invalid", says);
    let twice = "duplicate key";
    vec![
        undecodable("200 levels", with_arguments(&nested(200)), "nested deeper"),
        undecodable("500,000 levels", "[".repeat(500_000).into_bytes(), "nested deeper"),
        undecodable(
            "200 levels elsewhere",
            replaced(r#""source""#, &format!(r#""x":{},"source""#, nested(200))),
            "nested",
        ),
        undecodable("an id twice", replaced(r#""specversion""#, r#""id":"a","specversion""#), twice),
        undecodable("data twice", replaced(r#""specversion""#, r#""data":{},"specversion""#), twice),
        undecodable(
            "an escaped key twice",
            replaced(r#""specversion""#, r#""\u0069d":"a","specversion""#),
            twice,
        ),
        undecodable(
            "a company twice",
            replaced(r#""company":{"id""#, r#""company":{"id":"b"},"company":{"id""#),
            twice,
        ),
        undecodable(
            "an argument twice",
            with_arguments(&format!(r#"{{"name":"{MARKER}","name":"x"}}"#)),
            twice,
        ),
        undecodable(
            "a trigger's name twice",
            replaced(r#""interpretResponse""#, r#""name":"a","interpretResponse""#),
            twice,
        ),
        undecodable("a bare control character", with_arguments("{\"name\":\"a\u{1}b\"}"), "is not JSON"),
        undecodable("Python's None", with_arguments(r#"{"name":None}"#), "is not JSON"),
        arguments("beyond all floats", r#"{"number":1e400}"#, "does not fit 64 bits"),
        arguments("400 digits", &format!(r#"{{"number":{}}}"#, "9".repeat(400)), "does not fit 64 bits"),
        Bad::new(
            "a phone of 100 kB",
            with_arguments(&format!(r#"{{"phone":"{}"}}"#, MARKER.repeat(17_000))),
            "identifier_invalid",
            "`phone` is too_long",
        ),
    ]
}
