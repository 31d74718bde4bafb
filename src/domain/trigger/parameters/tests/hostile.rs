//! Schemas, regular expressions and arguments that would take exponential time, or any amount of memory or stack. Without
//! bounds these tests would not end.

use super::*;

fn check(schema: &Value, arguments: &Value) -> Result<(), String> {
    compile(schema).unwrap().check(arguments)
}

fn definitions(count: usize, definition: impl Fn(usize) -> Value) -> Value {
    (0..count).map(|number| (format!("d{number}"), definition(number))).collect::<Map<_, _>>().into()
}

fn reference(number: usize) -> Value {
    json!({ "$ref": format!("#/$defs/d{number}") })
}

/// A list in a list, and so on.
fn nested_list(depth: usize) -> Value {
    (0..depth).fold(json!("x"), |inner, _| json!([inner]))
}

#[test]
fn definitions_that_double_the_work_are_bounded() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let twice = |number: usize| match number {
            59 => json!({"type": "integer"}),
            _ => json!({ keyword: [reference(number + 1), reference(number + 1)] }),
        };
        let schema = json!({"properties": {"a": reference(0)}, "$defs": definitions(60, twice)});
        assert_eq!(check(&schema, &json!({"a": "x"})), Ok(()), "{keyword}");
        // A few are checked.
        let schema = json!({"properties": {"a": reference(55)}, "$defs": definitions(60, twice)});
        assert!(check(&schema, &json!({"a": "x"})).is_err(), "{keyword}");
    }
}

#[test]
fn definitions_that_all_use_each_other_are_bounded() {
    for base in [false, true] {
        let others = |number: usize| {
            let others: Vec<Value> = (0..30).filter(|other| *other != number).map(reference).collect();
            let mut definition = json!({"type": "array", "items": {"anyOf": others}});
            if base {
                definition["$id"] = json!(format!("https://a.example/{number}"));
                definition["items"] = json!({"anyOf": (0..30).map(|other| json!({"$ref": format!("/{other}")})).collect::<Vec<_>>()});
            }
            definition
        };
        let schema = json!({"properties": {"a": reference(0)}, "$defs": definitions(30, others)});
        assert_eq!(check(&schema, &json!({"a": nested_list(100)})), Ok(()));
        assert!(check(&schema, &json!({"a": [["x"]]})).is_err());
    }
}

#[test]
fn definitions_that_include_each_other_are_bounded() {
    let others = |number: usize| json!({"anyOf": (0..30).filter(|other| *other != number).map(reference).collect::<Vec<_>>()});
    let schema = json!({"properties": {"a": reference(0)}, "$defs": definitions(30, others)});
    let parameters = compile(&schema).unwrap();
    assert!(!parameters.warnings().is_empty());
    assert_eq!(parameters.check(&json!({"a": "x"})), Ok(()));
}

#[test]
fn long_chains_do_not_use_up_the_stack() {
    let next = |number: usize| match number {
        899 => json!({"type": "integer"}),
        _ => reference(number + 1),
    };
    let schema =
        json!({"properties": {"a": reference(0), "b": reference(800)}, "$defs": definitions(900, next)});
    let parameters = compile(&schema).unwrap();
    assert_eq!(parameters.check(&json!({"a": "x"})), Ok(()));
    assert!(parameters.check(&json!({"b": "x"})).is_err());
}

#[test]
fn recursion_follows_the_arguments_as_far_as_the_stack_allows() {
    let node = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": reference(0)}]});
    let schema = json!({"properties": {"a": reference(0)}, "$defs": {"d0": node}});
    for depth in [0, 1, 10, 40] {
        assert_eq!(check(&schema, &json!({"a": nested_list(depth)})), Ok(()), "{depth}");
        let wrong = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(check(&schema, &json!({"a": wrong})).is_err(), "{depth}");
    }
    assert_eq!(check(&schema, &json!({"a": nested_list(125)})), Ok(()));
}

#[test]
fn references_that_lead_back_at_once_are_left_out() {
    let defs = |a: Value, b: Value| json!({"properties": {"x": reference(0)}, "$defs": {"d0": a, "d1": b}});
    let number = json!({"type": "integer"});
    for (schema, refused) in [
        (json!({"$ref": "#"}), false),
        (json!({"allOf": [{"$ref": "#"}], "required": ["x"]}), false),
        (json!({"not": {"$ref": "#"}}), false),
        (defs(reference(0), number.clone()), false),
        (defs(json!({"allOf": [reference(1), {"type": "integer"}]}), reference(0)), true),
        (defs(json!({"anyOf": [reference(1), number.clone()]}), json!({"oneOf": [reference(0), {}]})), false),
        (defs(json!({"if": reference(1), "then": false}), json!({"not": reference(0)})), false),
        (defs(json!({"properties": {"y": reference(0)}, "type": "object"}), number), true),
    ] {
        let found = check(&schema, &json!({"x": "text"}));
        assert_eq!(found.is_err(), refused, "{schema}: {found:?}");
    }
}

#[test]
fn large_schemas_are_not_checked() {
    let many = |count: usize| {
        (0..count).map(|n| (format!("p{n}"), json!({"type": "integer"}))).collect::<Map<_, _>>()
    };
    assert!(check(&json!({"properties": many(9_000)}), &json!({"p0": "x"})).is_err());
    let parameters = compile(&json!({"properties": many(10_000)})).unwrap();
    assert_eq!(parameters.check(&json!({"p0": "x"})), Ok(()));
    assert_eq!(parameters.declared().len(), 10_000);
    assert_eq!(parameters.warnings().len(), 1);

    // Each of them contains the ones after it.
    let deep = (0..100).fold(json!({"properties": many(200)}), |inner, _| json!({ "not": inner }));
    let pointers = (0..100).map(|depth| json!({"$ref": format!("#/$defs/deep{}", "/not".repeat(depth))}));
    let schema =
        json!({"properties": {"a": {"allOf": pointers.collect::<Vec<_>>()}}, "$defs": {"deep": deep}});
    assert_eq!(check(&schema, &json!({"a": {}})), Ok(()));

    for (count, checked) in [(1000, true), (1001, false)] {
        let references: Vec<Value> = vec![json!({"$ref": "#/$defs/d"}); count];
        let schema = json!({"allOf": references, "$defs": {"d": false}});
        assert_eq!(check(&schema, &json!({})).is_err(), checked, "{count}");
    }
}

#[test]
fn nested_unevaluated_keywords_are_bounded() {
    for (keyword, arguments) in
        [("unevaluatedProperties", json!({"b": 1})), ("unevaluatedItems", json!({"a": [1, 2]}))]
    {
        let mut schema = json!({"properties": {"a": {"prefixItems": [true]}}});
        for _ in 0..60 {
            schema = json!({ keyword: false, "anyOf": [schema] });
        }
        if keyword == "unevaluatedItems" {
            schema = json!({"properties": {"a": schema}});
        }
        let _ = check(&schema, &arguments);
    }
}

#[test]
fn expressions_that_backtrack_are_bounded() {
    let schema = |pattern: &str| json!({"properties": {"a": {"pattern": pattern}}});
    let letters = json!({"a": "a".repeat(5_000)});
    // The look-ahead is split off and matched in linear time.
    assert!(check(&schema("^(?=(a+)+$)b"), &letters).is_err());
    for pattern in [
        r"^(?!(a+)+$)b",
        r"^(?:(?!b)(a+))+$",
        r"(?!.*x)y",
        r"^(a+)+\1$",
        r"(?<=a)(a|aa)+(?!a)b",
        "^(?=((a{1000}){100}))b",
    ] {
        for length in [40, 1_000, 30_000, 1 << 20] {
            let _ = check(&schema(pattern), &json!({"a": "a".repeat(length)}));
        }
    }
    // What the engine cannot decide is accepted, wherever it is.
    let unknown = json!({"pattern": r"^(a|aa)+(?=b)$"});
    let text = json!({"a": "a".repeat(200)});
    for schema in [
        unknown.clone(),
        json!({ "not": unknown }),
        json!({"oneOf": [unknown, {"const": 1}]}),
        json!({"anyOf": [unknown, {"const": 1}]}),
        json!({"if": unknown, "then": {"type": "string"}, "else": false}),
        json!({"if": unknown, "then": false, "else": {"type": "string"}}),
    ] {
        let schema = json!({"properties": {"a": schema, "b": {"type": "integer"}}});
        assert_eq!(check(&schema, &text), Ok(()), "{schema}");
    }
    // Other rules hold, regardless of the expression.
    let schema = json!({"properties": {"a": unknown, "b": {"type": "integer"}}});
    assert!(check(&schema, &json!({"a": "a".repeat(200), "b": "x"})).is_err());
}

#[test]
fn expressions_on_many_texts_are_bounded() {
    let schema = json!({"properties": {"a": {"items": {"pattern": "^(?!(a|aa)+b)a{12}$"}}}});
    let _ = check(&schema, &json!({"a": vec!["aaaaaaaaaaaa"; 60_000]}));
    let names: Map<String, Value> =
        (0..20_000).map(|n| (format!("{}{n}", "a".repeat(30)), json!(1))).collect();
    let _ = check(&json!({"patternProperties": {"^(?!(a|aa)+b)x": {}}}), &names.into());
}

#[test]
fn large_lists_are_bounded() {
    let numbers: Vec<usize> = (0..200_000).collect();
    let choices: Vec<usize> = (0..20_000).map(|n| n * 10).collect();
    let _ = check(&json!({"properties": {"a": {"items": {"enum": choices}}}}), &json!({ "a": numbers }));
    let _ = check(&json!({"properties": {"a": {"uniqueItems": true}}}), &json!({ "a": numbers }));
    let each: Vec<Value> = vec![json!({"items": {"type": "integer"}}); 5_000];
    let _ = check(&json!({"properties": {"a": {"allOf": each}}}), &json!({ "a": numbers }));
}

#[test]
fn nothing_is_fetched_or_read() {
    for address in [
        "https://hostile.example/schema.json",
        "file:///etc/passwd",
        "other.json#/$defs/a",
        "urn:x:y",
        "//a.example/x",
    ] {
        let parameters =
            compile(&json!({"properties": {"a": {"$ref": address}, "b": {"type": "integer"}}})).unwrap();
        assert_eq!(pointers(&parameters), ["/parameters/properties/a/$ref"], "{address}");
        assert_eq!(parameters.check(&json!({"a": 1})), Ok(()));
        assert!(parameters.check(&json!({"b": "x"})).is_err());
    }
}
