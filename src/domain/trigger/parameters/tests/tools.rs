//! Schemas as tools write them. Each row names the tool and, where one exists, the page or issue that shows the form.

use super::*;

/// Where a schema comes from, the schema, arguments that it accepts and that it refuses, and how many warnings it has.
type Row = (&'static str, Value, Vec<Value>, Vec<Value>, usize);

fn test(rows: Vec<Row>) {
    for (source, schema, accepted, refused, warnings) in rows {
        let parameters = compile(&schema).unwrap_or_else(|problem| panic!("{source}: {problem}"));
        assert_eq!(parameters.warnings().len(), warnings, "{source}: {:?}", parameters.warnings());
        assert!(parameters.declares("name"), "{source}");
        for arguments in accepted {
            assert_eq!(parameters.check(&arguments), Ok(()), "{source}: {arguments}");
        }
        for arguments in refused {
            assert!(parameters.check(&arguments).is_err(), "{source}: {arguments}");
        }
    }
}

#[test]
fn schemas_of_zod() {
    let email =
        r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$";
    test(vec![
        (
            "OpenAI, Structured Outputs: all required, optional ones nullable",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "email": {"type": ["string", "null"]}, "company": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "required": ["name", "email", "company"], "additionalProperties": false}),
            vec![
                json!({"name": "A", "email": null, "company": null}),
                json!({"name": "A", "email": "x", "company": "y"}),
            ],
            vec![
                json!({"name": null, "email": null, "company": null}),
                json!({"name": "A", "email": null}),
                json!({"name": "A", "email": null, "company": null, "x": 1}),
            ],
            0,
        ),
        (
            "zod-to-json-schema, strategy `root`: the second use refers to the first",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"name": {"type": "string"}, "home": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"], "additionalProperties": false}, "work": {"$ref": "#/properties/home"}}, "required": ["name"]}),
            vec![json!({"name": "A", "work": {"zip": "60000"}})],
            vec![json!({"name": "A", "work": {"zip": 60000}}), json!({"name": "A", "work": {}})],
            0,
        ),
        (
            "zod-to-json-schema with a name: the root is a reference",
            json!({"$ref": "#/definitions/Lead", "definitions": {"Lead": {"type": "object", "properties": {"name": {"type": "string"}, "pair": {"type": "array", "minItems": 2, "maxItems": 2, "items": [{"type": "string"}, {"type": "number"}]}}, "required": ["name"]}}, "$schema": "http://json-schema.org/draft-07/schema#"}),
            vec![json!({"name": "A", "pair": ["x", 1]})],
            vec![json!({"pair": ["x", 1]}), json!({"name": "A", "pair": [1, "x"]})],
            0,
        ),
        (
            "Zod 4, z.toJSONSchema: z.email()",
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"name": {"type": "string", "minLength": 1}, "email": {"type": "string", "format": "email", "pattern": email}, "id": {"type": "string", "format": "uuid", "pattern": "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|00000000-0000-0000-0000-000000000000)$"}}, "required": ["name", "email"], "additionalProperties": false}),
            vec![json!({"name": "A", "email": "ada.l@analytical.example"})],
            vec![
                json!({"name": "A", "email": "ada..l@analytical.example"}),
                json!({"name": "A", "email": ".a@b.example"}),
                json!({"name": "A", "email": "a@b"}),
                json!({"name": "A", "email": "a@b.example", "id": "x"}),
            ],
            0,
        ),
        (
            "Zod 4, getters: recursion through `#` and generated names",
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"name": {"type": "string"}, "manager": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "tags": {"$ref": "#/$defs/__schema0"}}, "required": ["name"], "$defs": {"__schema0": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/__schema0"}]}}}}),
            vec![json!({"name": "A", "manager": {"name": "B", "manager": null}, "tags": ["x", ["y", []]]})],
            vec![
                json!({"name": "A", "manager": {"manager": {"name": "C"}}}),
                json!({"name": "A", "tags": ["x", [1]]}),
            ],
            0,
        ),
    ]);
}

#[test]
fn schemas_of_other_typescript_tools() {
    test(vec![
        (
            "TypeBox, Type.Recursive: references by `$id`",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "team": {"$id": "Node", "type": "object", "properties": {"id": {"type": "string"}, "nodes": {"type": "array", "items": {"$ref": "Node"}}}, "required": ["id", "nodes"]}}, "required": ["name"]}),
            vec![json!({"name": "A", "team": {"id": "1", "nodes": [{"id": "2", "nodes": []}]}})],
            vec![json!({"name": "A", "team": {"id": "1", "nodes": [{"id": 2, "nodes": []}]}})],
            0,
        ),
        (
            "TypeBox, Type.Union of literals",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "plan": {"anyOf": [{"const": "starter", "type": "string"}, {"const": "growth", "type": "string"}]}}}),
            vec![json!({"name": "A", "plan": "growth"})],
            vec![json!({"name": "A", "plan": "gold"})],
            0,
        ),
        (
            "Effect Schema: each built-in schema has an `$id`",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["name"], "properties": {"name": {"type": "string", "title": "nonEmptyString", "minLength": 1}, "any": {"$id": "/schemas/any", "title": "any"}, "more": {"$id": "/schemas/%7B%7D", "anyOf": [{"type": "object"}, {"type": "array"}]}}, "additionalProperties": false}),
            vec![json!({"name": "A", "any": 1, "more": []})],
            vec![json!({"name": "A", "more": 1}), json!({"name": ""})],
            0,
        ),
        (
            "ts-json-schema-generator: names with angle brackets, percent-encoded in references",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/Lead", "definitions": {"Lead": {"type": "object", "properties": {"name": {"type": "string"}, "extra": {"$ref": "#/definitions/Record%3Cstring%2Cnumber%3E"}}}, "Record<string,number>": {"type": "object", "additionalProperties": {"type": "number"}}}}),
            vec![json!({"name": "A", "extra": {"x": 1}})],
            vec![json!({"name": "A", "extra": {"x": "y"}})],
            0,
        ),
        (
            "MCP's TypeScript SDK",
            json!({"type": "object", "properties": {"name": {"type": "string", "description": "Name"}}, "required": ["name"], "additionalProperties": false, "$schema": "http://json-schema.org/draft-07/schema#"}),
            vec![json!({"name": "A"})],
            vec![json!({"name": "A", "x": 1}), json!({})],
            0,
        ),
    ]);
}

#[test]
fn schemas_of_pydantic() {
    test(vec![
        (
            "Pydantic 2: Optional[str] = None",
            json!({"title": "Lead", "type": "object", "properties": {"name": {"title": "Name", "type": "string"}, "email": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}], "default": null, "title": "Email"}}, "required": ["name"]}),
            vec![json!({"name": "A", "email": null}), json!({"name": "A", "email": "x"})],
            vec![json!({"name": "A", "email": 1})],
            0,
        ),
        (
            "Pydantic 2: nested models, `$ref` beside `description` and `default`",
            json!({"$defs": {"Plan": {"enum": ["starter", "growth"], "title": "Plan", "type": "string"}, "Deal": {"properties": {"plan": {"$ref": "#/$defs/Plan", "default": "starter"}, "seats": {"type": "integer"}}, "required": ["seats"], "title": "Deal", "type": "object"}}, "properties": {"name": {"type": "string"}, "deal": {"$ref": "#/$defs/Deal", "description": "The deal"}}, "required": ["name"], "type": "object"}),
            vec![json!({"name": "A", "deal": {"plan": "growth", "seats": 1}})],
            vec![
                json!({"name": "A", "deal": {"plan": "gold", "seats": 1}}),
                json!({"name": "A", "deal": {}}),
            ],
            0,
        ),
        (
            "Pydantic 2: recursive model",
            json!({"$defs": {"Node": {"properties": {"label": {"type": "string"}, "children": {"items": {"$ref": "#/$defs/Node"}, "type": "array"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}, "required": ["label"], "type": "object"}}, "properties": {"name": {"type": "string"}, "tree": {"$ref": "#/$defs/Node"}}, "type": "object"}),
            vec![json!({"name": "A", "tree": {"label": "1", "children": [{"label": "2", "next": null}]}})],
            vec![json!({"tree": {"label": "1", "children": [{"label": "2", "next": {"label": 3}}]}})],
            0,
        ),
        (
            "Pydantic 2: Decimal, whose pattern looks ahead",
            json!({"properties": {"name": {"type": "string"}, "budget": {"anyOf": [{"type": "number"}, {"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", "type": "string"}], "title": "Budget"}}, "type": "object"}),
            vec![json!({"name": "A", "budget": 12}), json!({"budget": "12.50"})],
            vec![json!({"budget": "R$ 12"}), json!({"budget": "-"})],
            0,
        ),
        (
            "Pydantic 2: discriminated union",
            json!({"$defs": {"Cat": {"type": "object", "properties": {"kind": {"const": "cat", "type": "string"}, "lives": {"type": "integer"}}, "required": ["kind"]}, "Dog": {"type": "object", "properties": {"kind": {"const": "dog", "type": "string"}}, "required": ["kind"]}}, "type": "object", "properties": {"name": {"type": "string"}, "pet": {"discriminator": {"mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}, "propertyName": "kind"}, "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}}}),
            vec![json!({"name": "A", "pet": {"kind": "cat", "lives": 9}})],
            vec![json!({"name": "A", "pet": {"kind": "cow"}}), json!({"pet": {"kind": "cat", "lives": "9"}})],
            0,
        ),
    ]);
}

#[test]
fn schemas_of_other_python_tools() {
    test(vec![
        (
            "Pydantic 2: tuple, set, dict and conint",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "pair": {"maxItems": 2, "minItems": 2, "prefixItems": [{"type": "integer"}, {"type": "string"}], "type": "array"}, "tags": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}, "scores": {"additionalProperties": {"type": "number"}, "type": "object"}, "age": {"exclusiveMinimum": 0, "maximum": 150, "type": "integer"}}}),
            vec![json!({"name": "A", "pair": [1, "x"], "tags": ["a"], "scores": {"x": 1.5}, "age": 1})],
            vec![
                json!({"pair": ["x", 1]}),
                json!({"tags": ["a", "a"]}),
                json!({"scores": {"x": "1"}}),
                json!({"age": 0}),
            ],
            0,
        ),
        (
            "Pydantic 1: `definitions` and `allOf` around a reference",
            json!({"title": "Lead", "type": "object", "properties": {"name": {"type": "string"}, "plan": {"allOf": [{"$ref": "#/definitions/Plan"}], "default": "starter"}}, "required": ["name"], "definitions": {"Plan": {"enum": ["starter", "growth"]}}}),
            vec![json!({"name": "A", "plan": "starter"})],
            vec![json!({"name": "A", "plan": "gold"})],
            0,
        ),
        (
            "LangChain, convert_to_openai_function",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "when": {"type": "string", "format": "date-time"}, "query": {}}, "required": ["name"]}),
            vec![json!({"name": "A", "when": "tomorrow", "query": [1]})],
            vec![json!({"query": 1})],
            0,
        ),
        (
            "smolagents: `any`, and `nullable` of OpenAPI",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "any"}, "note": {"type": "string", "nullable": true}}, "required": ["name", "note"]}),
            vec![json!({"name": "A", "value": [1], "note": null})],
            vec![json!({"name": "A", "note": 1}), json!({"name": "A"})],
            2,
        ),
        (
            "Berkeley Function Calling Leaderboard: types of Python",
            json!({"type": "dict", "properties": {"name": {"type": "string"}, "price": {"type": "float"}}, "required": ["name"]}),
            vec![json!({"name": "A", "price": 1.5})],
            vec![json!({"price": 1.5}), json!({"name": 1})],
            2,
        ),
        (
            "dataclasses-json and others: `required` in the property (draft 3)",
            json!({"type": "object", "properties": {"name": {"type": "string", "required": true}, "email": {"type": "string", "required": false}}}),
            vec![json!({"name": "A"}), json!({})],
            vec![json!({"name": 1})],
            2,
        ),
    ]);
}

#[test]
fn schemas_of_openapi_and_go() {
    test(vec![
        (
            "Gemini, function declarations: types in upper case, `nullable`, formats of OpenAPI",
            json!({"type": "OBJECT", "properties": {"name": {"type": "STRING"}, "seats": {"type": "INTEGER", "format": "int32", "nullable": true}, "plan": {"type": "STRING", "format": "enum", "enum": ["starter", "growth"]}}, "required": ["name", "seats"]}),
            vec![json!({"name": "A", "seats": null, "plan": "growth"}), json!({"name": "A", "seats": 3})],
            vec![
                json!({"name": "A", "seats": "3"}),
                json!({"name": 1, "seats": 3}),
                json!({"name": "A", "seats": 1, "plan": "gold"}),
            ],
            5,
        ),
        (
            "Swashbuckle, OpenAPI 3.0: `nullable` beside `allOf`",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "home": {"allOf": [{"$ref": "#/components/schemas/Address"}], "nullable": true}, "plan": {"enum": ["a", "b"], "type": "string", "nullable": true}}, "required": ["home", "plan"], "components": {"schemas": {"Address": {"type": "object", "properties": {"zip": {"type": "string"}}}}}}),
            vec![
                json!({"name": "A", "home": null, "plan": null}),
                json!({"home": {"zip": "1"}, "plan": "a"}),
            ],
            vec![json!({"home": {"zip": 1}, "plan": "a"}), json!({"home": null, "plan": "c"})],
            2,
        ),
        (
            "OpenAPI 3.0: limits that are true or false",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "seats": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}}),
            vec![json!({"name": "A", "seats": 1})],
            vec![json!({"seats": 0})],
            1,
        ),
        (
            "Go, invopop/jsonschema: the root is a reference, with an `$id`",
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://github.example/acme/crm/lead", "$ref": "#/$defs/Lead", "$defs": {"Lead": {"properties": {"name": {"type": "string"}, "home": {"$ref": "#/$defs/Address"}}, "additionalProperties": false, "type": "object", "required": ["name"]}, "Address": {"properties": {"zip": {"type": "string"}}, "additionalProperties": false, "type": "object"}}}),
            vec![json!({"name": "A", "home": {"zip": "1"}})],
            vec![
                json!({"home": {}}),
                json!({"name": "A", "home": {"city": "X"}}),
                json!({"name": "A", "x": 1}),
            ],
            0,
        ),
        (
            "Go, encoding/json: nil slices and maps are null",
            json!({"type": "object", "properties": {"name": {"type": "string", "enum": null, "items": null}}, "required": null, "additionalProperties": null}),
            vec![json!({"name": "A"}), json!({"x": 1})],
            vec![json!({"name": 1})],
            4,
        ),
    ]);
}

#[test]
fn schemas_of_other_languages() {
    test(vec![
        (
            "Java, victools: `$defs` and nullable types",
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"Address": {"type": "object", "properties": {"zip": {"type": ["string", "null"]}}}}, "type": "object", "properties": {"name": {"type": "string"}, "home": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Address"}]}, "work": {"$ref": "#/$defs/Address"}}}),
            vec![json!({"name": "A", "home": null, "work": {"zip": null}})],
            vec![json!({"home": 1}), json!({"work": {"zip": 1}})],
            0,
        ),
        (
            ".NET, JsonSchemaExporter: pointers to the first use, `true` for object",
            json!({"type": ["object", "null"], "properties": {"name": {"type": "string"}, "home": {"type": ["object", "null"], "properties": {"zip": {"type": ["string", "null"]}}}, "work": {"$ref": "#/properties/home"}, "manager": {"$ref": "#"}, "data": true}}),
            vec![json!({"name": "A", "work": {"zip": null}, "manager": {"name": "B"}, "data": [1]})],
            vec![json!({"manager": {"manager": {"name": 1}}}), json!({"work": {"zip": 1}})],
            0,
        ),
        (
            "NJsonSchema: `oneOf` with null and a reference",
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties": {"name": {"type": "string"}, "home": {"oneOf": [{"type": "null"}, {"$ref": "#/definitions/Address"}]}, "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}, "definitions": {"Address": {"type": "object", "required": ["zip"]}}}),
            vec![json!({"name": "A", "home": null}), json!({"home": {"zip": 1}})],
            vec![json!({"home": {}}), json!({"age": 0})],
            0,
        ),
        (
            "PHP, json_encode: empty maps are lists",
            json!({"type": "object", "properties": {"name": {"type": "string"}, "any": [], "map": {"type": "object", "properties": [], "additionalProperties": []}}, "required": [], "$defs": []}),
            vec![json!({"name": "A", "any": 1, "map": {"x": 1}})],
            vec![json!({"map": 1})],
            3,
        ),
        (
            "Rust, schemars 0.8: draft 7, formats of Rust's numbers",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Lead", "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "seats": {"type": ["integer", "null"], "format": "uint32", "minimum": 0.0}, "plan": {"anyOf": [{"$ref": "#/definitions/Plan"}, {"type": "null"}]}}, "definitions": {"Plan": {"oneOf": [{"description": "Small", "type": "string", "enum": ["starter"]}, {"type": "string", "enum": ["growth"]}]}}}),
            vec![json!({"name": "A", "seats": 0, "plan": "growth"})],
            vec![json!({"name": "A", "seats": -1}), json!({"name": "A", "plan": "gold"})],
            0,
        ),
    ]);
}

#[test]
fn schemas_of_other_drafts() {
    test(vec![
        (
            "JSON Schema's own extensions of text: formats and contents that nobody checks",
            json!({"type": "object", "properties": {"name": {"type": "string", "format": "unknown-thing"}, "file": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png", "contentSchema": {"type": "object"}}}, "x-order": 1, "$comment": "x", "$vocabulary": {}}),
            vec![json!({"name": "A", "file": "not base64"})],
            vec![json!({"file": 1})],
            0,
        ),
        (
            "Draft 2019-09: `$recursiveRef` and `dependentRequired`",
            json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true, "type": "object", "properties": {"name": {"type": "string"}, "parent": {"$recursiveRef": "#"}, "pair": {"items": [{"type": "integer"}], "additionalItems": false}}, "dependentRequired": {"parent": ["name"]}}),
            vec![json!({"name": "A", "parent": {"name": "B"}, "pair": [1]})],
            vec![json!({"parent": {}}), json!({"name": "A", "parent": {"name": 1}}), json!({"pair": [1, 2]})],
            0,
        ),
        (
            "Draft 2020-12: anchors, static and dynamic",
            json!({"type": "object", "properties": {"name": {"$ref": "#text"}, "tree": {"$dynamicRef": "#node"}}, "$defs": {"a": {"$anchor": "text", "type": "string"}, "b": {"$dynamicAnchor": "node", "properties": {"next": {"$dynamicRef": "#node"}}, "required": ["id"]}}}),
            vec![json!({"name": "A", "tree": {"id": 1, "next": {"id": 2}}})],
            vec![json!({"name": 1}), json!({"tree": {"id": 1, "next": {}}})],
            0,
        ),
        (
            "JSON Forms and others: `dependencies` of draft 7",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"name": {"type": "string"}}, "dependencies": {"card": ["address"], "vip": {"required": ["manager"]}}}),
            vec![json!({"name": "A", "card": 1, "address": 1}), json!({"vip": true, "manager": 1})],
            vec![json!({"card": 1}), json!({"vip": true})],
            0,
        ),
        (
            "OpenAPI 3.1: the dialect in `$schema`",
            json!({"$schema": "https://spec.openapis.org/oas/3.1/dialect/base", "type": "object", "properties": {"name": {"type": "string"}}}),
            vec![json!({"name": "A"})],
            vec![json!({"name": 1})],
            1,
        ),
    ]);
}

/// In drafts up to 7, a reference hides what is beside it.
#[test]
fn references_of_old_drafts_hide_their_siblings() {
    for (draft, hidden) in [
        (json!("http://json-schema.org/draft-04/schema#"), true),
        (json!("http://json-schema.org/draft-07/schema#"), true),
        (json!("https://json-schema.org/draft/2019-09/schema"), false),
        (json!(null), false),
    ] {
        let schema = json!({"$schema": draft, "properties": {"a": {"$ref": "#/$defs/text", "maxLength": 1}}, "$defs": {"text": {"type": "string"}}});
        let parameters = compile(&schema).unwrap();
        assert_eq!(parameters.check(&json!({"a": "xy"})).is_ok(), hidden, "{draft}");
        assert!(parameters.check(&json!({"a": 1})).is_err());
    }
}
