//! Which shapes are read, and as what.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn an_id_is_a_text_or_a_whole_number() {
    for (text, expected) in [
        (r#""acme""#, Some("acme")),
        (r#""a\u0062""#, Some("ab")),
        (r#""""#, Some("")),
        (r#""5""#, Some("5")),
        ("5", Some("5")),
        ("-5", Some("-5")),
        ("0", Some("0")),
        ("-0.0", Some("0")),
        ("5.0", Some("5")),
        ("5e2", Some("500")),
        ("18446744073709551615", Some("18446744073709551615")),
        ("-9223372036854775808", Some("-9223372036854775808")),
        ("-5.0", Some("-5")),
        ("0.1e1", Some("1")),
        ("1E+3", Some("1000")),
        ("50.00e-1", Some("5")),
        ("0e-400", Some("0")),
        ("-0", Some("0")),
        ("1e15", Some("1000000000000000")),
        ("9007199254740991.0", Some("9007199254740991")),
        ("9007199254740993", Some("9007199254740993")),
        // Another id could look the same to a language that knows only floats.
        ("9007199254740992.0", None),
        ("9007199254740993.0", None),
        ("9007199254740994.0", None),
        ("-9007199254740992e0", None),
        // They look whole once they are rounded.
        ("4503599627370496.3", None),
        ("5.00000000000000000001", None),
        ("1e-400", None),
        ("1e400", None),
        ("1e9223372036854775807", None),
        ("1e99999999999999999999", None),
        ("18446744073709551616", None),
        ("5.5", None),
        ("true", None),
        ("null", None),
        ("[]", None),
        ("{}", None),
    ] {
        let read = serde_json::from_str::<Id<'_>>(text).ok();
        assert_eq!(read, expected.map(|id| Id(id.into())), "{text}");
    }
}

#[test]
fn a_whole_number_may_be_a_float_or_a_text() {
    for (text, expected) in [
        ("2", Some(2)),
        ("0", Some(0)),
        ("2.0", Some(2)),
        ("2e1", Some(20)),
        (r#""2""#, Some(2)),
        (r#"" 2 ""#, Some(2)),
        (r#""2.0""#, Some(2)),
        ("4294967295", Some(u32::MAX)),
        (r#""4294967295""#, Some(u32::MAX)),
        ("4294967296", None),
        (r#""4294967296""#, None),
        ("-1", None),
        (r#""-1""#, None),
        (r#""+1""#, None),
        ("1.5", None),
        ("1e300", None),
        (r#""two""#, None),
        ("true", None),
        ("[]", None),
    ] {
        let read = serde_json::from_str(text).ok();
        assert_eq!(read, expected.map(|number| Whole(Some(number))), "{text}");
    }
    for text in ["null", r#""""#, r#"" ""#] {
        assert_eq!(serde_json::from_str(text).ok(), Some(Whole(None)), "{text}");
    }
}

#[test]
fn a_flag_may_be_a_text_or_a_number() {
    for (value, expected) in [
        (json!(true), Some(true)),
        (json!(false), Some(false)),
        (json!("true"), Some(true)),
        // Python, C#
        (json!("True"), Some(true)),
        (json!("False"), Some(false)),
        // spreadsheets
        (json!("TRUE"), Some(true)),
        (json!("FALSE"), Some(false)),
        // PHP, SQL
        (json!("1"), Some(true)),
        (json!("0"), Some(false)),
        (json!(1), Some(true)),
        (json!(0), Some(false)),
        (json!(1.0), Some(true)),
        (json!(2), None),
        (json!(-1), None),
        (json!("yes"), None),
        (json!(""), None),
        (json!(null), None),
        (json!([]), None),
        (json!({}), None),
    ] {
        assert_eq!(flag(&value), expected, "{value}");
    }
}

#[test]
fn an_empty_list_is_an_empty_object_and_the_reverse() {
    type Object = ObjectOrEmptyList<std::collections::BTreeMap<String, u8>>;
    for (text, expected) in
        [("[]", true), (" [ \r\n]", true), ("[1]", false), ("{}", false), ("", false), ("[", false)]
    {
        assert_eq!(is_empty_list(text), expected, "{text}");
    }
    let members =
        |text: &str| serde_json::from_str::<Object>(text).map(|ObjectOrEmptyList(map)| map.len()).ok();
    let items = |text: &str| serde_json::from_str(text).map(|ListOrEmptyObject::<u8>(list)| list.len()).ok();
    for (text, object, list) in [
        ("[]", Some(0), Some(0)),
        ("{}", Some(0), Some(0)),
        (r#"{"a": 1}"#, Some(1), None),
        ("[1]", None, Some(1)),
        (r#"[{"a": 1}]"#, None, None),
        ("null", None, None),
        (r#""""#, Some(0), Some(0)),
        (r#""x""#, None, None),
        ("[] x", None, None),
    ] {
        assert_eq!((members(text), items(text)), (object, list), "{text}");
    }
    for (text, expected) in [(r#""""#, true), (r#" "  " "#, true), (r#""x""#, false), ("[]", false)] {
        assert_eq!(is_empty_text(text), expected, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn numbers_keep_their_digits(number: i64, small: u32) {
        let digits = number.to_string();
        prop_assert_eq!(serde_json::from_str::<Id<'_>>(&digits).unwrap(), Id(digits.as_str().into()));
        for text in [format!("\"{small}\""), format!("{small}.0")] {
            prop_assert_eq!(serde_json::from_str::<Whole>(&text).unwrap(), Whole(Some(small)));
        }
    }
}
