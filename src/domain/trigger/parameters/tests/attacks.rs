//! Messages of 1 MiB in which something is multiplied: names by schemas, definitions by references, data by copies, values
//! by schemas. Each ends at once and in little memory, because it is refused before the work is done; without a bound
//! most of them would end the process, or never end.

use super::*;

/// The size of a message, in bytes.
const MESSAGE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is checked, and the author gets a warning.
    TooLarge,
    /// The schema is checked, but not with these arguments.
    Costly,
    /// Without its regular expressions.
    WithoutExpressions,
    /// These arguments are checked.
    Checked,
}
use Outcome::{Checked, Costly, TooLarge, WithoutExpressions};

fn outcome(parameters: &Parameters, arguments: &Value) -> Outcome {
    let is_costly = |check: &Check| check.outline.is_costly(arguments);
    match &parameters.whole {
        None => TooLarge,
        Some(whole) if !is_costly(whole) => Checked,
        Some(_) => match parameters.rest.as_ref().and_then(Rest::check) {
            Some(rest) if !is_costly(rest) => WithoutExpressions,
            _ => Costly,
        },
    }
}

/// Asserts how arguments are checked, all of which the schema does not accept.
fn test(rows: Vec<(&str, Value, Value, Outcome)>) {
    for (name, schema, arguments, expected) in rows {
        let parameters = compile(&schema).unwrap();
        assert_eq!(outcome(&parameters, &arguments), expected, "{name}");
        let is_told = parameters.warnings().iter().any(|warning| warning.message == TOO_LARGE);
        assert_eq!(is_told, expected == TooLarge, "{name}");
        let most = 2 * MAX_SCHEMA + 2 * u64::try_from(MESSAGE).unwrap();
        assert!(u64::try_from(parameters.size()).unwrap() <= most, "{name}: {}", parameters.size());
        let found = parameters.check(&arguments);
        assert_eq!(found.is_err(), matches!(expected, Checked | WithoutExpressions), "{name}: {found:?}");
    }
}

fn many(count: usize, schema: impl Fn(usize) -> Value) -> Value {
    (0..count).map(schema).collect()
}

fn named(count: usize, schema: impl Fn(usize) -> Value) -> Value {
    (0..count).map(|n| (format!("n{n}"), schema(n))).collect::<Map<_, _>>().into()
}

fn a(schema: &Value) -> Value {
    json!({"properties": {"a": schema}})
}

fn reference(name: impl std::fmt::Display) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A schema in a schema, and so on.
fn nested(keyword: &str, depth: usize, inner: Value) -> Value {
    (0..depth).fold(inner, |inner, _| Map::from_iter([(keyword.to_owned(), inner)]).into())
}

fn numbers(count: usize) -> Value {
    many(count, Value::from)
}

/// `count` of the text, then its first item again.
fn repeated(count: usize) -> Value {
    let mut items = numbers(count);
    items.as_array_mut().unwrap().push(0.into());
    items
}

#[test]
fn names_and_addresses_are_not_multiplied() {
    let long = "k".repeat(MESSAGE / 2);
    let wrong = || json!({"a": 1, long.as_str(): 1});
    let anchors = |count| many(count, |n| json!({"$anchor": format!("x{n}"), "type": "object"}));
    let in_key = |items: Value| json!({"properties": {long.as_str(): {"allOf": items}}});
    let slashes = "a/".repeat(MESSAGE / 4);
    let deep_ids = nested("items", 60, json!({"$id": "y", "type": "string"}));
    test(vec![
        (
            "an address x names",
            json!({"$id": long, "allOf": anchors(9_000), "required": ["b"]}),
            wrong(),
            TooLarge,
        ),
        (
            "an address x more names",
            json!({"$id": long, "allOf": anchors(24_000), "required": ["b"]}),
            wrong(),
            TooLarge,
        ),
        ("a key x names", in_key(anchors(9_000)), wrong(), TooLarge),
        ("a key x keywords", in_key(many(9_000, |_| json!({"minimum": 2}))), wrong(), TooLarge),
        (
            "an address x addresses",
            json!({"$id": slashes, "allOf": many(9_000, |n| json!({"$id": format!("x{n}"), "required": ["b"]}))}),
            wrong(),
            TooLarge,
        ),
        (
            "an address x references",
            json!({"$id": slashes, "allOf": many(900, |n| json!({"$ref": format!("x{n}")})), "required": ["b"]}),
            wrong(),
            TooLarge,
        ),
        (
            "addresses x steps of a pointer",
            json!({"properties": {"a": {"type": "string"}}, "allOf": many(900, |_| reference(format!("d{}", "/items".repeat(60)))), "$defs": {"d": {"$id": "y/".repeat(20_000), "not": false, "items": deep_ids}}}),
            wrong(),
            TooLarge,
        ),
        (
            "a keyword that is not known x references",
            json!({"allOf": many(100, |n| reference(format!("d{}", "/not".repeat(n)))), "required": ["b"], "$defs": {"d": nested("not", 100, named(40_000, |_| 0.into()))}}),
            wrong(),
            TooLarge,
        ),
    ]);
}

#[test]
fn data_are_not_multiplied() {
    let copies = |keyword: &str, inner: Value| {
        let references = many(100, |n| reference(format!("d{}", format!("/{keyword}").repeat(n))));
        json!({"properties": {"a": {"allOf": references}}, "required": ["b"], "$defs": {"d": nested(keyword, 100, inner)}})
    };
    let choices = || json!({"enum": numbers(100_000)});
    test(vec![
        ("choices x references into `not`", copies("not", choices()), json!({"a": 1}), TooLarge),
        ("choices x references into `items`", copies("items", choices()), json!({"a": 1}), TooLarge),
        (
            "a constant x references",
            copies("items", json!({"const": [numbers(100_000)]})),
            json!({"a": 1}),
            TooLarge,
        ),
        ("choices x `not`", a(&nested("not", 100, choices())), json!({"a": 1}), TooLarge),
        (
            "names that are required x references",
            copies("items", json!({"required": many(50_000, |n| format!("n{n}").into())})),
            json!({"a": 1}),
            TooLarge,
        ),
        ("true", json!({"allOf": vec![true; 200_000], "required": ["b"]}), json!({}), TooLarge),
        ("schemas", json!({"allOf": vec![json!({}); 300_000], "required": ["b"]}), json!({}), TooLarge),
        (
            "references",
            json!({"allOf": vec![reference("d"); 40_000], "$defs": {"d": false}}),
            json!({}),
            TooLarge,
        ),
    ]);
}

/// A class becomes 37 times as long, wherever it is.
#[test]
fn translations_of_expressions_are_not_multiplied() {
    let wide = format!("^(?=.){}$", r"\S".repeat(100));
    let plain = format!("^(?=.){}$", "ab".repeat(100));
    let schema = |pattern: &str| json!({"properties": named(1_000, |_| json!({"pattern": pattern})), "required": ["b"]});
    test(vec![
        ("a class x places", schema(&wide), json!({"a": 1}), TooLarge),
        ("letters x places", schema(&plain), json!({"a": 1}), Checked),
    ]);
}

/// Each reference leads to `count` of the schema.
fn behind(references: usize, schema: &Value, count: usize) -> Value {
    let definition = json!({"allOf": vec![schema; count]});
    json!({"properties": {"a": {"allOf": vec![reference("d"); references]}}, "$defs": {"d": definition}})
}

/// The last of 16 definitions, each of which refers to the next one twice.
fn doubling(last: &Value) -> Value {
    let twice = |n: usize| match n {
        15 => last.clone(),
        _ => json!({"allOf": [reference(format!("n{}", n + 1)), reference(format!("n{}", n + 1))]}),
    };
    json!({"properties": {"a": reference("n0")}, "$defs": named(16, twice)})
}

#[test]
fn values_are_not_multiplied() {
    let unique = json!({"uniqueItems": true});
    let unusable = "^(a|aa)+(?=b)b+$";
    let texts = many(8, |n| format!("{}{n}", "a".repeat(30)).into());
    let open = json!({"properties": {"p": {"items": {"pattern": unusable}}, "u": {"allOf": vec![unique.clone(); 5]}}});
    test(vec![
        ("distinct items x schemas", behind(1_000, &unique, 40), json!({"a": repeated(130_000)}), Costly),
        ("distinct items", a(&unique), json!({"a": repeated(20_000)}), Checked),
        (
            "a nested constant x schemas",
            behind(900, &json!({"const": [numbers(20_000)]}), 1),
            json!({"a": [repeated(20_000)]}),
            Costly,
        ),
        (
            "the length of a text x schemas",
            behind(900, &json!({"minLength": MESSAGE + 1}), 40),
            json!({"a": "x".repeat(MESSAGE)}),
            Costly,
        ),
        (
            "members x schemas",
            doubling(&json!({"properties": {"n0": false}})),
            json!({"a": named(60_000, Value::from)}),
            Costly,
        ),
        (
            "items x schemas",
            doubling(&json!({"items": {"type": "string"}})),
            json!({"a": numbers(100_000)}),
            Costly,
        ),
        (
            "the name of a member x schemas",
            behind(900, &json!({"patternProperties": {"^x": false}, "properties": {"y": false}}), 8),
            json!({"a": {"x".repeat(MESSAGE / 2): 1}}),
            Costly,
        ),
        (
            "runs with each outcome x distinct items",
            open,
            json!({"p": texts, "u": repeated(10_000)}),
            WithoutExpressions,
        ),
        (
            "members x the metaschema",
            a(&json!({"$ref": "https://json-schema.org/draft/2020-12/schema"})),
            json!({"a": {"type": "x", "properties": named(60_000, |_| json!({}))}}),
            Costly,
        ),
    ]);
}

#[test]
fn messages_of_the_validator_are_not_multiplied() {
    let in_any = |schema: Value| a(&json!({"anyOf": [schema, {"type": "string"}]}));
    let key = "k".repeat(MESSAGE / 2);
    test(vec![
        (
            "a long name x items",
            json!({"anyOf": [{"additionalProperties": {"items": {"type": "string"}}}, {"required": ["b"]}]}),
            json!({key.as_str(): numbers(20_000)}),
            Costly,
        ),
        (
            "what is not allowed x items",
            in_any(json!({"items": {"not": {"enum": numbers(50_000)}}})),
            json!({"a": vec![0; 20_000]}),
            Costly,
        ),
        (
            "names that are required x items",
            in_any(json!({"items": {"required": many(9_000, |n| format!("n{n}").into())}})),
            json!({"a": vec![json!({}); 20_000]}),
            Costly,
        ),
        ("a few", in_any(json!({"items": {"type": "string"}})), json!({"a": numbers(1_000)}), Checked),
    ]);
}

/// These take exponential time, or all of the stack, in the library.
#[test]
fn schemas_that_are_compiled_again_and_again_are_bounded() {
    let all_of = |count: usize, width: usize, last: Value| {
        named(count, |n| {
            if n + 1 == count {
                last.clone()
            } else {
                json!({"allOf": vec![reference(format!("n{}", n + 1)); width]})
            }
        })
    };
    let with_unevaluated = |defs: Value| json!({"properties": {"a": {"$ref": "#/$defs/n0", "unevaluatedProperties": false}}, "required": ["b"], "$defs": defs});
    let others = |n: usize| {
        let others = many(30, |other| reference(format!("n{}", (n + other) % 30)));
        json!({"allOf": [{"properties": {"c": {"unevaluatedProperties": false, "anyOf": others}}}]})
    };
    let pinned = |choices: Value| json!({"properties": {"k": {"enum": choices}}, "required": ["k"]});
    let mut open = vec![pinned(many(20_000, |n| format!("v{n}").into())), pinned(json!(["x", "y"]))];
    open.resize(5_000, json!({"minProperties": 1}));
    let members = |n: usize| json!({"properties": named(4_000, |m| json!(format!("{n}") != format!("{m}")))});
    let long = "k".repeat(100_000);
    test(vec![
        (
            "alternatives that are compared",
            json!({"anyOf": [reference("n0"), {"required": ["b"]}, {"required": ["c"]}], "$defs": all_of(9, 10, json!({"required": ["b"]}))}),
            json!({}),
            Costly,
        ),
        ("values that tell alternatives apart x alternatives", json!({"oneOf": open}), json!({}), Checked),
        (
            "names of schemas that are merged",
            json!({"allOf": [members(1), members(2)], "required": ["b"]}),
            json!({}),
            Checked,
        ),
        (
            "a cascade below `unevaluatedProperties`",
            with_unevaluated(all_of(60, 2, json!({}))),
            json!({}),
            TooLarge,
        ),
        (
            "a chain below `unevaluatedProperties`",
            with_unevaluated(all_of(900, 1, json!({}))),
            json!({}),
            TooLarge,
        ),
        ("a short one", with_unevaluated(all_of(20, 1, json!({}))), json!({}), Checked),
        ("all below each other's", with_unevaluated(named(30, others)), json!({}), TooLarge),
        (
            "a long name x what is below `unevaluatedProperties`",
            json!({"properties": {long: {"$ref": "#/$defs/d", "unevaluatedProperties": false}}, "required": ["b"], "$defs": {"d": {"allOf": vec![json!({"minimum": 1}); 5_000]}}}),
            json!({}),
            TooLarge,
        ),
    ]);
}

#[test]
fn names_that_are_required_are_not_multiplied() {
    let refused = |schema: &Value| {
        let parameters = compile(schema).unwrap();
        assert!(parameters.check(&json!({})).is_err(), "{:?} {}", parameters.warnings(), parameters.size());
    };
    let required = many(20_000, |n| format!("r{n}").into());
    let schema = json!({"required": required, "allOf": vec![json!({}); 5_000], "properties": {"a": {"type": "string"}}});
    refused(&schema);
    let schema = json!({"required": ["k".repeat(MESSAGE / 2)], "allOf": vec![json!({}); 5_000]});
    refused(&schema);
    let schema = json!({"required": ["a"], "properties": {"a": {"allOf": vec![reference("d"); 900]}}, "$defs": {"d": {"enum": numbers(40_000)}}});
    refused(&schema);
}

#[test]
fn what_is_costly_for_its_expressions_is_checked_without_them() {
    let schema = json!({
        "properties": {
            "a": {"type": "string", "pattern": r"^(?!\.)x"},
            "b": {"type": "integer"},
            "c": {"not": {"pattern": r"^(?!\.)y"}},
            "d": {"items": {"type": "integer"}},
        },
        "patternProperties": {"^e": {"type": "integer"}},
        "additionalProperties": false,
        "required": ["b"],
    });
    let parameters = compile(&schema).unwrap();
    let long = "y".repeat(100_000);
    for (arguments, expected) in [
        (json!({"a": "y", "b": 1}), "argument `a` breaks the rule `pattern`"),
        (json!({"a": long, "b": 1}), ""),
        (json!({"a": long, "b": 1, "c": "y", "other": 1}), ""),
        (json!({"a": long, "b": "x"}), "argument `b` must be an integer"),
        (json!({"a": [long], "b": 1}), "argument `a` must be a string"),
        (json!({"a": long}), "argument `b` is required but missing"),
        (json!({"d": vec![0; 200_000]}), "argument `b` is required but missing"),
        (json!({"d": vec!["x"; 200_000], "b": "x"}), ""),
    ] {
        let found = parameters.check(&arguments).err().unwrap_or_default();
        assert_eq!(found, expected, "{}", arguments.to_string().len());
    }
}

#[test]
fn keywords_of_two_drafts_are_merged() {
    let lists = json!({"dependencies": {"a": ["b"], "x": {"required": ["y"]}}, "dependentRequired": {"a": ["c"]}, "dependentSchemas": {"x": {"required": ["z"]}}});
    let mut turned = Map::new();
    for (keyword, value) in lists.as_object().unwrap().iter().rev() {
        turned.insert(keyword.clone(), value.clone());
    }
    for schema in [lists, turned.into()] {
        let parameters = compile(&schema).unwrap();
        for (arguments, accepted) in [
            (json!({"a": 1, "b": 1, "c": 1}), true),
            (json!({"a": 1, "b": 1}), false),
            (json!({"a": 1, "c": 1}), false),
            (json!({"x": 1, "y": 1, "z": 1}), true),
            (json!({"x": 1, "y": 1}), false),
            (json!({"x": 1, "z": 1}), false),
        ] {
            assert_eq!(parameters.check(&arguments).is_ok(), accepted, "{schema} {arguments}");
        }
    }
}
