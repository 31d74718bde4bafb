//! Which shapes are read, and as what.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Ids as texts and numbers, and their sources.
const IDS: &[(&str, Option<&str>, &str)] = &[
    (r#""acme""#, Some("acme"), "RFC 8259, 7"),
    (r#""a\u0062""#, Some("ab"), "RFC 8259, 7: an escape"),
    (r#""""#, Some(""), "RFC 8259, 7: nothing"),
    (r#""5""#, Some("5"), "https://github.com/Jericho/ZoomNet/issues/228: now a number, now a text"),
    ("5", Some("5"), "https://github.com/wvteijlingen/Spine/issues/148: a database counts"),
    ("-5", Some("-5"), "as above: below zero"),
    ("0", Some("0"), "as above"),
    ("-0.0", Some("0"), "IEEE 754: minus zero"),
    ("5.0", Some("5"), "Java, Lua: doubles"),
    ("5e2", Some("500"), "C: printf's %g"),
    ("18446744073709551615", Some("18446744073709551615"), "Rust: the greatest u64"),
    ("-9223372036854775808", Some("-9223372036854775808"), "Java: the least long"),
    ("-5.0", Some("-5"), "as above: a double"),
    ("0.1e1", Some("1"), "RFC 8259, 6"),
    ("1E+3", Some("1000"), "RFC 8259, 6"),
    ("50.00e-1", Some("5"), "RFC 8259, 6"),
    ("0e-400", Some("0"), "RFC 8259, 6"),
    ("-0", Some("0"), "RFC 8259, 6"),
    ("1e15", Some("1000000000000000"), "C: printf's %g"),
    ("9007199254740991.0", Some("9007199254740991"), "ECMA-262, 21.1.2.6: the greatest safe integer"),
    ("9007199254740993", Some("9007199254740993"), "RFC 8259, 6: more than a double holds"),
    // Another id could look the same to a language that knows only floats.
    ("9007199254740992.0", None, "ECMA-262, 21.1.2.6: unsafe"),
    ("9007199254740993.0", None, "as above"),
    ("9007199254740994.0", None, "as above"),
    ("-9007199254740992e0", None, "as above"),
    // They look whole once they are rounded.
    ("4503599627370496.3", None, "IEEE 754: rounded to a whole number"),
    ("5.00000000000000000001", None, "as above"),
    ("1e-400", None, "IEEE 754: too small"),
    ("1e400", None, "IEEE 754: too large"),
    ("1e9223372036854775807", None, "as above"),
    ("1e99999999999999999999", None, "as above"),
    ("18446744073709551616", None, "Rust: above the greatest u64"),
    ("5.5", None, "RFC 8259, 6: not whole"),
    ("true", None, "RFC 8259, 3"),
    ("null", None, "RFC 8259, 3"),
    ("[]", None, "RFC 8259, 5"),
    ("{}", None, "RFC 8259, 4"),
];

#[test]
fn an_id_is_a_text_or_a_whole_number() {
    for (text, expected, source) in IDS {
        let read = serde_json::from_str::<Id<'_>>(text).ok();
        assert_eq!(read, expected.map(|id| Id(id.into())), "{text} ({source})");
    }
}

#[test]
fn a_whole_number_may_be_a_float_or_a_text() {
    for (text, expected, source) in [
        ("2", Some(2), "RFC 8259, 6"),
        ("0", Some(0), "RFC 8259, 6"),
        ("2.0", Some(2), "Java, Lua: doubles"),
        ("2e1", Some(20), "RFC 8259, 6"),
        (r#""2""#, Some(2), "HTML, 4.10.21.4: a form has texts"),
        (r#"" 2 ""#, Some(2), "spreadsheets: blanks"),
        (r#""2.0""#, Some(2), "pandas, then a form"),
        ("4294967296", Some(1 << 32), "C: above UINT32_MAX"),
        ("9007199254740991", Some((1 << 53) - 1), "JavaScript: Number.MAX_SAFE_INTEGER"),
        (r#""18446744073709551615""#, Some(u64::MAX), "C: UINT64_MAX, as a text"),
        (r#""18446744073709551616""#, None, "as above: more"),
        ("-1", None, "C: below zero"),
        (r#""-1""#, None, "as above: a text"),
        (r#""+1""#, None, "RFC 8259, 6: no number has a plus"),
        ("1.5", None, "RFC 8259, 6: not whole"),
        ("1e300", None, "IEEE 754: a double"),
        (r#""two""#, None, "English"),
        ("true", None, "RFC 8259, 3"),
        ("[]", None, "RFC 8259, 5"),
    ] {
        let read = serde_json::from_str(text).ok();
        assert_eq!(read, expected.map(|number| Whole(Some(number))), "{text} ({source})");
    }
    for text in ["null", r#""""#, r#"" ""#] {
        assert_eq!(serde_json::from_str(text).ok(), Some(Whole(None)), "{text}");
    }
}

#[test]
fn a_flag_may_be_a_text_or_a_number() {
    for (value, expected, source) in [
        (json!(true), Some(true), "RFC 8259, 3"),
        (json!(false), Some(false), "RFC 8259, 3"),
        (json!("true"), Some(true), "https://github.com/Raynes/refheap/issues/59: a form"),
        (json!("True"), Some(true), "https://github.com/cloudbase/coriolis/issues/477: Python"),
        (json!("False"), Some(false), "C#: False.ToString()"),
        (json!("TRUE"), Some(true), "spreadsheets"),
        (json!("FALSE"), Some(false), "spreadsheets"),
        (json!("1"), Some(true), "PHP: strval(true)"),
        (json!("0"), Some(false), "PHP: a checkbox"),
        (json!(1), Some(true), "MySQL: BOOLEAN is TINYINT(1)"),
        (json!(0), Some(false), "MySQL: BOOLEAN is TINYINT(1)"),
        (json!(1.0), Some(true), "pandas: flags beside an empty cell"),
        (json!(2), None, "as above: another number"),
        (
            json!(-1),
            None,
            "https://learn.microsoft.com/en-us/office/vba/language/reference/user-interface-help/boolean-data-type",
        ),
        (json!("yes"), None, "English"),
        (json!(""), None, "PHP: strval(false), which also stands for nothing"),
        (json!(null), None, "RFC 8259, 3"),
        (json!([]), None, "RFC 8259, 5"),
        (json!({}), None, "RFC 8259, 4"),
    ] {
        assert_eq!(flag(&value), expected, "{value} ({source})");
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
            prop_assert_eq!(serde_json::from_str::<Whole>(&text).unwrap(), Whole(Some(small.into())));
        }
    }
}
