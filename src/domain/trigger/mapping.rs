//! The configuration of a `CRM / UPSERT_CONTACT` action: the parameter that fills each field. Arguments are
//! not read here.

use serde_json::{Map, Value};
use strum::VariantArray as _;

use crate::domain::{
    contact::field::Field,
    json::is_empty,
    trigger::{parameters::Parameters, problem::Problems},
    value::text::quote,
};

/// The fields of an action and the parameters that fill them. The trigger declares all of these parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping(Vec<(Field, String)>);

impl Mapping {
    /// Reads an action. Adds a problem for every key that is not a field and every value that is not a
    /// declared parameter. A member without content maps nothing: a serializer writes the members of all actions, a
    /// form all of its boxes.
    pub(super) fn read(
        action: &Map<String, Value>,
        parameters: &Parameters,
        problems: &mut Problems,
    ) -> Self {
        let mut fields = Vec::new();
        let is_mapping = |(key, value): &(&String, &Value)| {
            !matches!(key.as_str(), "type" | "subtype") && !is_empty(value)
        };
        for (key, value) in action.iter().filter(is_mapping) {
            let entry = field(key).and_then(|field| Ok((field, parameter(value, parameters)?)));
            match entry {
                Ok((field, parameter)) => fields.push((field, parameter.to_owned())),
                Err(message) => problems.push_in(key, message),
            }
        }
        // Sorted by field, regardless of the author's order.
        fields.sort_by_key(|(field, _)| *field);
        Self(fields)
    }

    /// Fields in declaration order, each with the name of its parameter.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        self.0.iter().map(|(field, parameter)| (*field, parameter.as_str()))
    }
}

fn field(key: &str) -> Result<Field, String> {
    key.parse().map_err(|_| {
        let alike = |field: &Field| field.name().eq_ignore_ascii_case(&key.replace(['_', '-', ' '], ""));
        if let Some(field) = Field::VARIANTS.iter().copied().find(alike) {
            return format!("unknown field {}; write `{field}`", quote(key));
        }
        let names: Vec<&str> = Field::VARIANTS.iter().map(|field| field.name()).collect();
        format!("unknown field {}; the fields are {}", quote(key), names.join(", "))
    })
}

fn parameter<'a>(value: &'a Value, parameters: &Parameters) -> Result<&'a str, String> {
    let Value::String(name) = value else {
        return Err("must be a string, the name of a parameter".into());
    };
    if let Some(bare) = bare_name(name) {
        return Err(format!(
            "write the bare parameter name, {}, without `$` and without `{{{{}}}}`",
            quote(bare)
        ));
    }
    if !parameters.declares(name) {
        return Err(format!("{} is not a parameter that this trigger declares", quote(name)));
    }
    Ok(name)
}

/// The name in `$name`, `${name}` and `{{name}}`.
fn bare_name(text: &str) -> Option<&str> {
    let text = text.trim();
    let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    let inner = inner.or_else(|| text.strip_prefix("${").and_then(|text| text.strip_suffix('}')));
    let name = inner.or_else(|| text.strip_prefix('$'))?;
    Some(name.trim().trim_start_matches('$'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(action: &Value) -> Result<Vec<(Field, String)>, Vec<String>> {
        let mut problems = Problems::default();
        let schema = json!({"properties": {"customerName": {}, "mail": {}, "5": {}}});
        let parameters = Parameters::compile(&schema, &mut problems);
        let mapping = Mapping::read(action.as_object().unwrap(), &parameters, &mut problems);
        let found = problems.into_vec();
        if found.is_empty() {
            Ok(mapping.0)
        } else {
            Err(found.into_iter().map(|problem| format!("{} {}", problem.pointer, problem.message)).collect())
        }
    }

    #[test]
    fn mappings_are_sorted_by_field() {
        let action =
            json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "email": "mail", "name": "customerName"});
        let expected = vec![(Field::Name, "customerName".into()), (Field::Email, "mail".into())];
        assert_eq!(read(&action), Ok(expected));
        assert_eq!(read(&json!({"type": "CRM"})), Ok(vec![]));
        let expected = vec![(Field::Email, "mail".into())];
        let all = json!({"email": "mail", "phone": null, "city": "", "url": null, "method": " ", "headers": [], "body": {}});
        assert_eq!(read(&all), Ok(expected));
    }

    #[test]
    fn problems_say_what_to_write_instead() {
        for (action, expected) in [
            (
                json!({"name": "$customerName"}),
                "/name write the bare parameter name, `customerName`, without `$` and without `{{}}`",
            ),
            (
                json!({"name": "{{ customerName }}"}),
                "/name write the bare parameter name, `customerName`, without `$` and without `{{}}`",
            ),
            (
                json!({"name": "${customerName}"}),
                "/name write the bare parameter name, `customerName`, without `$` and without `{{}}`",
            ),
            (json!({"name": "customer"}), "/name `customer` is not a parameter that this trigger declares"),
            (json!({"name": 5}), "/name must be a string, the name of a parameter"),
            (json!({"name": false}), "/name must be a string, the name of a parameter"),
            (json!({"zip_code": "mail"}), "/zip_code unknown field `zip_code`; write `zipCode`"),
        ] {
            assert_eq!(read(&action), Err(vec![expected.to_owned()]), "{action}");
        }
        let unknown = read(&json!({"nickname": "mail"})).unwrap_err();
        assert!(
            unknown[0].starts_with("/nickname unknown field `nickname`; the fields are name, identity, ")
        );
        assert_eq!(read(&json!({"name": "$mail", "x": 1, "email": "mail"})).unwrap_err().len(), 2);
    }
}
