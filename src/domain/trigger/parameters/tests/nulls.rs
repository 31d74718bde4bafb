//! Null in a schema, and null for an argument that another one requires.

use super::*;

/// A constant, or none at all: Go's `encoding/json` writes null for what is not set (alecthomas/jsonschema #97), as do
/// `System.Text.Json` and Jackson by default.
#[test]
fn null_for_a_constant_may_stand_for_none() {
    let all_absent =
        json!({"type": "string", "const": null, "enum": null, "pattern": null, "minLength": null});
    for (schema, accepted, refused) in [
        (json!({"type": "string", "const": null}), json!(["x"]), json!([1])),
        (json!({"type": "STRING", "const": null}), json!(["x"]), json!([1])),
        (json!({"type": ["string", "integer"], "const": null}), json!(["x", 1]), json!([true])),
        (all_absent, json!(["x"]), json!([1])),
        (json!({"const": null, "title": null}), json!(["x", 1]), json!([])),
        (json!({"const": null, "description": null, "maxLength": 2}), json!(["x", 1]), json!(["xyz"])),
        (json!({"const": null, "$ref": null}), json!(["x"]), json!([])),
        (json!({"const": null, "enum": ["a", "b"]}), json!(["a"]), json!(["c"])),
        (json!({"type": ["string", "null"], "const": null, "items": null}), json!(["x"]), json!([1])),
        (json!({"type": "string", "nullable": true, "const": null, "enum": null}), json!(["x"]), json!([1])),
    ] {
        let parameters = compile(&json!({"properties": {"a": schema}})).unwrap();
        let warnings = parameters.warnings();
        let is_warned = |one: &Problem| one.pointer.ends_with("/const") && one.message.contains("absent");
        assert!(warnings.iter().any(is_warned), "{schema}: {warnings:?}");
        for value in accepted.as_array().unwrap() {
            assert_eq!(parameters.check(&json!({ "a": value })), Ok(()), "{schema} {value}");
        }
        for value in refused.as_array().unwrap() {
            assert!(parameters.check(&json!({ "a": value })).is_err(), "{schema} {value}");
        }
    }
}

/// dadav/helm-schema #125, Zod's `z.null()` and `z.literal(null)`, the official test suite
#[test]
fn null_for_a_constant_may_stand_for_null() {
    for schema in [
        json!({"const": null}),
        json!({"type": "null", "const": null}),
        json!({"type": ["null", "string"], "const": null}),
        json!({"const": null, "default": null}),
        json!({"const": null, "examples": [null], "title": "Nothing"}),
        json!({"enum": ["a", null], "const": null}),
        json!({"type": "string", "nullable": true, "const": null}),
    ] {
        let parameters = compile(&json!({"properties": {"a": schema}, "required": ["a"]})).unwrap();
        assert_eq!(parameters.check(&json!({"a": null})), Ok(()), "{schema}");
        for value in [json!("x"), json!(1), json!("a")] {
            assert!(parameters.check(&json!({ "a": value })).is_err(), "{schema} {value}");
        }
    }
}

#[test]
fn null_is_enough_for_what_another_argument_requires() {
    let nullable = json!({"type": ["string", "null"]});
    let properties = json!({"a": {"type": "string"}, "b": nullable, "c": nullable, "d": {"type": "string"}});
    let missing = |name: &str| Err(format!("argument `{name}` is required but missing"));
    for (rules, arguments, expected) in [
        (json!({"dependentRequired": {"a": ["b"]}}), json!({"a": "x", "b": null}), Ok(())),
        (json!({"dependentRequired": {"a": ["b"]}}), json!({"a": "x"}), missing("b")),
        (
            json!({"dependentRequired": {"a": ["b", "d"]}}),
            json!({"a": "x", "b": null, "d": null}),
            missing("d"),
        ),
        // Drafts up to 7.
        (json!({"dependencies": {"a": ["b", "c"]}}), json!({"a": "x", "b": null, "c": null}), Ok(())),
        (json!({"dependencies": {"a": {"required": ["b"]}}}), json!({"a": "x", "b": null}), Ok(())),
        (json!({"dependentSchemas": {"a": {"required": ["b"]}}}), json!({"a": "x", "b": null}), Ok(())),
        (json!({"allOf": [{"dependentRequired": {"a": ["b"]}}]}), json!({"a": "x", "b": null}), Ok(())),
        (
            json!({"$ref": "#/$defs/x", "$defs": {"x": {"dependentRequired": {"a": ["b"]}}}}),
            json!({"a": "x", "b": null}),
            Ok(()),
        ),
        // A null does not require anything itself.
        (json!({"dependentRequired": {"a": ["b"], "b": ["c"]}}), json!({"b": null}), Ok(())),
        (
            json!({"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"b": false}}),
            json!({"b": null}),
            Ok(()),
        ),
    ] {
        let mut schema = rules.clone();
        schema["properties"] = properties.clone();
        let parameters = compile(&schema).unwrap();
        assert_eq!(parameters.check(&arguments), expected, "{rules} {arguments}");
    }
}

#[test]
fn arguments_may_be_null_unless_a_schema_requires_them() {
    let schema = json!({
        "required": ["a", "d"],
        "allOf": [{"$ref": "#/$defs/more"}],
        "then": {"required": ["ignored"]},
        "properties": {"a": {"type": "string"}, "b": {"required": ["inner"]}, "d": {"type": ["string", "null"]}},
        "$defs": {"more": {"required": ["c"], "properties": {"c": {"type": "string"}}}},
    });
    let parameters = compile(&schema).unwrap();
    for (name, accepts) in
        [("a", false), ("b", true), ("c", false), ("d", true), ("inner", true), ("ignored", true)]
    {
        assert_eq!(parameters.accepts_null(name), accepts, "{name}");
    }
}
