//! Arguments and client data: objects with values of strangers.

use std::sync::Arc;

use serde_json::{Map, Value, value::RawValue};

use super::bad_member;
use crate::domain::{
    fault::{Fault, Reason},
    json::{self, BadJson, Defect, Digits},
    trigger::{
        definition::Trigger,
        shapes::{is_empty_list, is_empty_text},
        spelling,
    },
    value::text::quote,
};

/// The members of an object, and the digits of those that are numbers beyond 64 bits.
type Members = (Map<String, Value>, Digits);

/// An object, also as a text. An empty list counts as an empty object.
fn object(raw: &RawValue) -> Result<Members, BadJson> {
    let text = spelling::unwrapped(raw.get());
    if is_empty_list(&text) { Ok(Members::default()) } else { with_doubles(&text) }
}

fn with_doubles(text: &str) -> Result<Members, BadJson> {
    match json::object(text) {
        Err(bad) if bad.defect == Defect::WideNumber => {}
        parsed => return parsed.map(|object| (object, Digits::new())),
    }
    let object = json::object_of_doubles(text)?;
    let paired = json::paired(text);
    let members = json::members(paired.as_deref().unwrap_or(text)).unwrap_or_default();
    let whole = members.into_iter().filter(|(_, value)| json::is_whole(value.get()));
    Ok((object, whole.map(|(key, value)| (key.replace('\0', ""), value.get().to_owned())).collect()))
}

pub(super) fn client_data(raw: &RawValue) -> Result<Members, Fault> {
    if is_empty_text(raw.get()) {
        return Ok(Members::default());
    }
    object(raw).map_err(|bad| bad_member("`data.clientData`", &bad, Reason::EventInvalid))
}

pub(super) fn arguments(raw: &RawValue, triggers: &[Arc<Trigger>]) -> Result<Members, Fault> {
    object(raw).map_err(|bad| {
        // Only a declared name is safe to quote: a language model may have made up any other key.
        let declared =
            bad.member.as_ref().filter(|member| triggers.iter().any(|trigger| trigger.declares(member)));
        match declared {
            Some(name) => bad_member(&format!("argument {}", quote(name)), &bad, Reason::ArgumentsInvalid),
            None => bad_member("`data.arguments`", &bad, Reason::ArgumentsInvalid),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_doubles_and_whole_ones_keep_their_digits() {
        for (json, expected, digits) in [
            ("89551234567890123456", 89_551_234_567_890_123_456.0, Some("89551234567890123456")),
            ("18446744073709551616", 18_446_744_073_709_551_616.0, Some("18446744073709551616")),
            ("-9223372036854775809", -9_223_372_036_854_775_808.0, Some("-9223372036854775809")),
            ("1e20", 1e20, None),
            ("1.5e300", 1.5e300, None),
            ("-1e19", -1e19, None),
            ("18446744073709551615", 18_446_744_073_709_551_615.0, None),
            ("-9223372036854775808", -9_223_372_036_854_775_808.0, None),
            ("5", 5.0, None),
        ] {
            let (object, found) = with_doubles(&format!(r#"{{"x": "\ud800", "a\u0000": {json}}}"#)).unwrap();
            assert_eq!(object["a"].as_f64(), Some(expected), "{json}");
            assert_eq!(found.get("a").map(String::as_str), digits, "{json}");
        }
        let (object, found) = with_doubles(r#"{"a": [89551234567890123456], "b": 1e20}"#).unwrap();
        assert!(object["a"][0].is_f64() && found.is_empty());
        assert_eq!(with_doubles(r#"{"a": [1e400]}"#).unwrap_err().defect, Defect::WideNumber);
        assert_eq!(with_doubles(r#"{"a": 1e20, "a": 1}"#).unwrap_err().defect, Defect::DuplicateKey);
    }
}
