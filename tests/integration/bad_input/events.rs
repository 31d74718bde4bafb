//! JSON that is not a `trigger.fired` event, or whose trigger or arguments are invalid.

use serde_json::{Value, json};

use super::{Bad, MARKER, event};
use crate::support::event::Event;

const SCHEMA: &str = "/data/trigger/parameters";
const FIRST: &str = "/data/trigger/actions";

fn bad(what: &'static str, event: &Event, reason: &'static str, says: &'static str) -> Bad {
    Bad::new(what, event.bytes(), reason, says)
}

pub(super) fn missing() -> Vec<Bad> {
    let members = [
        ("/specversion", "`specversion`"),
        ("/id", "`id`"),
        ("/source", "`source`"),
        ("/type", "`type`"),
        ("/time", "`time`"),
        ("/data", "`data`"),
        ("/data/company", "`data.company`"),
        ("/data/company/id", "`data.company.id`"),
        ("/data/trigger", "`data.trigger`"),
        ("/data/trigger/name", "name"),
        ("/data/trigger/actions", "`actions`"),
        ("/data/arguments", "`data.arguments`"),
    ];
    let missing = members.map(|(member, says)| bad(member, &event().without(member), "event_invalid", says));
    let null = members.map(|(member, says)| {
        let says = if member == "/data/trigger" || member == "/data/arguments" { "must be" } else { says };
        bad(member, &event().with(member, Value::Null), "event_invalid", says)
    });
    missing.into_iter().chain(null).collect()
}

fn invalid(what: &'static str, member: &str, value: Value, says: &'static str) -> Bad {
    bad(what, &event().with(member, value), "event_invalid", says)
}

pub(super) fn wrong() -> Vec<Bad> {
    wrong_envelopes().into_iter().chain(wrong_ids()).chain(wrong_data()).collect()
}

fn wrong_envelopes() -> Vec<Bad> {
    let version =
        |what, value: Value| bad(what, &event().with("/specversion", value), "unsupported_version", "1.0");
    let long = "x".repeat(100_000);
    vec![
        version("an old version", "0.3".into()),
        version("a later version", "1.1".into()),
        version("a made up version", format!("{MARKER} 1.0").into()),
        bad(
            "a later version of another shape",
            &event().with("/specversion", "2.0".into()).without("/data"),
            "unsupported_version",
            "",
        ),
        invalid(
            "a version that is half a number",
            "/specversion",
            0.3.into(),
            "`specversion` must be a string",
        ),
        invalid("an id that is half a number", "/id", 5.5.into(), "`id` must be a string"),
        invalid("an empty id", "/id", "".into(), "1 to 1024 bytes"),
        invalid("an id with NUL", "/id", "a\0b".into(), "control characters"),
        invalid("an id with a line break", "/id", "a\nb".into(), "control characters"),
        invalid("an id of 100 kB", "/id", long.as_str().into(), "1 to 1024 bytes"),
        invalid("a source of 100 kB", "/source", long.as_str().into(), "1 to 1024 bytes"),
        invalid("another type", "/type", format!("{MARKER}.fired").into(), "`type` must be `trigger.fired`"),
        invalid("an invalid time", "/time", format!("{MARKER} o'clock").into(), "RFC 3339"),
        invalid("a day without time", "/time", "2026-11-22".into(), "RFC 3339"),
        invalid("a time without zone", "/time", "2026-11-22T10:00:00".into(), "RFC 3339"),
        invalid("the 30th of February", "/time", "2026-02-30T10:00:00Z".into(), "RFC 3339"),
        invalid("a time that is a number", "/time", 1_795_341_600.into(), "`time` must be a string"),
        invalid("the year 10000 in UTC", "/time", "9999-12-31T23:59:59-01:00".into(), "RFC 3339"),
        invalid("data that is a list", "/data", json!([MARKER]), "`data` must be an object"),
    ]
}

fn wrong_ids() -> Vec<Bad> {
    vec![
        invalid(
            "a company that is a text",
            "/data/company",
            MARKER.into(),
            "`data.company` must be an object",
        ),
        invalid(
            "a company id that is true",
            "/data/company/id",
            true.into(),
            "`data.company.id` must be a string",
        ),
        invalid("an empty company id", "/data/company/id", "".into(), "`data.company.id`"),
        invalid("a company id with NUL", "/data/company/id", "a\0".into(), "`data.company.id`"),
        invalid("a company id of 100 kB", "/data/company/id", "x".repeat(100_000).into(), "1 to 255 bytes"),
        invalid(
            "an assistant that is a list",
            "/data/assistant",
            json!([MARKER]),
            "`data.assistant` must be an object",
        ),
        invalid(
            "less than no interactions",
            "/data/assistant/maxInteractions",
            (-1).into(),
            "maxInteractions",
        ),
        invalid("half an interaction", "/data/assistant/maxInteractions", 1.5.into(), "maxInteractions"),
        invalid("interactions in words", "/data/assistant/maxInteractions", "two".into(), "maxInteractions"),
        invalid("a session id that is a list", "/data/session/id", json!([]), "`data.session.id`"),
        invalid("a session id with NUL", "/data/session/id", "\0".into(), "`data.session.id`"),
    ]
}

fn wrong_data() -> Vec<Bad> {
    let action = json!({"type": "WEBHOOK", "url": "https://a.example"});
    vec![
        invalid("images that are a text", "/data/images", MARKER.into(), "`data.images`"),
        invalid("client data that is a list", "/data/clientData", json!([MARKER]), "`data.clientData`"),
        invalid(
            "arguments that are a list",
            "/data/arguments",
            json!([MARKER]),
            "`data.arguments` must be an object",
        ),
        invalid(
            "arguments that are a text",
            "/data/arguments",
            MARKER.into(),
            "`data.arguments` must be an object",
        ),
        invalid("a trigger that is a text", "/data/trigger", MARKER.into(), "must be an object"),
        invalid("a trigger's name that is a number", "/data/trigger/name", 5.into(), "name"),
        invalid("no action", FIRST, json!([]), "1 to 10"),
        invalid("eleven actions", FIRST, vec![action.clone(); 11].into(), "1 to 10"),
        invalid("one action and several", "/data/trigger/action", action, "not both"),
        invalid("next that is an object", "/data/next", json!({MARKER: {}}), "`data.next`"),
        invalid("eleven next triggers", "/data/next", vec![json!({}); 11].into(), "`data.next`"),
    ]
}

pub(super) fn triggers() -> Vec<Bad> {
    mappings_and_actions().into_iter().chain(schemas()).collect()
}

fn schemas() -> Vec<Bad> {
    let with = |what, member: &str, value: Value, says| {
        bad(what, &event().with(member, value), "trigger_invalid", says)
    };
    vec![
        with("a schema that is a list", SCHEMA, json!([{}]), "JSON Schema"),
        with("a schema that is a text", SCHEMA, "object".into(), "JSON Schema"),
        with("a schema of texts", SCHEMA, json!({"type": "string"}), "arguments are an object"),
        with("a name of 100 kB", "/data/trigger/name", "x".repeat(100_000).into(), "1 to 255 characters"),
        // The database compresses other long texts, but not this one.
        with("a random name of 6 kB", "/data/trigger/name", random_text(6_000).into(), "1 to 255 characters"),
        with("interpretResponse in words", "/data/trigger/interpretResponse", "yes".into(), "true or false"),
    ]
}

fn random_text(length: usize) -> String {
    let parts = (0..length / 32).map(|_| format!("{:032x}", rand::random::<u128>()));
    parts.collect()
}

fn mappings_and_actions() -> Vec<Bad> {
    let mapping = |what, fields: Value, says| {
        let mut action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT"});
        action.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        bad(what, &event().with(FIRST, json!([action])), "trigger_invalid", says)
    };
    let action =
        |what, action: Value, says| bad(what, &event().with(FIRST, json!([action])), "trigger_invalid", says);
    vec![
        mapping("a dollar", json!({"name": "$name"}), "write the bare parameter name, `name`"),
        mapping("braces", json!({"name": "{{name}}"}), "write the bare parameter name, `name`"),
        mapping("a dollar and braces", json!({"name": "${name}"}), "write the bare parameter name, `name`"),
        mapping("an unknown field", json!({"nickname": "name"}), "unknown field `nickname`"),
        mapping("a field in snake case", json!({"zip_code": "name"}), "write `zipCode`"),
        mapping("an undeclared parameter", json!({"name": "fullName"}), "`fullName` is not a parameter"),
        mapping("a mapping to a number", json!({"name": 5}), "the name of a parameter"),
        action("an action that is a text", "CRM".into(), "must be an object"),
        action("an action of no type", json!({}), "type"),
        action("an unknown type", json!({"type": "EMAIL"}), "unknown type `EMAIL`"),
        action("an unknown subtype", json!({"type": "CRM", "subtype": "DELETE_CONTACT"}), "UPSERT_CONTACT"),
        action("a webhook without url", json!({"type": "WEBHOOK"}), "url"),
        action(
            "a webhook of another method",
            json!({"type": "WEBHOOK", "url": "https://a.example", "method": "BREW"}),
            "method",
        ),
        action(
            "headers within headers",
            json!({"type": "WEBHOOK", "url": "https://a.example", "headers": {"a": {"b": MARKER}}}),
            "headers",
        ),
        bad(
            "a bad trigger in next",
            &event().next(&json!({"type": "EMAIL"})),
            "trigger_invalid",
            "data.next[0]",
        ),
    ]
}

fn against(what: &'static str, schema: Value, arguments: Value, says: &'static str) -> Bad {
    let event = event().with(SCHEMA, schema);
    let event = event.with(FIRST, json!([{"type": "CRM", "subtype": "UPSERT_CONTACT"}]));
    bad(what, &event.with("/data/arguments", arguments), "arguments_invalid", says)
}

/// The argument `name` against this schema.
fn name(what: &'static str, schema: &Value, value: impl Into<Value>) -> Bad {
    let parameters = json!({"properties": {"name": schema}});
    against(what, parameters, json!({"name": value.into()}), "argument `name`")
}

pub(super) fn arguments() -> Vec<Bad> {
    let required = || json!({"properties": {"name": {"type": "string"}}, "required": ["name"]});
    let strict = json!({"properties": {"name": {}}, "additionalProperties": false});
    let is_required = "argument `name` is required";
    vec![
        against("a required argument that is missing", required(), json!({}), is_required),
        against("a required argument that is null", required(), json!({"name": null}), is_required),
        name("a text for a number", &json!({"type": "integer"}), MARKER),
        name("a number for a text", &json!({"type": "string"}), 42),
        name("a fraction for a whole number", &json!({"type": "integer"}), 1.5),
        name("a text for a list", &json!({"type": "array"}), MARKER),
        name("what is not in the enum", &json!({"enum": ["starter", "growth"]}), MARKER),
        name("another constant", &json!({"const": "x"}), MARKER),
        name("another pattern", &json!({"pattern": "^[0-9]+$"}), MARKER),
        name("too short a text", &json!({"minLength": 50}), MARKER),
        name("an item of the wrong type", &json!({"items": {"type": "integer"}}), json!([MARKER])),
        name("a deep key that is too much", &json!({"additionalProperties": false}), json!({MARKER: 1})),
        name("a deep value", &json!({"additionalProperties": {"type": "integer"}}), json!({MARKER: "x"})),
        name("none of several", &json!({"oneOf": [{"type": "integer"}, {"enum": ["x"]}]}), MARKER),
        against("an argument that is not declared", strict, json!({MARKER: 1}), ""),
        against(
            "names by a pattern",
            json!({"propertyNames": {"pattern": "^[a-z]+$"}}),
            json!({MARKER: 1}),
            "",
        ),
        bad(
            "an invalid phone",
            &event().without("/data/arguments/email").phone(&format!("{MARKER} 12")),
            "identifier_invalid",
            "phone",
        ),
        bad("an invalid email", &event().email(&format!("{MARKER} at home")), "identifier_invalid", "email"),
    ]
}
