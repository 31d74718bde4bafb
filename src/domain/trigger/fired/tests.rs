//! Decoded bodies and faults; properties over random bytes and mutated events.

use proptest::prelude::*;
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::domain::samples::{event, with, without};

mod declared;
mod shapes;

fn read(body: &[u8]) -> Result<TriggerFired, Fault> {
    decode(body, &TriggerCache::default())
}

fn fault(body: impl AsRef<[u8]>) -> Fault {
    read(body.as_ref()).unwrap_err()
}

/// Asserts reason and message, and that company and event are known.
#[track_caller]
fn assert_fault(event: &Value, reason: Reason, message: &str) {
    let fault = fault(event.to_string());
    assert_eq!((fault.reason, fault.message.as_str()), (reason, message));
    assert_eq!(fault.company.unwrap().as_str(), "acme");
    assert_eq!(fault.event.unwrap().id(), "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11");
}

#[test]
fn a_complete_event_is_decoded() {
    let fired = read(event().to_string().as_bytes()).unwrap();
    assert_eq!(fired.company.as_str(), "acme");
    assert_eq!(fired.event.source(), "/companies/acme/assistants/sales");
    assert_eq!(fired.time, datetime!(2026-11-22 10:00:00.123 UTC));
    assert_eq!(fired.assistant_id.as_deref(), Some("sales"));
    assert_eq!(fired.max_interactions, Some(2));
    assert_eq!(fired.session_id.as_deref(), Some("5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55"));
    assert_eq!(fired.client_data["user_id"], "usr_999");
    assert_eq!(fired.images, ["https://cdn.example/1.png"]);
    assert_eq!(fired.arguments.len(), 4);
    assert_eq!(fired.triggers.len(), 1);
    let shown = format!("{fired:?}");
    assert!(!shown.contains("Ada") && !shown.contains("usr_999") && !shown.contains("my_token"), "{shown}");
}

#[test]
fn optional_members_may_be_absent_null_or_empty() {
    for value in [None, Some(Value::Null)] {
        let mut event = event();
        for pointer in ["/data/assistant", "/data/session", "/data/clientData", "/data/images"] {
            event = match &value {
                Some(value) => with(event, pointer, value.clone()),
                None => without(event, pointer),
            };
        }
        let fired = read(event.to_string().as_bytes()).unwrap();
        assert_eq!((fired.assistant_id, fired.max_interactions, fired.session_id), (None, None, None));
        assert!(fired.client_data.is_empty() && fired.images.is_empty());
    }
    let event = with(with(event(), "/data/session/id", json!("")), "/data/next", Value::Null);
    assert_eq!(read(event.to_string().as_bytes()).unwrap().session_id, None);
}

#[test]
fn null_arguments_are_kept_and_unknown_members_ignored() {
    let event =
        with(with(event(), "/data/arguments/interest", Value::Null), "/traceparent", json!([1, {"a": "\0"}]));
    let fired = read(event.to_string().as_bytes()).unwrap();
    assert_eq!(fired.arguments["interest"], Value::Null);
}

#[test]
fn bodies_that_are_not_strict_json_are_undecodable() {
    let text = event().to_string();
    let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    for body in [
        Vec::new(),
        b"not json".to_vec(),
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        format!("{text} x").into_bytes(),
        format!("{text}{text}").into_bytes(),
        text.replace("Ada", "\u{1}").replace('\u{1}', "\n").into_bytes(),
        [text.replace('}', "").as_bytes(), b"\xff"].concat(),
        text.replacen("Lovelace", "\u{0}", 1).into_bytes(),
        nested(127).into_bytes(),
        nested(200).into_bytes(),
        "[".repeat(1_000_000).into_bytes(),
        r#"{"a":"#.repeat(200_000).into_bytes(),
        with(event(), "/deep", nested(125).parse().unwrap())
            .to_string()
            .replacen("[[", "[[[[[", 1)
            .into_bytes(),
        text.replacen(r#""type""#, r#""type":"x","type""#, 1).into_bytes(),
        text.replacen(r#""company":{"#, r#""company":{"id":"x","#, 1).into_bytes(),
    ] {
        let found = fault(&body);
        assert_eq!(found.reason, Reason::Undecodable, "{}", String::from_utf8_lossy(&body));
    }
    // One level less is accepted, wherever it is.
    let deep = text.replacen('{', &format!(r#"{{"deep":{}{},"#, "[".repeat(126), "]".repeat(126)), 1);
    assert!(read(deep.as_bytes()).is_ok());
}

#[test]
fn events_with_duplicate_keys_keep_their_origin() {
    let text = event().to_string();
    for (once, twice) in [
        (r#""arguments":{"#, r#""arguments":{"name":"x","#),
        (r#""clientData":{"#, r#""clientData":{"plan":"x","#),
        (r#""trigger":{"#, r#""trigger":{"x":1,"x":1,"#),
        (r#""parameters":{"#, r#""parameters":{"required":[],"#),
        (r#""data":{"#, r#""data":{"images":[],"#),
        (r#""session":{"#, r#""session":{"id":"x","#),
    ] {
        let found = fault(text.replacen(once, twice, 1));
        assert_eq!(found.reason, Reason::Undecodable, "{twice}");
        assert_eq!(found.company.unwrap().as_str(), "acme", "{twice}");
        assert_eq!(found.trigger.as_deref(), Some("register_qualified_lead"), "{twice}");
    }
}

#[test]
fn bodies_larger_than_1_mib_are_too_large() {
    let text = event().to_string();
    let padded = |size: usize| format!("{text}{}", " ".repeat(size - text.len()));
    assert!(read(padded(1_048_576).as_bytes()).is_ok());
    assert_eq!(fault(padded(1_048_577)).reason, Reason::TooLarge);
}

#[test]
fn other_versions_are_unsupported() {
    let message = "`specversion` must be `1.0`";
    assert_fault(&with(event(), "/specversion", json!("0.3")), Reason::UnsupportedVersion, message);
    let old = without(with(event(), "/specversion", json!("0.3")), "/time");
    assert_fault(&old, Reason::UnsupportedVersion, message);
    assert_fault(&without(event(), "/specversion"), Reason::EventInvalid, "`specversion` is required");
    assert_fault(&with(event(), "/specversion", json!(2)), Reason::UnsupportedVersion, message);
    let expected = "`specversion` must be a string or a whole number";
    assert_fault(&with(event(), "/specversion", json!(0.3)), Reason::EventInvalid, expected);
}

#[test]
fn missing_members_are_named() {
    for (pointer, name) in [
        ("/type", "type"),
        ("/time", "time"),
        ("/data/arguments", "data.arguments"),
        ("/data/trigger", "data.trigger"),
    ] {
        assert_fault(&without(event(), pointer), Reason::EventInvalid, &format!("`{name}` is required"));
    }
    for (pointer, name) in [
        ("/id", "id"),
        ("/source", "source"),
        ("/data", "data"),
        ("/data/company", "data.company"),
        ("/data/company/id", "data.company.id"),
    ] {
        let found = fault(without(event(), pointer).to_string());
        assert_eq!((found.reason, found.message), (Reason::EventInvalid, format!("`{name}` is required")));
    }
    assert_eq!(fault("{}").message, "`specversion` is required");
    assert_eq!(fault("[]").message, "the body must be an object");
    let event = without(event(), "/data/trigger/name");
    assert_fault(&event, Reason::EventInvalid, "`data.trigger`: /name: is required");
}

#[test]
fn members_of_the_wrong_type_are_named() {
    let whole = "a whole number from 0 to 18446744073709551615";
    for (pointer, value, expected) in [
        ("/type", json!(5), "`type` must be a string"),
        ("/type", json!("trigger.completed"), "`type` must be `trigger.fired`"),
        ("/time", json!(5), "`time` must be a string"),
        ("/data/assistant", json!("x"), "`data.assistant` must be an object"),
        ("/data/assistant", json!(["sales", 2]), "`data.assistant` must be an object"),
        ("/data/assistant", json!([1]), "`data.assistant` must be an object"),
        ("/data/assistant/id", json!(5.5), "`data.assistant.id` must be a string or a whole number"),
        ("/data/assistant/id", json!(true), "`data.assistant.id` must be a string or a whole number"),
        (
            "/data/assistant/maxInteractions",
            json!("two"),
            &format!("`data.assistant.maxInteractions` must be {whole}"),
        ),
        (
            "/data/assistant/maxInteractions",
            json!(-1),
            &format!("`data.assistant.maxInteractions` must be {whole}"),
        ),
        (
            "/data/assistant/maxInteractions",
            json!(1.5),
            &format!("`data.assistant.maxInteractions` must be {whole}"),
        ),
        (
            "/data/assistant/maxInteractions",
            json!(1e300),
            &format!("`data.assistant.maxInteractions` must be {whole}"),
        ),
        ("/data/session/id", json!([]), "`data.session.id` must be a string or a whole number"),
        ("/data/clientData", json!([[]]), "`data.clientData` must be an object"),
        ("/data/images", json!("x"), "`data.images` must be a list"),
        ("/data/images", json!({"0": "x"}), "`data.images` must be a list"),
        ("/data/trigger", json!("x"), "`data.trigger`: must be an object"),
        ("/data/next", json!({"0": {}}), "`data.next` must be a list"),
        ("/data/next", json!([3]), "`data.next[0]`: must be an object"),
        ("/data/arguments", json!([1]), "`data.arguments` must be an object"),
        ("/data/arguments", json!(""), "`data.arguments` must be an object"),
        ("/data/arguments", json!(null), "`data.arguments` must be an object"),
    ] {
        assert_fault(&with(event(), pointer, value), Reason::EventInvalid, expected);
    }
    let list = json!(["1.0", "id", "source", "trigger.fired", "2026-11-22T10:00:00Z", event()["data"]]);
    assert_eq!(fault(list.to_string()).reason, Reason::EventInvalid);
}

#[test]
fn long_ids_and_control_characters_are_rejected() {
    let too_long = "x".repeat(1025);
    for value in [json!("a\0"), json!("a\n"), json!(too_long)] {
        for (pointer, name) in
            [("/data/assistant/id", "data.assistant.id"), ("/data/session/id", "data.session.id")]
        {
            let expected = format!("`{name}` must be at most 1024 bytes without control characters");
            assert_fault(&with(event(), pointer, value.clone()), Reason::EventInvalid, &expected);
        }
        for pointer in ["/id", "/source", "/data/company/id"] {
            assert_eq!(fault(with(event(), pointer, value.clone()).to_string()).reason, Reason::EventInvalid);
        }
    }
    let found = fault(with(event(), "/id", json!("")).to_string());
    assert_eq!((found.reason, found.event), (Reason::EventInvalid, None));
    assert_eq!(found.company.unwrap().as_str(), "acme");
}

#[test]
fn times_are_rfc_3339_in_utc_to_the_nanosecond() {
    for (text, expected) in [
        ("2026-11-22T10:00:00Z", Some(datetime!(2026-11-22 10:00:00 UTC))),
        ("2026-11-22T10:00:00.123456789Z", Some(datetime!(2026-11-22 10:00:00.123456789 UTC))),
        ("2026-11-22T10:00:00.1234567899Z", Some(datetime!(2026-11-22 10:00:00.123456789 UTC))),
        ("2026-11-22T01:30:00+02:30", Some(datetime!(2026-11-21 23:00:00 UTC))),
        ("0000-01-01T00:00:00Z", Some(datetime!(0000-01-01 00:00:00 UTC))),
        ("9999-12-31T23:59:59.9Z", Some(datetime!(9999-12-31 23:59:59.9 UTC))),
        ("9999-12-31T23:59:59-01:00", None),
        ("0000-01-01T00:00:00+01:00", None),
        ("10000-01-01T00:00:00Z", None),
        ("-0001-01-01T00:00:00Z", None),
        ("2026-11-22T10:00:00", None),
        ("2026-11-22", None),
        ("2026-02-30T10:00:00Z", None),
        ("2026-11-22T24:00:00Z", None),
        ("1763805600", None),
        ("", None),
    ] {
        assert_eq!(utc(text).ok(), expected, "{text}");
    }
    // A leap second may be accepted or rejected, but must not panic.
    let _ = utc("2016-12-31T23:59:60Z").map(|time| assert_eq!(time.second(), 59));
    let message = "`time` must be an RFC 3339 time, such as 2026-11-22T10:00:00.123Z";
    assert_fault(&with(event(), "/time", json!("yesterday")), Reason::EventInvalid, message);
}

#[test]
fn numbers_that_cannot_be_represented_are_rejected() {
    let wide = |old: &str, new: &str| fault(event().to_string().replacen(old, new, 1));
    for (old, new, reason, expected) in [
        (r#""Ada Lovelace""#, "[1e400]", Reason::ArgumentsInvalid, "argument `name` contains a number that"),
        (
            r#""arguments":{"#,
            r#""arguments":{"ada@b.example":1e999,"#,
            Reason::ArgumentsInvalid,
            "`data.arguments` contains a number",
        ),
        (
            r#""usr_999""#,
            "1e400",
            Reason::EventInvalid,
            "`data.clientData` contains a number that does not fit 64 bits",
        ),
        (
            r#""interpretResponse":false"#,
            r#""x":1e300"#,
            Reason::TriggerInvalid,
            "`data.trigger`: /x: contains a number that",
        ),
        ("false", "18446744073709551616", Reason::TriggerInvalid, "`data.trigger`"),
    ] {
        let found = wide(old, new);
        assert_eq!(found.reason, reason, "{new}: {}", found.message);
        assert!(found.message.starts_with(expected), "{}", found.message);
        assert_eq!(found.trigger.as_deref(), Some("register_qualified_lead"));
    }
}

#[test]
fn nul_characters_and_wide_numbers_cost_no_event() {
    for (pointer, value) in [
        ("/data/arguments/name", json!("Ada\0 Lovelace")),
        ("/data/arguments/a\0", json!(1)),
        ("/data/arguments/a", json!([1e300])),
        ("/data/clientData/plan", json!(1e300)),
        ("/data/clientData/a\0", json!({"\0": "\0"})),
        ("/data/trigger/description", json!("\0")),
        ("/data/trigger/name", json!("register_\0qualified_lead")),
        ("/data/images", json!(["a\0"])),
    ] {
        let fired = read(with(event(), pointer, value).to_string().as_bytes()).unwrap();
        assert_eq!(fired.first_trigger(), "register_qualified_lead", "{pointer}");
        assert_eq!(fired.arguments["name"], "Ada Lovelace", "{pointer}");
        let values =
            [&fired.arguments, &fired.client_data].map(|values| Value::Object(values.clone()).to_string());
        assert!(!values.concat().contains("\\u0000") && !fired.images.concat().contains('\0'), "{pointer}");
    }
}

#[test]
fn whole_numbers_beyond_64_bits_keep_their_digits() {
    let text = event().to_string().replacen(r#""usr_999""#, "18446744073709551616", 1);
    let fired = read(text.replacen(r#""Ada Lovelace""#, "-99999999999999999999", 1).as_bytes()).unwrap();
    assert!(fired.arguments["name"].is_f64() && fired.client_data["user_id"].is_f64());
    assert_eq!(fired.digits["name"], "-99999999999999999999");
    assert_eq!(fired.client_digits["user_id"], "18446744073709551616");
    assert!(fired.size() > read(event().to_string().as_bytes()).unwrap().size());
}

#[test]
fn next_has_at_most_ten_triggers_and_each_is_checked() {
    let next =
        |count: usize| with(event(), "/data/next", json!(vec![event()["data"]["trigger"].clone(); count]));
    assert_eq!(read(next(10).to_string().as_bytes()).unwrap().triggers.len(), 11);
    assert_fault(&next(11), Reason::EventInvalid, "`data.next` has more than 10 triggers");
    let event = with(next(2), "/data/next/1/actions/0/email", json!("$email"));
    let expected = "`data.next[1]`: /actions/0/email: write the bare parameter name, `email`, without `$` and without `{{}}`";
    assert_fault(&event, Reason::TriggerInvalid, expected);
}

proptest! {
    #[test]
    fn decoding_any_bytes_does_not_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body);
    }

    #[test]
    fn faults_of_mutated_events_contain_no_values(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        let marked = with(event(), "/data/arguments/name", json!("zqxjkvbw"));
        let mut body = marked.to_string().into_bytes();
        for (index, byte) in cuts {
            let index = index.index(body.len());
            body[index] = byte;
        }
        if shorten {
            body.truncate(length.index(body.len()));
        }
        if let Err(fault) = read(&body) {
            prop_assert!(!fault.message.contains("zqxj") && !fault.message.contains("analytical"), "{}", fault.message);
        }
    }

    #[test]
    fn any_value_in_any_member_does_not_panic(index in 0..20_usize, value in json_value()) {
        let pointers = [
            "/specversion", "/id", "/source", "/type", "/time", "/data", "/data/company", "/data/company/id",
            "/data/assistant", "/data/assistant/maxInteractions", "/data/session", "/data/clientData", "/data/images",
            "/data/trigger", "/data/trigger/name", "/data/trigger/parameters", "/data/trigger/parameters/properties",
            "/data/trigger/actions", "/data/next", "/data/arguments",
        ];
        let event = with(event(), pointers[index], value);
        if let Err(fault) = read(event.to_string().as_bytes()) {
            prop_assert!(!fault.message.is_empty());
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(type|\\$ref|name|#/\\$defs/a|object|\\PC{0,8})".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = "(type|properties|items|pattern|required|action|name|\\$ref|\\$defs|\\PC{0,6})";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
