//! Declarations with which a field is filled otherwise than the author means: types that lose a part of the value, and values
//! with something around them or that the field does not take.

use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Warning,
    suggested::{self, shortened},
};
use crate::domain::{
    chain::{
        plan::{ArgumentResult, outcome_of},
        rules::Rules,
    },
    contact::field::Field,
    trigger::definition::Trigger,
    value::{
        phone::Region,
        wrapping::{Kind, Unwrapped, unwrap},
    },
};

/// The warnings about the parameters that fill fields, each with its place in the definition.
pub(super) fn warnings(schema: &Value, trigger: &Trigger, region: Region, rules: &Rules) -> Vec<Warning> {
    suggested::of_each(schema, trigger, |filling| {
        let field = filling.field;
        let types = types(filling.declared).into_iter().filter_map(|declared| of_type(field, declared));
        let types = types.map(|message| (format!("{}/type", filling.place), message));
        let texts = filling.texts().into_iter();
        let texts =
            texts.filter_map(|(place, text)| Some((place, of_text(field, text.trim(), region, rules)?)));
        types.chain(texts).collect::<Vec<_>>()
    })
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(only)) => vec![only],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// What a type loses of a field's values.
fn of_type(field: Field, declared: &str) -> Option<String> {
    let lost = match (field, declared) {
        (Field::Phone, "number" | "integer") => "a number has no plus sign, and may come rounded",
        (Field::Identity | Field::ZipCode, "number" | "integer") => "a number has no zeros at its start",
        (Field::Birthday, "number" | "integer") => {
            return Some(
                "a number is no date; write \"type\": \"string\" and \"format\": \"date\"".to_owned(),
            );
        }
        (Field::Email, "number" | "integer") => "a number is no email address",
        (Field::Phone | Field::Email | Field::Identity | Field::Birthday | Field::ZipCode, "boolean") => {
            "true and false are no values of this field"
        }
        (_, "object") => "an object is rejected (`not_text`)",
        _ => return None,
    };
    Some(format!("{lost}; write \"type\": \"string\""))
}

/// What the service would make of a text that the schema suggests.
fn of_text(field: Field, text: &str, region: Region, rules: &Rules) -> Option<String> {
    let now = OffsetDateTime::now_utc();
    match outcome_of(field, text, now, region, rules) {
        ArgumentResult::Rejected(code) => {
            let shown = shortened(text);
            Some(format!("`{shown}` is rejected in `{field}` (`{code}`); write a value that the field takes"))
        }
        // A document is not printed: logs of a CI would keep it.
        ArgumentResult::Stored(value, _)
            if field != Field::Identity && has_something_around(field, text, region) =>
        {
            let (shown, value) = (shortened(text), shortened(&value));
            Some(format!("`{shown}` is stored as `{value}`; write that"))
        }
        ArgumentResult::Stored(..) | ArgumentResult::NoValue(_) => None,
    }
}

fn has_something_around(field: Field, text: &str, region: Region) -> bool {
    let kind = match field {
        Field::Email => Kind::Email,
        Field::Phone => Kind::Phone(region),
        Field::Identity | Field::ZipCode | Field::Number => Kind::Digits,
        Field::Birthday => Kind::Date,
        _ => Kind::Text,
    };
    matches!(unwrap(kind, text), Unwrapped::Bare(bare) if bare != text)
}
