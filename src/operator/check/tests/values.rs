//! Types and values of a schema that do not fit the field which they fill.

use super::*;

/// The finding about the parameter of a trigger that fills one field.
fn finding(field: &str, declared: &Value) -> Option<(String, String)> {
    let other = if field == "email" { "phone" } else { "email" };
    let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", field: "v", other: "other"});
    let parameters = json!({"properties": {"v": declared, "other": {}}});
    let found = findings(&json!({"name": "t", "parameters": parameters, "action": action}).to_string());
    assert!(
        found.len() < 2 && found.iter().all(|(severity, ..)| *severity == Severity::Warning),
        "{found:?}"
    );
    found.into_iter().next().map(|(_, place, message)| (place, message))
}

/// What is declared for a field, and what the author is told, with a source.
const DECLARED: &[(&str, &str, &str, &str)] = &[
    (
        "phone",
        r#"{"type": "number"}"#,
        "no plus sign",
        "https://github.com/wireservice/csvkit/issues/1143: floats",
    ),
    ("phone", r#"{"type": ["integer", "null"]}"#, "no plus sign", "OpenAI: a strict schema"),
    (
        "identity",
        r#"{"type": "integer"}"#,
        "no zeros at its start",
        "Receita Federal: a CPF may begin with zeros",
    ),
    ("zipCode", r#"{"type": "integer"}"#, "no zeros at its start", "postal services: São Paulo's codes"),
    ("birthday", r#"{"type": "integer"}"#, "no date", "Excel: serial days"),
    ("email", r#"{"type": "number"}"#, "no email address", "LLM habit"),
    ("email", r#"{"type": "boolean"}"#, "true and false", "LLM habit: whether there is one"),
    ("name", r#"{"type": "object"}"#, "`not_text`", "LLM habit: first and last name"),
    ("phone", r#"{"examples": ["'+5585999990001"]}"#, "is stored as `+5585999990001`", "spreadsheets"),
    ("phone", r#"{"default": "Tel.: 85 99999-0001"}"#, "is stored as `+5585999990001`", "forms"),
    ("email", r#"{"examples": ["<mailto:ada@x.example|Ada>"]}"#, "is stored as `ada@x.example`", "Slack"),
    ("name", r#"{"enum": ["*Ana*", "Bia"]}"#, "is stored as `Ana`", "WhatsApp: bold"),
    ("phone", r#"{"examples": ["99999-0001"]}"#, "`not_a_phone_number`", "Anatel: no area code"),
    ("phone", r#"{"examples": ["5,58599E+12"]}"#, "`not_a_phone_number`", "spreadsheets: lost digits"),
    ("email", r#"{"examples": ["ada"]}"#, "`not_an_email_address`", "RFC 5322, 3.4"),
    ("identity", r#"{"examples": ["529.982.247-26"]}"#, "`wrong_check_digits`", "Receita Federal"),
    (
        "email",
        r#"{"const": "[a@x.example](mailto:b@x.example)"}"#,
        "`link_differs`",
        "CommonMark, 6.3: two addresses",
    ),
];

/// What is fine, and a source.
const FINE: &[(&str, &str, &str)] = &[
    ("phone", r#"{"type": "string", "examples": ["+5585999990001", "(85) 99999-0001"]}"#, "ITU-T E.123"),
    ("email", r#"{"type": ["string", "null"], "format": "email"}"#, "OpenAI: a strict schema"),
    (
        "birthday",
        r#"{"type": "string", "format": "date", "examples": ["1990-05-20", "20/05/1990"]}"#,
        "RFC 3339",
    ),
    ("country", r#"{"enum": ["Brasil", "BR"]}"#, "ISO 3166-1"),
    ("number", r#"{"type": "integer"}"#, "as above: the number of a house"),
    ("company", r#"{"type": ["string", "number"]}"#, "as above: a firm whose name is a number"),
    ("name", r#"{"type": "array", "items": {"type": "string"}}"#, "as above: a list of texts"),
];

#[test]
fn declaration_that_does_not_fit_its_field_gets_a_warning() {
    for (field, declared, says, source) in DECLARED {
        let declared: Value = serde_json::from_str(declared).unwrap();
        let (place, message) =
            finding(field, &declared).unwrap_or_else(|| panic!("{field} {declared} ({source})"));
        assert!(place.starts_with("/parameters/properties/v/"), "{place} ({source})");
        assert!(message.contains(says) && message.contains("write "), "{message} ({source})");
    }
    for (field, declared, source) in FINE {
        let declared: Value = serde_json::from_str(declared).unwrap();
        assert_eq!(finding(field, &declared), None, "{field} {declared} ({source})");
    }
}
