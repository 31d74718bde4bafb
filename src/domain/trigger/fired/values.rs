//! Arguments and client data: objects with values of strangers.

use std::sync::Arc;

use serde_json::{Map, Value, value::RawValue};

use super::bad_member;
use crate::domain::{
    fault::{Fault, Reason},
    json::{self, BadJson, Digits},
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
    if is_empty_list(&text) { Ok(Members::default()) } else { json::with_doubles(&text) }
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
