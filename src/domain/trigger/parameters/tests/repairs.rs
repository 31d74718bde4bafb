//! What cannot be checked is left out with a warning, and leaving it out never refuses arguments that its author accepts.

use super::*;

/// A schema for the argument `a`, with definitions.
fn argument(schema: &Value) -> Value {
    let defs = json!({
        "unknown": {"type": "text"},
        "outer": {"properties": {"b": {"$ref": "#/$defs/unknown"}}},
        "integer": {"type": "integer"},
        "loop": {"allOf": [{"$ref": "#/$defs/loop"}]},
    });
    json!({"properties": {"a": schema}, "$defs": defs})
}

fn accepts(schema: &Value, value: &Value) -> bool {
    compile(schema).unwrap().check(&json!({ "a": value })).is_ok()
}

/// Asserts which values pass, although a keyword is left out.
fn test(rows: Vec<(Value, Value, Value)>) {
    for (schema, accepted, refused) in rows {
        let schema = argument(&schema);
        assert!(!compile(&schema).unwrap().warnings().is_empty(), "{schema}");
        for value in accepted.as_array().unwrap() {
            assert!(accepts(&schema, value), "{schema} {value}");
        }
        for value in refused.as_array().unwrap() {
            assert!(!accepts(&schema, value), "{schema} {value}");
        }
    }
}

#[test]
fn a_keyword_that_is_left_out_never_refuses() {
    let remote = json!({"$ref": "https://a.example/x"});
    let unknown = json!({"$ref": "#/$defs/unknown"});
    test(vec![
        (remote.clone(), json!([1, "x"]), json!([])),
        (json!({"$ref": "https://a.example/x", "type": "string"}), json!(["x"]), json!([1])),
        (json!({"not": remote, "type": "string"}), json!(["x"]), json!([1])),
        (json!({"not": {"not": {"not": remote}}}), json!([1]), json!([])),
        (json!({"not": {"properties": {"b": {"items": remote}}}}), json!([{"b": [1]}]), json!([])),
        (json!({"not": {"pattern": "["}}), json!(["x"]), json!([])),
        (json!({"not": {"enum": []}}), json!(["x"]), json!([])),
        (json!({"not": unknown}), json!(["x", 1]), json!([])),
        (json!({"not": {"$ref": "#/$defs/outer"}}), json!([{"b": 1}, 1]), json!([])),
        (json!({"not": {"$ref": "#/$defs/loop"}}), json!([1]), json!([])),
        (json!({"if": remote, "then": {"const": 1}, "else": {"const": 2}}), json!([1, 2, 3]), json!([])),
        (
            json!({"if": {"type": "integer"}, "then": remote, "else": {"const": "x"}}),
            json!([1, "x"]),
            json!(["y"]),
        ),
        (json!({"oneOf": [remote, {"type": "string"}]}), json!([1, "x"]), json!([])),
        (
            json!({"oneOf": [{"type": "integer", "minimum": "1"}, {"type": "integer"}], "anyOf": [{"minimum": 3}]}),
            json!([3]),
            json!([1, "x"]),
        ),
        (json!({"oneOf": [unknown, {"$ref": "#/$defs/integer"}]}), json!([1, "x"]), json!([])),
        (
            json!({"anyOf": [{"type": "integer", "maximum": []}, {"const": "x"}]}),
            json!([1, "x"]),
            json!(["y"]),
        ),
    ]);
}

#[test]
fn keywords_that_depend_on_one_that_is_left_out_never_refuse() {
    let remote = json!({"$ref": "https://a.example/x"});
    test(vec![
        (json!({"contains": remote, "maxContains": 1}), json!([[1, 2]]), json!([[]])),
        (json!({"contains": {"type": "text"}, "minContains": 2}), json!([[1, 2]]), json!([[1]])),
        (
            json!({"patternProperties": {"[": {}}, "additionalProperties": false}),
            json!([{"b": 1}]),
            json!([]),
        ),
        (json!({"properties": "b", "additionalProperties": false}), json!([{"b": 1}]), json!([])),
        (json!({"prefixItems": {"type": "integer"}, "items": false}), json!([[1]]), json!([])),
        (
            json!({"$ref": "https://a.example/x", "unevaluatedProperties": false}),
            json!([{"b": 1}]),
            json!([]),
        ),
        (json!({"allOf": [{"anyOf": [remote]}], "unevaluatedItems": false}), json!([[1]]), json!([])),
        (
            json!({"properties": {"b": {}}, "if": remote, "unevaluatedProperties": false}),
            json!([{"c": 1}]),
            json!([]),
        ),
        (json!({"$ref": "#/$defs/outer", "unevaluatedProperties": false}), json!([{"c": 1}]), json!([])),
        (
            json!({"dependentSchemas": {"b": remote}, "unevaluatedProperties": false}),
            json!([{"b": 1}]),
            json!([]),
        ),
        (json!({"propertyNames": {"pattern": "("}}), json!([{"b": 1}]), json!([])),
        (json!({"$dynamicRef": "#x"}), json!([1]), json!([])),
        (json!({"$ref": 5, "type": "integer"}), json!([1]), json!(["x"])),
    ]);
}

#[test]
fn schemas_without_an_unknown_keyword_are_checked_as_they_are() {
    for (schema, accepted, refused) in [
        (json!({"not": {"$ref": "#/$defs/integer"}}), json!("x"), json!(1)),
        (json!({"oneOf": [{"$ref": "#/$defs/integer"}, {"type": "number"}]}), json!(1.5), json!(1)),
        (
            json!({"if": {"$ref": "#/$defs/integer"}, "then": {"const": 1}, "else": {"const": "x"}}),
            json!("x"),
            json!(2),
        ),
        (json!({"contains": {"$ref": "#/$defs/integer"}, "maxContains": 1}), json!([1]), json!([1, 2])),
        (json!({"$ref": "#/$defs/integer", "unevaluatedProperties": false}), json!(1), json!({"b": 1})),
        (json!({"prefixItems": [true], "unevaluatedItems": false}), json!([1]), json!([1, 2])),
    ] {
        let mut schema = argument(&schema);
        schema["$defs"].as_object_mut().unwrap().retain(|name, _| name == "integer");
        assert!(compile(&schema).unwrap().warnings().is_empty(), "{schema}");
        assert!(accepts(&schema, &accepted) && !accepts(&schema, &refused), "{schema}");
    }
}

#[test]
fn each_repair_has_a_warning_where_it_is() {
    let a = "/parameters/properties/a";
    for (schema, place) in [
        (json!({"type": "text"}), "/type"),
        (json!({"type": ["string", "date"]}), "/type"),
        (json!({"type": "STRING"}), "/type"),
        (json!({"type": []}), "/type"),
        (json!({"enum": 3}), "/enum"),
        (json!({"enum": []}), "/enum"),
        (json!({"required": true}), "/required"),
        (json!({"required": "b"}), "/required"),
        (json!({"required": null}), "/required"),
        (json!({"properties": []}), "/properties"),
        (json!({"properties": {"b/c~": 3}}), "/properties/b~1c~0"),
        (json!({"items": []}), "/items"),
        (json!({"items": [{"type": "integer"}]}), "/items"),
        (json!({"allOf": []}), "/allOf"),
        (json!({"anyOf": {}}), "/anyOf"),
        (json!({"allOf": [{}, {"minLength": "1"}]}), "/allOf/1/minLength"),
        (json!({"maxLength": -1}), "/maxLength"),
        (json!({"maxItems": 1.5}), "/maxItems"),
        (json!({"multipleOf": 0}), "/multipleOf"),
        (json!({"uniqueItems": "yes"}), "/uniqueItems"),
        (json!({"exclusiveMinimum": true, "minimum": 0}), "/exclusiveMinimum"),
        (json!({"nullable": true, "type": "string"}), "/nullable"),
        (json!({"pattern": 5}), "/pattern"),
        (json!({"pattern": "("}), "/pattern"),
        (json!({"patternProperties": {"(": {}}}), "/patternProperties/("),
        (json!({"additionalProperties": "false"}), "/additionalProperties"),
        (json!({"dependencies": {"b": "c"}}), "/dependencies/b"),
        (json!({"dependentRequired": {"b": "c"}}), "/dependentRequired"),
        (json!({"$ref": "#/$defs/missing"}), "/$ref"),
        (json!({"$ref": "#missing"}), "/$ref"),
        (json!(3), ""),
        (json!([]), ""),
    ] {
        let parameters = compile(&json!({"properties": {"a": schema}})).unwrap();
        assert_eq!(pointers(&parameters), [format!("{a}{place}")], "{schema}");
    }
    for (schema, expected) in [
        (json!([]), vec!["/parameters"]),
        (json!({"$schema": "https://hostile.example/meta"}), vec!["/parameters/$schema"]),
        (json!({"$defs": {"a": {"type": "text"}}}), vec![]),
        (
            json!({"properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "text"}}}),
            vec!["/parameters/$defs/x/type"],
        ),
        (
            json!({"properties": {"a": {"not": {"type": "text"}}}}),
            vec!["/parameters/properties/a/not/type", "/parameters/properties/a/not"],
        ),
    ] {
        assert_eq!(pointers(&compile(&schema).unwrap()), expected, "{schema}");
    }
}

#[test]
fn what_looks_like_a_keyword_but_is_data_or_a_name_is_left_alone() {
    let schema = json!({
        "properties": {
            "$ref": {"type": "string"},
            "type": {"enum": [{"$ref": "https://a.example/"}, "x"]},
            "pattern": {"const": {"pattern": "("}, "default": {"$ref": 3}, "examples": [{"type": "text"}]},
            "properties": {"type": "object", "properties": {"$id": {"type": "string"}}},
        },
        "x-example": {"$ref": "https://a.example/"},
    });
    let parameters = compile(&schema).unwrap();
    assert!(parameters.warnings().is_empty(), "{:?}", parameters.warnings());
    assert!(
        parameters
            .check(&json!({"$ref": "x", "type": {"$ref": "https://a.example/"}, "properties": {"$id": "x"}}))
            .is_ok()
    );
    assert!(
        parameters.check(&json!({"$ref": 1})).is_err() && parameters.check(&json!({"pattern": "("})).is_err()
    );
}

#[test]
fn names_may_be_repeated() {
    let schema = json!({"required": ["a", "b", "a"], "dependentRequired": {"a": ["c", "c"]}, "dependencies": {"b": ["d", "d"]}});
    let parameters = compile(&schema).unwrap();
    assert!(parameters.warnings().is_empty());
    assert!(parameters.check(&json!({"a": 1, "b": 1, "c": 1, "d": 1})).is_ok());
    for arguments in [json!({"a": 1}), json!({"a": 1, "b": 1, "c": 1}), json!({"a": 1, "b": 1, "d": 1})] {
        assert!(parameters.check(&arguments).is_err(), "{arguments}");
    }
}
