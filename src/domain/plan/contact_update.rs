//! Arguments to the fields of a contact: what each says as text, and which keys it gives.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::{OnUnidentified, Rules};
use crate::domain::{
    contact::{ContactUpdate, Rejected},
    email::Email,
    event::Stamp,
    fault::{Fault, Reason},
    field::{Field, FieldMap},
    mapping::Mapping,
    phone::Phone,
    placeholder::is_placeholder,
    problem::quote,
    text,
};

/// What a mapping and the arguments say about a person.
pub(super) fn fill(
    mapping: &Mapping,
    arguments: &Value,
    stamp: Stamp,
    rules: &Rules,
) -> Result<ContactUpdate, Fault> {
    let values = FieldMap::default();
    let mut update = ContactUpdate { stamp, phone: None, email: None, values, rejected: Vec::new() };
    for (field, parameter) in mapping.iter() {
        let Some(argument) = arguments.get(parameter) else { continue };
        let Some(text) = as_text(argument) else {
            update.rejected.push(Rejected { field, reason: "not_text" });
            continue;
        };
        let text = text::clean(&text);
        if text.is_empty() || is_placeholder(field, &text, parameter) {
            continue;
        }
        let longest = rules.max_value_length;
        if text.len() > longest && text.chars().nth(longest).is_some() {
            let message = format!("argument {} is longer than {longest} characters", quote(parameter));
            return Err(Fault::new(Reason::ArgumentsInvalid, message));
        }
        match value(field, text, rules, &mut update) {
            Ok(value) => {
                update.values.insert(field, value);
            }
            Err(reason) => update.rejected.push(Rejected { field, reason }),
        }
    }
    check_keys(&update, rules.on_unidentified)?;
    Ok(update)
}

/// The canonical value of a field, a key noted in `update`; or why it is none.
fn value(
    field: Field,
    text: Cow<'_, str>,
    rules: &Rules,
    update: &mut ContactUpdate,
) -> Result<String, &'static str> {
    match field {
        Field::Phone => {
            let phone = Phone::parse(&text, rules.default_region).ok_or("not_a_phone_number")?;
            Ok(update.phone.insert(phone).as_str().to_owned())
        }
        Field::Email => {
            let email = Email::parse(&text).ok_or("not_an_email_address")?;
            Ok(update.email.insert(email).as_str().to_owned())
        }
        _ => Ok(text.into_owned()),
    }
}

fn check_keys(update: &ContactUpdate, on_unidentified: OnUnidentified) -> Result<(), Fault> {
    if update.phone.is_some() || update.email.is_some() {
        return Ok(());
    }
    let is_key = |rejected: &&Rejected| matches!(rejected.field, Field::Phone | Field::Email);
    let unusable: Vec<String> = update
        .rejected
        .iter()
        .filter(is_key)
        .map(|rejected| format!("`{}` is {}", rejected.field, rejected.reason))
        .collect();
    if !unusable.is_empty() {
        let message = format!("no usable phone or email: {}", unusable.join(", "));
        return Err(Fault::new(Reason::IdentifierInvalid, message));
    }
    match on_unidentified {
        OnUnidentified::Create => Ok(()),
        OnUnidentified::Reject => {
            let message = "neither phone nor email was given, and such contacts are to be rejected";
            Err(Fault::new(Reason::IdentifierInvalid, message))
        }
    }
}

/// An argument as text: a list by its items. None for an object, and for a list that holds
/// objects or lists: no spelling of these is the one that a reader expects.
fn as_text(argument: &Value) -> Option<Cow<'_, str>> {
    match argument {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number_text(number))),
        Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        Value::Null => Some(Cow::Borrowed("")),
        Value::Object(_) => None,
        Value::Array(items) => {
            let mut texts = Vec::with_capacity(items.len());
            for item in items {
                if item.is_array() {
                    return None;
                }
                let text = as_text(item)?;
                let text = text::clean(&text);
                if !text.is_empty() {
                    texts.push(text.into_owned());
                }
            }
            Some(Cow::Owned(texts.join(", ")))
        }
    }
}

/// Whole floats without fraction and never with an exponent: 12345.0 is a postal code of five digits.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}
