//! Schemas and arguments, including hostile ones.

use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<Parameters, String> {
    let mut problems = Problems::default();
    let parameters = Parameters::compile(schema, &mut problems);
    match problems.into_vec().into_iter().next() {
        None => Ok(parameters),
        Some(problem) => Err(format!("{}: {}", problem.pointer, problem.message)),
    }
}

#[test]
fn messages_name_the_argument_and_the_broken_rule() {
    let schema = json!({
        "properties": {
            "name": {"type": "string", "maxLength": 5, "pattern": "^[A-Z]"},
            "age": {"type": "integer"},
            "score": {"type": ["number", "boolean"]},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "plan": {"enum": ["starter", "growth"]},
            "home": {"type": "object", "required": ["zip"], "additionalProperties": false, "properties": {"zip": {}}},
        },
        "required": ["name"],
        "additionalProperties": {"type": "string"},
    });
    let parameters = compile(&schema).unwrap();
    for (arguments, expected) in [
        (json!({"name": "Ada", "age": 3, "score": 1.5, "tags": ["a"], "plan": "growth", "x": "y"}), ""),
        (json!({}), "argument `name` is required but missing"),
        (json!({"name": 7411}), "argument `name` must be a string"),
        (json!({"name": "Adamant"}), "argument `name` is longer than 5 characters"),
        (json!({"name": "ada"}), "argument `name` breaks the rule `pattern`"),
        (json!({"name": "Ada", "age": 7411.5}), "argument `age` must be an integer"),
        (json!({"name": "Ada", "age": "7411"}), "argument `age` must be an integer"),
        (json!({"name": "Ada", "score": "7411"}), "argument `score` must be a boolean or a number"),
        (json!({"name": "Ada", "tags": ["a", 7411]}), "argument `tags` must be a string"),
        (json!({"name": "Ada", "tags": ["a", "b", "c"]}), "argument `tags` has more than 2 items"),
        (json!({"name": "Ada", "plan": "gold"}), "argument `plan` is not one of the values in `enum`"),
        (json!({"name": "Ada", "home": {}}), "argument `home` lacks `zip`"),
        (
            json!({"name": "Ada", "home": {"zip": 1, "ada@b.example": 2}}),
            "argument `home` may not have undeclared members",
        ),
        (json!({"name": "Ada", "ada@b.example": 7411}), "an undeclared argument must be a string"),
    ] {
        let found = parameters.check(&arguments).err().unwrap_or_default();
        assert_eq!(found, expected, "{arguments}");
    }
}

#[test]
fn parameters_without_schema_accept_everything() {
    assert!(Parameters::default().check(&json!({"a": 1})).is_ok());
    assert!(compile(&json!({})).unwrap().check(&json!({"a": 1})).is_ok());
    assert_eq!(compile(&json!({"properties": {"b": {}, "a": true}})).unwrap().declared(), ["b", "a"]);
}

#[test]
fn problems_of_schemas_have_a_pointer() {
    for (schema, expected) in [
        (json!(true), ": must be an object, a JSON Schema with `properties`"),
        (json!({"type": "string"}), "/type: arguments are an object; write `object` or omit `type`"),
        (json!({"properties": {"a": {"type": "text"}}}), "/properties/a/type: is not valid JSON Schema: "),
        (json!({"properties": []}), "/properties: is not valid JSON Schema: must be an object"),
        (json!({"required": "name"}), "/required: is not valid JSON Schema: must be an array"),
        (
            json!({"properties": {"a": {"maxLength": -1}}}),
            "/properties/a/maxLength: is not valid JSON Schema: ",
        ),
        (
            json!({"properties": {"a": {"enum": 3}}}),
            "/properties/a/enum: is not valid JSON Schema: must be an array",
        ),
        (
            json!({"properties": {"a": 3}}),
            "/properties/a: is not valid JSON Schema: must be a boolean or an object",
        ),
        (
            json!({"$schema": "https://hostile.example/meta"}),
            ": refers to a schema that is not in this definition",
        ),
    ] {
        let found = compile(&schema).unwrap_err();
        assert!(found.starts_with(expected), "{schema}: {found}");
    }
}

#[test]
fn references_must_be_to_definitions_without_references() {
    let inside = json!({"properties": {"a": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"type": "string"}}});
    let parameters = compile(&inside).unwrap();
    assert!(parameters.check(&json!({"a": "x"})).is_ok());
    assert_eq!(parameters.check(&json!({"a": 1})).unwrap_err(), "argument `a` must be a string");

    for schema in [
        json!({"$ref": "#"}),
        json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}),
        json!({"$ref": "https://hostile.example/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "other.json#/$defs/a"}),
        json!({"$ref": "#anchor"}),
        json!({"properties": {"a": {"$ref": "#/$defs/missing"}}}),
        json!({"$id": "https://hostile.example/x", "$ref": "#/$defs/missing"}),
        json!({"$dynamicRef": "#x"}),
        json!({"$recursiveRef": "#"}),
        json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}),
        json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"properties": {"x": {"$ref": "#/$defs/b"}}}, "b": {}}}),
    ] {
        let found = compile(&schema).unwrap_err();
        assert!(found.contains("refer"), "{schema}: {found}");
    }
    // A parameter can have the name of a keyword.
    assert!(compile(&json!({"properties": {"$ref": {"type": "string"}}})).is_ok());
}

#[test]
fn patterns_match_in_linear_time() {
    let hostile = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
    let parameters = compile(&hostile).unwrap();
    // With backtracking it would not end.
    assert!(parameters.check(&json!({"a": format!("{}!", "a".repeat(100_000))})).is_err());

    for pattern in ["(?=x)", r"(a)\1", "[", "((a{1000}){1000}){1000}"] {
        let found = compile(&json!({"properties": {"a": {"pattern": pattern}}})).unwrap_err();
        assert!(found.starts_with("/properties/a/pattern: "), "{pattern}: {found}");
    }
}

#[test]
fn the_number_of_patterns_is_limited() {
    let schema = |count: usize| {
        let properties = (0..count).map(|number| (format!("p{number}"), json!({"pattern": "^x"})));
        json!({"properties": properties.collect::<Map<_, _>>()})
    };
    assert_eq!(compile(&schema(16)).unwrap().size_of_patterns(), 16 * PATTERN_SIZE);
    assert_eq!(compile(&schema(17)).err().unwrap(), ": has more than 16 regular expressions");
    let names: Map<_, _> = (0..17).map(|number| (format!("^p{number}"), json!({}))).collect();
    assert!(compile(&json!({"patternProperties": names})).is_err());
}

#[test]
fn deep_schemas_and_arguments_do_not_overflow_the_stack() {
    let mut schema = json!({});
    let mut arguments = json!("x");
    for _ in 0..60 {
        schema = json!({"properties": {"a": schema}});
        arguments = json!({"a": arguments});
    }
    assert!(compile(&schema).unwrap().check(&arguments).is_ok());

    // As deep as a message allows, on the small stack of a thread.
    for keyword in ["items", "not", "additionalProperties"] {
        let (mut schema, mut arguments) = (json!({}), json!("x"));
        for _ in 0..120 {
            schema = json!({ keyword: schema });
            arguments = if keyword == "items" { json!([arguments]) } else { json!({ "a": arguments }) };
        }
        let _ = compile(&schema).unwrap().check(&arguments);
    }
}
