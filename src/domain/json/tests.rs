//! Defects of JSON, and what is read.

use std::mem::discriminant;

use serde_json::json;

use super::*;

const SYNTAX: Defect = Defect::Syntax { line: 0, column: 0 };

fn defect(text: &str) -> Option<Defect> {
    object(text).err().map(|bad| bad.defect)
}

#[test]
fn each_defect_is_recognized() {
    let table = [
        (r#"{"a": [1, -1, 1.5, true, null, "x", {"b": {}}]}"#, None),
        (r#"{"a": 18446744073709551615, "b": -9223372036854775808}"#, None),
        (r#"{"a": 1.0e19, "b": 1e-400, "c": -0.0}"#, None),
        (r#"{"a": 18446744073709551616}"#, Some(Defect::WideNumber)),
        (r#"{"a": -9223372036854775809}"#, Some(Defect::WideNumber)),
        (r#"{"a": [{"b": 1e400}]}"#, Some(Defect::WideNumber)),
        (r#"{"a": 1e300}"#, Some(Defect::WideNumber)),
        (r#"{"a": 1, "a": 2}"#, Some(Defect::DuplicateKey)),
        (r#"{"a": 1, "\u0061": 2}"#, Some(Defect::DuplicateKey)),
        (r#"{"a": 1, "a\u0000": 2}"#, Some(Defect::DuplicateKey)),
        (r#"{"o": [{"a": 1, "a": 2}]}"#, Some(Defect::DuplicateKey)),
        (r#"{"a": 1} x"#, Some(SYNTAX)),
        (r#"{"a": NaN}"#, Some(SYNTAX)),
        (r#"{"a": 1"#, Some(SYNTAX)),
        ("", Some(SYNTAX)),
        ("[1]", Some(Defect::NotAnObject)),
        ("null", Some(Defect::NotAnObject)),
        ("1e400", Some(Defect::WideNumber)),
    ];
    for (text, expected) in table {
        let found = defect(text);
        assert_eq!(
            found.map(|found| discriminant(&found)),
            expected.map(|defect| discriminant(&defect)),
            "{text}"
        );
    }
}

#[test]
fn the_member_with_the_defect_is_named() {
    let bad = object(r#"{"a": 1, "b": [{"c": 1e300}]}"#).unwrap_err();
    assert_eq!(bad, BadJson { defect: Defect::WideNumber, member: Some("b".into()) });
}

#[test]
fn nul_characters_are_dropped_and_halves_of_pairs_replaced() {
    let text =
        r#"{"a\u0000": ["x\u0000y", {"\u0000b": "\u0000"}], "\ud83d": "Ana \ud83d", "c": "\ud83d\ude00"}"#;
    let expected = json!({"a": ["xy", {"b": ""}], "\u{fffd}": "Ana \u{fffd}", "c": "😀"});
    assert_eq!(Value::Object(object(text).unwrap()), expected);
    assert_eq!(Value::Object(object_with("x", text).unwrap()), expected);
    assert_eq!(super::text(r#""Ana \ud83d""#).as_deref(), Some("Ana \u{fffd}"));
    assert_eq!(super::text("5"), None);
    // Errors keep their position.
    assert_eq!(defect(r#"{"a": "\ud83d", x}"#).unwrap().to_string(), "is not JSON (line 1, column 17)");
}

#[test]
fn syntax_errors_have_a_position() {
    assert_eq!(defect("{\n  \"a\": x}").unwrap().to_string(), "is not JSON (line 2, column 8)");
}

#[test]
fn valid_json_is_read_as_serde_json_does() {
    let text = r#"{"a": [1, -1, 1.5, true, null, "é\n", {"b": {}}], "c": 1e3}"#;
    assert_eq!(Value::Object(object(text).unwrap()), text.parse::<Value>().unwrap());
}

#[test]
fn depth_is_counted_outside_of_strings() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_shallow(&nested(MAX_DEPTH)));
    assert!(!is_shallow(&nested(MAX_DEPTH + 1)));
    assert!(!is_shallow(&"[".repeat(1_000_000)));
    assert!(is_shallow(&format!(r#"["{}", "\"{}"]"#, "[".repeat(500), "{".repeat(500))));
    assert!(is_shallow(&format!("[{}[]]", "[],".repeat(500))));
    // A shallow text is safe for recursive parsers.
    assert_eq!(defect(&format!(r#"{{"a": {}}}"#, nested(126))), None);
}

#[test]
fn members_keep_the_text_of_their_values() {
    let read = members(r#"{"a": [1, {"x": 1e400}], "b": null}"#).unwrap();
    let read: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
    assert_eq!(read, [("a", r#"[1, {"x": 1e400}]"#), ("b", "null")]);
    assert!(has_duplicate(&members(r#"{"a": 1, "\u0061": 1}"#).unwrap()));
    assert!(!has_duplicate(&members(r#"{"a": 1, "b": {"a": 1}}"#).unwrap()));
    assert_eq!(members("3").unwrap_err(), Defect::NotAnObject);
    assert_eq!(members("{} x").unwrap_err(), Defect::Syntax { line: 1, column: 4 });
}

#[test]
fn one_member_may_have_numbers_of_any_size() {
    let read = |text: &str| object_with("parameters", text).map_err(|bad| (bad.defect, bad.member));
    for (text, expected) in [
        (r#"{"parameters": {"maximum": 1e300}}"#, 1e300),
        (r#"{"parameters": {"maximum": 18446744073709551616}}"#, 18_446_744_073_709_551_616.0),
        (r#"{"parameters": {"maximum": 1e400}}"#, f64::MAX),
        (r#"{"x": 1, "par\u0061meters": {"maximum": -1e400}, "y": 2}"#, -f64::MAX),
    ] {
        assert_eq!(read(text).unwrap()["parameters"]["maximum"].as_f64(), Some(expected), "{text}");
    }
    for text in [
        r#"{"parameters": {"maximum": 1e300}, "x": 1e300}"#,
        r#"{"parameters": {"maximum": 1e400}, "x": [1e400]}"#,
        r#"{"x": {"parameters": 1e300}}"#,
    ] {
        assert_eq!(read(text), Err((Defect::WideNumber, Some("x".to_owned()))), "{text}");
    }
}

#[test]
fn private_key_of_the_library_is_a_key_like_any_other() {
    let text = r#"{"a": [{"$serde_json::private::RawValue": "[1]"}]}"#;
    let value = parse(text.as_bytes()).unwrap();
    assert_eq!(value["a"][0]["$serde_json::private::RawValue"], "[1]");
    // What the library makes of it.
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), json!({"a": [[1]]}));
}

#[test]
fn everything_else_is_read_as_the_library_does() {
    for text in [
        r#" {"b": [1, -1, 1.5, 1e300, true, null, "é\n", {}], "a": 18446744073709551615, "b": 2} "#,
        "[]",
        r#""x""#,
        "5",
        "",
        "[1] x",
        "{\"a\"",
        "1e400",
        "\"\\ud800\"",
        &"[".repeat(200),
    ] {
        assert_eq!(parse(text.as_bytes()), serde_json::from_str(text).ok(), "{text}");
    }
    assert_eq!(parse(b"\"\xff\""), None);
}

#[test]
fn members_without_content_are_empty() {
    for value in [json!(null), json!(""), json!(" \n"), json!([]), json!({})] {
        assert!(is_empty(&value), "{value}");
    }
    for value in [json!(false), json!(0), json!("x"), json!([null]), json!({"": null})] {
        assert!(!is_empty(&value), "{value}");
    }
}
