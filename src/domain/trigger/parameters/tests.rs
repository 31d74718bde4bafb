//! Schemas and arguments.

mod attacks;
mod hostile;
mod nulls;
mod patterns;
mod repairs;
mod suite;
mod tools;

use proptest::prelude::*;
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

/// The pointers of the warnings.
fn pointers(parameters: &Parameters) -> Vec<&str> {
    parameters.warnings().iter().map(|warning| warning.pointer.as_str()).collect()
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
    let object = "/type: arguments are an object; write `object` or omit `type`";
    for (schema, expected) in [
        (json!(true), ": must be an object, a JSON Schema with `properties`"),
        (json!("object"), ": must be an object, a JSON Schema with `properties`"),
        (json!([{}]), ": must be an object, a JSON Schema with `properties`"),
        (json!({"type": "string"}), object),
        (json!({"type": "STRING"}), object),
        (json!({"type": ["array", "null"]}), object),
    ] {
        assert_eq!(compile(&schema).unwrap_err(), expected, "{schema}");
    }
    for schema in
        [json!([]), json!({"type": "dict"}), json!({"type": []}), json!({"type": ["null", "object"]})]
    {
        assert!(compile(&schema).is_ok(), "{schema}");
    }
}

#[test]
fn nulls_count_as_not_given_unless_required_and_accepted() {
    let schema = json!({
        "properties": {
            "text": {"type": "string"},
            "list": {"type": ["string", "null"]},
            "any": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/nothing"}]},
            "choice": {"enum": ["a", null]},
            "anything": {},
            "one": {"oneOf": [{"type": "null"}, {"not": {"const": null}}, {"const": 1}]},
            "if": {"if": {"type": "null"}, "then": {"enum": [null]}, "else": {"type": "string"}},
            "openapi": {"type": "string", "nullable": true},
            "never": {"allOf": [{"type": ["string", "null"]}, {"not": {"type": "null"}}]},
            "phone": {"type": ["string", "null"]},
        },
        "required": ["list", "any", "choice", "anything", "one", "if", "openapi", "undeclared"],
        "dependentRequired": {"phone": ["text"]},
        "additionalProperties": {"type": ["null", "integer"]},
        "allOf": [{"required": ["never"]}],
        "$defs": {"nothing": {"$ref": "#/$defs/null"}, "null": {"const": null}},
    });
    let parameters = compile(&schema).unwrap();
    let with = |name: &str, value: Value| {
        let required = ["list", "any", "choice", "anything", "one", "if", "openapi", "undeclared"];
        let mut arguments: Map<_, _> =
            required.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        arguments.insert("never".into(), json!("x"));
        arguments.insert(name.into(), value);
        parameters.check(&arguments.into()).err().unwrap_or_default()
    };
    assert_eq!(with("never", json!("x")), "");
    // Optional: as if it were absent.
    assert_eq!(with("text", Value::Null), "");
    assert_eq!(with("phone", Value::Null), "");
    assert_eq!(with("unknown", Value::Null), "");
    assert_eq!(with("never", Value::Null), "argument `never` is required but missing");
    assert_eq!(with("list", json!(1)), "argument `list` must be null or a string");
    assert_eq!(parameters.check(&json!({})).unwrap_err(), "argument `list` is required but missing");
}

#[test]
fn nulls_of_schemas_that_are_hard_to_see_through_do_not_take_long() {
    let twice = |n: usize| json!({"allOf": [{"$ref": format!("#/$defs/{}", n + 1)}, {"$ref": format!("#/$defs/{}", n + 1)}]});
    let defs: Map<String, Value> = (0..60).map(|n| (n.to_string(), twice(n))).collect();
    let schema = json!({"properties": {"a": {"$ref": "#/$defs/0"}}, "required": ["a"], "$defs": defs});
    assert!(compile(&schema).unwrap().check(&json!({"a": null})).is_ok());
}

#[test]
fn declared_names_are_those_of_all_schemas_of_the_arguments() {
    let schema = json!({
        "properties": {"b": {"properties": {"inner": {}}}, "a": {}},
        "$ref": "#/$defs/more",
        "anyOf": [{"properties": {"a": {}, "d": {}}}, {"$ref": "#/$defs/more"}],
        "then": {"properties": {"ignored": {}}},
        "$defs": {"more": {"properties": {"c": {}}}, "unused": {"properties": {"e": {}}}},
    });
    assert_eq!(compile(&schema).unwrap().declared(), ["b", "a", "c", "d"]);
}

#[test]
fn patterns_match_in_linear_time() {
    let hostile = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
    let parameters = compile(&hostile).unwrap();
    // With backtracking it would not end.
    assert!(parameters.check(&json!({"a": format!("{}!", "a".repeat(100_000))})).is_err());
}

#[test]
fn patterns_mean_what_ecma_262_says() {
    for (pattern, text, matches) in [
        ("(?=x)", "axb", true),
        ("(?=x)", "ab", false),
        (r"(a)\1", "aa", true),
        (r"(a)\1", "ab", false),
        ("(?<=a+)b", "aab", true),
        (r"^(?!0)\d+$", "123", true),
        (r"^(?!0)\d+$", "012", false),
        (r"^(?!0)\d+$", "\u{663}", false),
        (r"^(?!0)[\d.-]+$", "1.2-3", true),
        (r"^(?!0)[^\d]+$", "\u{663}", true),
        (r"^(?!0)\D$", "\u{663}", true),
        (r"^(?=.).$", "\u{2028}", false),
        (r"^(?!x).$", "\u{2028}", false),
        (r"^(?!x).$", "\u{1f600}", true),
        (r"^(?!x)\w+$", "Andr\u{e9}", false),
        (r"^(?!x)[\w\u00e9]+$", "Andr\u{e9}", true),
        (r"^(?!x)\s$", "\u{feff}", true),
        (r"^(?!x)\s$", "\u{85}", false),
        (r"^(?!x)[^\s@]+$", "a\u{a0}b", false),
        (r"^(?!x)\S+$", "ab", true),
        (r"^(?!x)caf\b", "caf\u{e9}", true),
        (r"^(?!x)caf\B", "caf\u{e9}", false),
        (r"^(?!x)a$", "a\n", false),
        (r"^(?<!x)a\/b\-c$", "a/b-c", true),
        ("(?<year>\\d{4})-\\k<year>", "1990-1990", true),
        (r"^(?=.*[a-z])(?=.*\d)\S{8,}$", "abcdefg1", true),
        (r"^(?=.*[a-z])(?=.*\d)\S{8,}$", "abcdefgh", false),
        (r"^(?=.{1,300}$)\p{Lu}", "\u{c9}lise", true),
        (r"^(?=.{1,300}$)\p{Lu}", "\u{e9}lise", false),
    ] {
        let parameters = compile(&json!({"properties": {"a": {"pattern": pattern}}})).unwrap();
        assert!(parameters.warnings().is_empty(), "{pattern}");
        assert_eq!(parameters.check(&json!({ "a": text })).is_ok(), matches, "{pattern} {text:?}");
    }
}

#[test]
fn patterns_that_cannot_be_checked_are_left_out() {
    for pattern in ["[", "(", r"\", "((a{1000}){1000}){1000}", "*", "(?=((a{1000}){1000}){1000})x"] {
        let schema = json!({"properties": {"a": {"pattern": pattern, "maxLength": 3}}});
        let parameters = compile(&schema).unwrap();
        assert_eq!(pointers(&parameters), ["/parameters/properties/a/pattern"], "{pattern}");
        assert!(parameters.check(&json!({"a": "abc"})).is_ok());
        assert!(parameters.check(&json!({"a": "abcd"})).is_err());
    }
}

#[test]
fn the_number_of_patterns_is_limited() {
    let schema = |count: usize| {
        let properties =
            (0..count).map(|number| (format!("p{number}"), json!({"pattern": format!("^x{number}")})));
        json!({"properties": properties.collect::<Map<_, _>>()})
    };
    let all = compile(&schema(64)).unwrap();
    assert!(all.warnings().is_empty() && all.size() >= 64 * PATTERN_SIZE);
    assert!(all.check(&json!({"p63": "y"})).is_err());
    let more = compile(&schema(66)).unwrap();
    assert_eq!(pointers(&more), ["/parameters/properties/p64/pattern", "/parameters/properties/p65/pattern"]);
    assert!(more.check(&json!({"p0": "y"})).is_err() && more.check(&json!({"p64": "y"})).is_ok());
    // Each look-around counts, and an expression that occurs often counts once.
    let look_arounds = format!("^{}", "(?!x)".repeat(64));
    assert_eq!(pointers(&compile(&json!({"pattern": look_arounds})).unwrap()), ["/parameters/pattern"]);
    let same: Map<String, Value> =
        (0..200).map(|n| (format!("p{n}"), json!({"pattern": "^(?!x)y"}))).collect();
    assert!(compile(&json!({ "properties": same })).unwrap().warnings().is_empty());
}

/// Each level becomes two.
#[test]
fn deep_repaired_schemas_do_not_overflow_the_stack() {
    let schema = (0..60).fold(json!({}), |inner, _| json!({"nullable": true, "not": {"not": inner}}));
    let parameters = compile(&json!({"properties": {"a": schema}})).unwrap();
    let _ = parameters.check(&json!({"a": 1}));
    let reference = json!({"$ref": "#/$defs/text"});
    let schema = (0..60).fold(reference, |inner, _| json!({"nullable": true, "allOf": [inner]}));
    let schema =
        json!({"properties": {"a": schema}, "required": ["a"], "$defs": {"text": {"type": "string"}}});
    let parameters = compile(&schema).unwrap();
    assert!(parameters.check(&json!({"a": null})).is_ok() && parameters.check(&json!({"a": 1})).is_err());
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

/// What keywords may hold, and keywords.
const TEXTS: [&str; 16] = [
    "string",
    "integer",
    "object",
    "array",
    "null",
    "text",
    "a",
    "b",
    "#",
    "#/properties/a",
    "#/$defs/a",
    "#/$defs/b",
    "#x",
    "^a",
    "(?=a)",
    "https://a.example/",
];
const KEYS: [&str; 33] = [
    "type",
    "properties",
    "items",
    "pattern",
    "required",
    "enum",
    "const",
    "not",
    "if",
    "then",
    "else",
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
    "$dynamicRef",
    "$defs",
    "$id",
    "$anchor",
    "$schema",
    "nullable",
    "contains",
    "maxContains",
    "prefixItems",
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependencies",
    "propertyNames",
    "minLength",
    "a",
    "b",
];

fn schema_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..12_i64).prop_map(Value::from),
        Just(json!(1.5)),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        let key = proptest::sample::select(&KEYS[..]);
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::btree_map(key, inner, 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever tools write: the validator takes what is left, and arguments are checked without a panic.
    #[test]
    fn any_schema_is_compiled(schema in schema_value(), arguments in schema_value()) {
        let mut problems = Problems::default();
        let parameters = Parameters::compile(&schema, &mut problems);
        // Nothing that the validator refuses gets there.
        let unbuilt = parameters.warnings().iter().find(|warning| warning.message.contains("as a whole"));
        prop_assert_eq!(unbuilt, None);
        if let Err(message) = parameters.check(&arguments) {
            prop_assert!(!message.is_empty());
        }
    }
}
