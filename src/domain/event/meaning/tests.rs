//! Bodies with the same meaning, and bodies with another one.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::samples::matching;

fn is_same(one: &str, other: &str) -> bool {
    meaning(one.as_bytes()) == meaning(other.as_bytes())
}

#[test]
fn spelling_does_not_matter() {
    for (one, other) in [
        (r#"{"a":1,"b":[true,null]}"#, "\u{feff} {\n\"b\" : [ true,null ],\t\"a\" : 1 }\r\n"),
        (r#"{"a":{"x":1,"y":2,"z":3}}"#, r#"{"a":{"z":3,"x":1,"y":2}}"#),
        (r#"["A/\u00e9\ud83d\ude00\n"]"#, "[\"\\u0041\\/é😀\\u000a\"]"),
        (r#"{"\u0061":1}"#, r#"{"a":1}"#),
        ("[1, 0, 1000, 10000000000000000000]", "[1.0, -0.0, 1e3, 1e19]"),
        ("[0.1]", "[1E-1]"),
        (
            r#"{"minimum":0,"maximum":1.7976931348623157E+308}"#,
            r#"{"maximum": 1.7976931348623157e308, "minimum": 0.0}"#,
        ),
        ("[-3.4028234663852886e38]", "[-340282346638528860000000000000000000000]"),
        ("no JSON", "\u{feff}no JSON"),
        ("[null]", "[NaN]"),
        (
            r#"{"a":[89551234567890123456,1e20],"b":1}"#,
            r#"{"b":1,"a":[89551234567890123456,100000000000000000000]}"#,
        ),
        (r#"{"a":-9223372036854775809,"b":1}"#, r#"{"b":1.0,"a":-9223372036854775809}"#),
        (r#"{"a":"x\ud83d","b":1}"#, "{\"b\":1,\"a\":\"x\u{fffd}\"}"),
        (r#"{"a":null,"b":"NaN"}"#, r#"{"b":"NaN","a":-Infinity}"#),
        (r#"{"maximum":9.99E6144,"a":[1e400,1e20]}"#, r#"{"a":[1E+400,1e20], "maximum":9.99e+6144}"#),
        (r#"{"b":1,"a":1,"a":2}"#, r#"{"a":1,"b":1.0,"\u0061":2}"#),
    ] {
        assert!(is_same(one, other), "{one} and {other}");
    }
}

#[test]
fn every_difference_of_values_matters() {
    let texts = [
        "",
        "{}",
        "[]",
        "0",
        "1",
        "-1",
        "0.5",
        "null",
        "true",
        "false",
        r#""""#,
        r#""0""#,
        r#""null""#,
        "[[]]",
        "[{}]",
        r#"["a","b"]"#,
        r#"["b","a"]"#,
        r#"["ab"]"#,
        r#"["a,b"]"#,
        r#"[["a"],"b"]"#,
        r#"[["a","b"]]"#,
        "[1,2]",
        "[12]",
        "[1,2,0]",
        "[-12]",
        r#"{"a":"b"}"#,
        r#"{"b":"a"}"#,
        r#"{"a":{"b":1}}"#,
        r#"{"a":{},"b":1}"#,
        r#"{"":"ab"}"#,
        r#"{"ab":""}"#,
        r#"["é"]"#,
        "[\"e\u{301}\"]",
        r#"{"a":1,"a":2}"#,
        r#"{"a":2,"a":1}"#,
        r#"{"a":2}"#,
        "[1e400]",
        "[-1e400]",
        "[1e401]",
        "[1.7976931348623157e308]",
        // Not read: they mean their bytes.
        "NaN x",
        r#"["NaN"]"#,
        "[1e300]",
        "[-1e300]",
        "[1e301]",
        "[1",
        "[1] x",
        r#"["\ud800"]"#,
    ];
    assert_all_differ(&texts);
}

#[test]
fn every_difference_of_wide_numbers_matters() {
    assert_all_differ(&[
        "[18446744073709551616]",
        "[18446744073709551617]",
        "[18446744073709551616,18446744073709551617]",
        "[18446744073709551617,18446744073709551616]",
        r#"["18446744073709551616"]"#,
        "[-9223372036854775808]",
        "[-9223372036854775809]",
        "[1e20]",
        "[1.0000000000000001e20]",
    ]);
}

fn assert_all_differ(texts: &[&str]) {
    for (index, one) in texts.iter().enumerate() {
        for other in texts.iter().skip(index + 1) {
            assert!(!is_same(one, other), "{one} and {other}");
        }
    }
}

#[test]
fn large_and_deep_bodies_mean_their_bytes() {
    let padded = |spaces: usize| format!("{}1", " ".repeat(spaces));
    assert!(is_same(&padded(MAX_BODY - 1), "1"));
    assert!(!is_same(&padded(MAX_BODY), "1"));
    // The null that it is read as is longer.
    let padded = |spaces: usize| format!("{}[NaN]", " ".repeat(spaces));
    assert!(is_same(&padded(MAX_BODY - 5), "[null]"));
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_same(&nested(100, " "), &nested(100, "")));
    assert!(!is_same(&nested(100_000, " "), &nested(100_000, "")));
    assert_eq!(meaning(b"\xff{}"), <[u8; 32]>::from(Sha256::digest(b"\xff{}")));
}

#[test]
fn members_can_be_left_out_of_the_body_and_not_of_what_is_within() {
    let is_same = |one: &str, other: &str| {
        meaning_without(&["x", "yy"], one.as_bytes()) == meaning_without(&["x", "yy"], other.as_bytes())
    };
    for other in [
        r#"{"x":1,"a":1,"yy":[{}]}"#,
        r#"{"a":1,"\u0078":{"a":2}}"#,
        r#"{"x":1,"x":2,"a":1}"#,
        "\u{feff}{\"a\":1.0,\"x\":NaN}",
    ] {
        assert!(is_same(r#"{"a":1}"#, other), "{other}");
    }
    for other in [r#"{"a":1,"y":1}"#, r#"{"a":1,"X":1}"#, r#"{"a":{"x":1}}"#, r#"{"x":1,"a":1,"a":1}"#] {
        assert!(!is_same(r#"{"a":1}"#, other), "{other}");
    }
    assert!(!is_same(r#"{"a":{"x":1}}"#, r#"{"a":{}}"#) && !is_same(r#"[{"x":1}]"#, "[{}]"));
    assert_eq!(meaning_without(&["x"], br#"{"a":[1,{"x":2}]}"#), meaning(br#"{"a":[1,{"x":2}]}"#));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Never a whole number, which would be equal to an integer.
        (-1e9..1e9).prop_map(|number: f64| Value::from(number.floor() + 0.5)),
        matching("\\PC{0,8}").prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((matching("\\PC{0,4}"), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same value with the members of each object in reverse.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Object(members) => {
            let members = members.iter().rev().map(|(key, value)| (key.clone(), reversed(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        leaf => leaf.clone(),
    }
}

proptest! {
    #[test]
    fn order_and_spacing_do_not_matter(value in values()) {
        let pretty = serde_json::to_vec_pretty(&reversed(&value)).unwrap();
        prop_assert_eq!(meaning(value.to_string().as_bytes()), meaning(&pretty));
    }

    #[test]
    fn two_values_have_two_meanings(one in values(), other in values()) {
        let meaning = |value: &Value| meaning(value.to_string().as_bytes());
        prop_assert_eq!(one == other, meaning(&one) == meaning(&other));
        prop_assert_ne!(meaning(&json!([one])), meaning(&json!([one, other])));
    }

    #[test]
    fn any_bytes_have_a_meaning(bytes: Vec<u8>) {
        prop_assert_eq!(meaning(&bytes), meaning(&bytes.clone()));
    }
}
