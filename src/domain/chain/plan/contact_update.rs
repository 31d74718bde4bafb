//! Turns arguments into the values and identifiers of a contact.
//!
//! A value that cannot be stored is reported in `rejected` with a code, and the other values are stored. The
//! event fails only if it has no identifier and a phone or email was rejected, or if the rules require one. A
//! birthday or country that is not understood is stored as given and reported as `unverified`.

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::domain::{
    chain::rules::{OnUnidentified, Rules},
    contact::{
        ContactUpdate, Rejected,
        field::{Field, FieldMap},
    },
    event::Stamp,
    fault::{Fault, Reason},
    trigger::mapping::Mapping,
    value::{
        birthday, country,
        email::Email,
        identity::{Recognized, recognize},
        phone::{Phone, Region},
        text, zip_code,
    },
};

/// Builds the update from the arguments that `mapping` names. `region` is the company's.
pub(super) fn fill(
    mapping: &Mapping,
    arguments: &Value,
    stamp: Stamp,
    region: Region,
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
        if text.is_empty() || rules.placeholders.cover(field, &text, parameter) {
            continue;
        }
        match value(field, text, region, rules.max_value_length, &mut update) {
            Ok(value) => {
                update.values.insert(field, value);
            }
            Err(reason) => update.rejected.push(Rejected { field, reason }),
        }
    }
    update.settle_keys();
    tidy_zip_code(&mut update.values, region);
    check_keys(&update, rules.on_unidentified)?;
    Ok(update)
}

/// The value to store, or the code of its rejection. Sets an identifier in `update`, and reports there a
/// value that was not understood.
fn value(
    field: Field,
    text: Cow<'_, str>,
    region: Region,
    longest: usize,
    update: &mut ContactUpdate,
) -> Result<String, &'static str> {
    if text.len() > longest && text.chars().nth(longest).is_some() {
        return Err("too_long");
    }
    let understood = match field {
        Field::Phone => {
            let phone = Phone::parse(&text, region).ok_or("not_a_phone_number")?;
            return Ok(update.phone.insert(phone).as_str().to_owned());
        }
        Field::Email => {
            let email = Email::parse(&text).ok_or("not_an_email_address")?;
            return Ok(update.email.insert(email).as_str().to_owned());
        }
        Field::Identity => {
            return match recognize(&text, region) {
                Recognized::Cpf(text) | Recognized::Cnpj(text) | Recognized::Ssn(text) => Ok(text),
                Recognized::Other => Ok(text.into_owned()),
                Recognized::BadCheckDigits => Err("wrong_check_digits"),
            };
        }
        Field::Birthday => birthday::parse(&text, region, update.stamp.time),
        Field::Country => country::code(&text).map(str::to_owned),
        _ => return Ok(text.into_owned()),
    };
    Ok(understood.unwrap_or_else(|| {
        update.rejected.push(Rejected { field, reason: Rejected::UNVERIFIED });
        text.into_owned()
    }))
}

/// Formats the postal code by the country in the update, or else by the company's region.
fn tidy_zip_code(values: &mut FieldMap<String>, region: Region) {
    let Some(given) = values.get(Field::ZipCode) else { return };
    let country = values.get(Field::Country).filter(|country| country::is_code(country));
    if let Some(tidied) = zip_code::tidy(given, country.map_or(region.code(), String::as_str)) {
        values.insert(Field::ZipCode, tidied);
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

/// An argument as text, the items of a list joined by commas. `None` for an object, and for a list that
/// contains objects or lists: there is no obvious way to write these as text.
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

/// Writes whole floats without a fraction, and none with an exponent: 12345.0 is a five-digit postal code.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}
