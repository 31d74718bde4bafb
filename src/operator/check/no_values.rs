//! Values in a schema that the service takes for no value, so that the field is never filled with them.

use serde_json::Value;

use super::{
    Warning,
    suggested::{self, shortened},
};
use crate::domain::{
    contact::{field::Field, placeholder::Placeholders},
    trigger::definition::Trigger,
};

/// A warning for each placeholder in the schema of a parameter that fills a field, with its place in the definition.
pub(super) fn warnings(schema: &Value, trigger: &Trigger, placeholders: &Placeholders) -> Vec<Warning> {
    suggested::of_each(schema, trigger, |filling| {
        let (field, parameter) = (filling.field, filling.parameter);
        let texts = filling.texts().into_iter().map(|(place, text)| (place, text.trim()));
        let without_value =
            texts.filter(|(_, text)| !text.is_empty() && placeholders.cover(field, text, parameter));
        without_value.map(|(place, text)| (place, message(field, text))).collect::<Vec<_>>()
    })
}

fn message(field: Field, text: &str) -> String {
    let shown = shortened(text);
    format!("`{shown}` counts as no value in `{field}`; remove it, and do not require the parameter")
}
