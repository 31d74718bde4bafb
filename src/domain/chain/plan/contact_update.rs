//! Turns arguments into the values and identifiers of a contact.
//!
//! A value that cannot be stored is reported in `rejected` with a code, and the other values are stored. The
//! event fails only if it has no identifier and a phone or email was rejected, or if the rules require one. A
//! birthday or country that is not understood is stored as given and reported as `unverified`; a phone beside
//! which a second number cannot be used is stored and reported as `one_of_two`.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::reading::{Canonical, Reader, Reading};
use crate::domain::{
    chain::rules::{OnUnidentified, Rules},
    contact::{
        ContactUpdate, Rejected,
        field::{Field, FieldMap},
        placeholder::{Why, is_doubtful},
    },
    event::Stamp,
    fault::{Fault, Reason},
    trigger::{
        definition::{Action, Trigger},
        mapping::Mapping,
    },
    value::{country, damaged, phone::Region, zip_code},
};

/// The longest text that is checked for a placeholder when it violates the schema, in bytes.
const MAX_PLACEHOLDER: usize = 1024;

/// Builds the update from the arguments that `mapping` names. `region` is the company's.
pub(super) fn fill(
    mapping: &Mapping,
    arguments: &Value,
    stamp: Stamp,
    region: Region,
    rules: &Rules,
) -> Result<ContactUpdate, Fault> {
    let reader = Reader { region, rules, said_at: stamp.time };
    let values = FieldMap::default();
    let mut update = ContactUpdate { stamp, phone: None, email: None, values, rejected: Vec::new() };
    for (field, parameter) in mapping.iter() {
        let Some(argument) = arguments.get(parameter) else { continue };
        match reader.read(field, argument, parameter) {
            Reading::NoValue(_) => {}
            Reading::Rejected(reason) => update.rejected.push(Rejected { field, reason }),
            Reading::Accepted { value, noted } => {
                update.rejected.extend(noted.map(|reason| Rejected { field, reason }));
                match &value {
                    Canonical::Phone(phone) => update.phone = Some(phone.clone()),
                    Canonical::Email(email) => update.email = Some(email.clone()),
                    Canonical::Text(_) => {}
                }
                update.values.insert(field, value.into_text());
            }
        }
    }
    drop_shared_doubts(&mut update.values);
    update.settle_keys();
    let is_number = |given: &Value| given.is_number() || given.as_str().is_some_and(is_float);
    let zip_code = mapping.iter().find(|(field, _)| *field == Field::ZipCode);
    let lacks_zeros = zip_code.and_then(|(_, parameter)| arguments.get(parameter)).is_some_and(is_number);
    tidy_zip_code(&mut update.values, region, lacks_zeros);
    check_keys(&update, rules.on_unidentified)?;
    Ok(update)
}

/// A program writes its word for nothing in every missing field. Nobody called None works at None.
fn drop_shared_doubts(values: &mut FieldMap<String>) {
    let doubtful: Vec<(Field, &String)> =
        values.iter().filter(|(field, value)| is_doubtful(*field, value)).collect();
    let is_shared = |(field, value): &&(Field, &String)| {
        doubtful.iter().any(|other| other.0 != *field && other.1 == *value)
    };
    let shared: Vec<Field> = doubtful.iter().filter(is_shared).map(|(field, _)| *field).collect();
    for field in shared {
        values.remove(field);
    }
}

/// The arguments that may be null, that fill fields, and that are not a value for any of them: nothing, blank or a placeholder.
pub(super) fn without_value<'t>(
    trigger: &'t Trigger,
    arguments: &Value,
    said_at: OffsetDateTime,
    region: Region,
    rules: &Rules,
) -> Vec<&'t str> {
    let reader = Reader { region, rules, said_at };
    let mappings = trigger.actions().iter().filter_map(|action| match action {
        Action::UpsertContact(mapping) => Some(mapping),
        Action::Webhook(_) => None,
    });
    let mut found: BTreeMap<&str, bool> = BTreeMap::new();
    for (field, parameter) in mappings.flat_map(Mapping::iter) {
        let is_short =
            |argument: &&Value| argument.as_str().is_some_and(|text| text.len() <= MAX_PLACEHOLDER);
        if let Some(argument) = arguments.get(parameter).filter(is_short)
            && trigger.accepts_null(parameter)
        {
            let is_none = matches!(reader.read(field, argument, parameter), Reading::NoValue(_));
            *found.entry(parameter).or_insert(true) &= is_none;
        }
    }
    found.into_iter().filter(|(_, is_none)| *is_none).map(|(parameter, _)| parameter).collect()
}

/// One argument of a CRM step and its outcome, for the author of the trigger. Personal data.
pub struct Explained {
    /// The field that it is for.
    pub field: Field,
    /// The parameter that it belongs to.
    pub parameter: String,
    /// The argument; anything but text as JSON.
    pub given: String,
    /// Its outcome.
    pub outcome: ArgumentResult,
}

/// The outcome of an argument.
pub enum ArgumentResult {
    /// The value that is stored, and a remark: a code of `rejected`, or a sentence.
    Stored(String, Option<&'static str>),
    /// No value, and why.
    NoValue(&'static str),
    /// The code in `rejected`.
    Rejected(&'static str),
}

/// What would come of this text as an argument for the field, apart from the other arguments.
#[must_use]
pub fn outcome_of(
    field: Field,
    text: &str,
    said_at: OffsetDateTime,
    region: Region,
    rules: &Rules,
) -> ArgumentResult {
    let reader = Reader { region, rules, said_at };
    match reader.read(field, &Value::from(text), "") {
        Reading::NoValue(why) => ArgumentResult::NoValue(why.map_or(NOTHING, Why::sentence)),
        Reading::Rejected(reason) => ArgumentResult::Rejected(reason),
        Reading::Accepted { value, noted } => ArgumentResult::Stored(value.into_text(), noted),
    }
}

const NOTHING: &str = "nothing or blank";

/// What came of each argument that [`fill`] has read for `update`.
pub(super) fn explain(
    mapping: &Mapping,
    arguments: &Map<String, Value>,
    update: &ContactUpdate,
    region: Region,
    rules: &Rules,
) -> Vec<Explained> {
    let reader = Reader { region, rules, said_at: update.stamp.time };
    let explained = mapping.iter().filter_map(|(field, parameter)| {
        let argument = arguments.get(parameter)?;
        let outcome = match reader.read(field, argument, parameter) {
            Reading::NoValue(why) => ArgumentResult::NoValue(why.map_or(NOTHING, Why::sentence)),
            Reading::Rejected(reason) => ArgumentResult::Rejected(reason),
            Reading::Accepted { value, noted } => {
                let value = value.into_text();
                let doubt = is_doubtful(field, &value).then_some("only while no other value is known");
                match update.values.get(field) {
                    None => ArgumentResult::NoValue("a word for no value, in several fields"),
                    // The postal code is formatted last.
                    Some(value) => ArgumentResult::Stored(value.clone(), noted.or(doubt)),
                }
            }
        };
        let given = argument.as_str().map_or_else(|| argument.to_string(), str::to_owned);
        Some(Explained { field, parameter: parameter.to_owned(), given, outcome })
    });
    explained.collect()
}

/// Whether a program has written a number, `1310100.0`.
fn is_float(text: &str) -> bool {
    matches!(damaged::repair(text.trim()), Some(Cow::Owned(_)))
}

/// Formats the postal code by the country in the update, or else by the company's region. A number has no zeros at its start,
/// so it may lack one or two: `1310100` is São Paulo's 01310-100, and `2134` Boston's 02134.
fn tidy_zip_code(values: &mut FieldMap<String>, region: Region, lacks_zeros: bool) {
    let Some(given) = values.get(Field::ZipCode) else { return };
    let country = values.get(Field::Country).filter(|country| country::is_code(country));
    let country = country.map_or(region.code(), String::as_str);
    let zeros = if lacks_zeros { ["", "0", "00"].as_slice() } else { &[""] };
    let tidied = zeros.iter().find_map(|zeros| zip_code::tidy(&format!("{zeros}{given}"), country));
    if let Some(tidied) = tidied {
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
