//! Events with members in the shapes of other languages.

use super::*;

/// Whether the event says what the other shape means.
type Same = fn(&TriggerFired) -> bool;

/// A pointer, the JSON of another shape, its meaning, and a source.
type Row = (&'static str, &'static str, Same, &'static str);

/// Empty lists and objects, and ids that are numbers, with their sources.
const OF_LANGUAGES: &[(&str, &str, Same, &str)] = &[
    (
        "/data/arguments",
        "[]",
        no_arguments,
        "https://github.com/svix/svix-webhooks/issues/2060: PHP's empty map",
    ),
    ("/data/arguments", "[ ]", no_arguments, "as above: with a blank"),
    ("/data/clientData", "[]", no_client_data, "https://github.com/UserScape/php-customerio/issues/20"),
    (
        "/data/assistant",
        "[]",
        |fired| fired.assistant_id.is_none() && fired.max_interactions.is_none(),
        "https://github.com/jsonmodel/jsonmodel/issues/163",
    ),
    ("/data/session", "[]", |fired| fired.session_id.is_none(), "as above"),
    ("/data/images", "{}", no_images, "https://github.com/plivo/plivo-php/issues/187: JSON_FORCE_OBJECT"),
    ("/data/next", "{}", one_trigger, "https://github.com/skolodyazhnyy/json-stream/issues/3"),
    ("/data/trigger/actions/1/headers", "{}", one_trigger, "as above"),
    ("/id", "5", five, "https://github.com/wvteijlingen/Spine/issues/148: an id that a database counts"),
    ("/id", "5.0", five, "Java: a double"),
    ("/id", "5e0", five, "C: printf's %g"),
    (
        "/data/company/id",
        "7",
        |fired| fired.company.as_str() == "7",
        "https://github.com/Jericho/ZoomNet/issues/228",
    ),
    ("/data/company/id", "-7", |fired| fired.company.as_str() == "-7", "as above: below zero"),
    ("/data/assistant/id", "5", |fired| fired.assistant_id.as_deref() == Some("5"), "as above"),
    (
        "/data/session/id",
        "9007199254740993",
        |fired| fired.session_id.as_deref() == Some("9007199254740993"),
        "RFC 8259, 6: more than a double holds",
    ),
    ("/data/assistant/maxInteractions", "\"2\"", two, "HTML, 4.10.21.4: the values of a form are texts"),
    ("/data/assistant/maxInteractions", "2.0", two, "ECMA-262, 6.1.6.1: all numbers are doubles; Lua"),
    ("/data/assistant/maxInteractions", "\"2.0\"", two, "pandas, then a form"),
    ("/data/assistant/maxInteractions", "2e0", two, "RFC 8259, 6: an exponent"),
    ("/data/assistant/maxInteractions", "\" 2 \"", two, "as above: a cell with blanks"),
];

/// Flags as texts and numbers, with their sources.
const OF_FLAGS: &[(&str, &str, Same, &str)] = &[
    (FLAG, "\"True\"", interpreted, "https://github.com/cloudbase/coriolis/issues/477: Python's str(True)"),
    (FLAG, "\"true\"", interpreted, "https://github.com/Raynes/refheap/issues/59: a form"),
    (FLAG, "\"TRUE\"", interpreted, "spreadsheets"),
    (FLAG, "\" true \"", interpreted, "as above: with blanks"),
    (FLAG, "\"1\"", interpreted, "PHP: strval(true)"),
    (FLAG, "1", interpreted, "MySQL: BOOLEAN is TINYINT(1)"),
    (FLAG, "1.0", interpreted, "pandas: flags beside an empty cell"),
    (FLAG, "\"False\"", not_interpreted, "C#: False.ToString()"),
    (FLAG, "\"FALSE\"", not_interpreted, "spreadsheets"),
    (FLAG, "\"0\"", not_interpreted, "PHP: a checkbox"),
    (FLAG, "0", not_interpreted, "MySQL: BOOLEAN is TINYINT(1)"),
    (FLAG, "null", not_interpreted, "JSON: no value"),
    (FLAG, "\"\"", not_interpreted, "PHP: strval(false)"),
];

/// Versions that are numbers, and boxes of forms that nobody filled in, with their sources.
const OF_FORMS: &[(&str, &str, Same, &str)] = &[
    ("/specversion", "\"1.0.2\"", one_trigger, "https://github.com/RockLib/RockLib.Messaging/issues/166"),
    (
        "/specversion",
        "1.0",
        one_trigger,
        "https://yaml.org/spec/1.2.2/#10214-floating-point: 1.0 is a number",
    ),
    ("/specversion", "1", one_trigger, "JavaScript: 1.0 is written as 1"),
    ("/specversion", "\"1\"", one_trigger, "as above: then as a text"),
    ("/data/assistant/maxInteractions", "\"\"", no_limit, "HTML, 4.10.21.4: an empty box of a form"),
    ("/data/assistant/maxInteractions", "null", no_limit, "JSON: no value"),
    ("/data/assistant", "\"\"", no_limit, "as above: of an object"),
    ("/data/session", "\"\"", |fired| fired.session_id.is_none(), "as above"),
    ("/data/session", "\" \"", |fired| fired.session_id.is_none(), "as above: a blank"),
    ("/data/clientData", "\"\"", no_client_data, "as above"),
    ("/data/images", "\"\"", no_images, "as above: of a list"),
    ("/data/next", "\"\"", one_trigger, "as above"),
    (
        "/data/trigger/description",
        "5",
        one_trigger,
        "PHP: a text of digits is a number as the key of an array",
    ),
    ("/data/trigger/action", "\"\"", one_trigger, "HTML, 4.10.21.4: the other box"),
    ("/data/trigger/actions/0/phone", "null", one_trigger, "Go: a pointer that is nil, without omitempty"),
    ("/data/trigger/actions/0/url", "\"\"", one_trigger, "Go: a text without omitempty"),
];

/// JSON in texts, lists with gaps, and times, with their sources.
const OF_TEXTS: &[(&str, &str, Same, &str)] = &[
    (
        "/data/images",
        r#"[null, "https://h.example/1.png", {"url": "x"}, 5]"#,
        |fired| fired.images == ["https://h.example/1.png"],
        "OpenAI: parts of images are objects",
    ),
    (
        "/data/arguments",
        r#""{\"name\": \"Ada\"}""#,
        ada,
        "https://github.com/huggingface/smolagents/issues/1003: function.arguments is a text",
    ),
    (
        "/data/arguments",
        r#"" {\"name\": \"Ada\", \"email\": null}\n""#,
        ada,
        "https://github.com/quarkiverse/quarkus-langchain4j/issues/2642",
    ),
    (
        "/data/arguments",
        r#""{\"name\": \"Ada\", \"x\": \"\ud83d\"}""#,
        ada,
        "ECMA-262, 25.5.2.3: half of an emoji in a text",
    ),
    ("/data/arguments", r#"{"name": "Ada", "x": "\ud83d"}"#, ada, "as above: in an object"),
    ("/data/next", r#""[]""#, one_trigger, "PostgreSQL: a column of texts"),
    (
        "/data/arguments",
        r#""\"{\\\"name\\\": \\\"Ada\\\"}\"""#,
        ada,
        "https://github.com/livekit/agents/pull/5409: encoded twice",
    ),
    ("/data/arguments", r#""[]""#, no_arguments, "PHP: json_encode of an empty map, then in a column"),
    ("/data/arguments", r#""{}""#, no_arguments, "OpenAI: a call without arguments"),
    (
        "/data/arguments",
        r#""\"{}\"""#,
        no_arguments,
        "https://github.com/vllm-project/vllm/pull/54964: encoded twice",
    ),
    (
        "/data/clientData",
        r#""\"[]\"""#,
        no_client_data,
        "https://github.com/MoonshotAI/kimi-cli/pull/2572: encoded twice",
    ),
    (
        "/data/clientData",
        r#""{\"plan\": 5}""#,
        |fired| fired.client_data["plan"] == 5,
        "PostgreSQL: a column of texts",
    ),
    (
        "/time",
        r#""2026-11-22T10:00:00.123+0000""#,
        same_time,
        "https://github.com/rtfeldman/elm-iso8601-date-strings/issues/13",
    ),
    (
        "/time",
        r#""2026-11-22 07:00:00.123-03""#,
        same_time,
        "https://github.com/golang/go/issues/31113: PostgreSQL",
    ),
    (
        "/time",
        r#""2026-11-22 10:00:00.123 UTC""#,
        same_time,
        "https://docs.ruby-lang.org/en/master/Time.html: to_s",
    ),
];

const FLAG: &str = "/data/trigger/interpretResponse";

fn no_arguments(fired: &TriggerFired) -> bool {
    fired.arguments.is_empty()
}

fn no_client_data(fired: &TriggerFired) -> bool {
    fired.client_data.is_empty()
}

fn no_images(fired: &TriggerFired) -> bool {
    fired.images.is_empty()
}

fn one_trigger(fired: &TriggerFired) -> bool {
    fired.triggers.len() == 1
}

fn five(fired: &TriggerFired) -> bool {
    fired.event.id() == "5"
}

fn two(fired: &TriggerFired) -> bool {
    fired.max_interactions == Some(2)
}

fn no_limit(fired: &TriggerFired) -> bool {
    fired.max_interactions.is_none()
}

fn interpreted(fired: &TriggerFired) -> bool {
    fired.triggers[0].interprets_response()
}

fn not_interpreted(fired: &TriggerFired) -> bool {
    !interpreted(fired)
}

fn ada(fired: &TriggerFired) -> bool {
    fired.arguments["name"] == "Ada"
}

fn same_time(fired: &TriggerFired) -> bool {
    fired.time == datetime!(2026-11-22 10:00:00.123 UTC)
}

/// The event as it is read if that is not the same; `None` if it is. Editors and PowerShell write a mark and CRLF:
/// PowerShell/PowerShell #8592, jqlang/jq #2351.
fn differs(text: &str, is_same: Same) -> Option<String> {
    let read = |text: &str| match read(text.as_bytes()) {
        Ok(fired) if is_same(&fired) => None,
        Ok(fired) => Some(format!("{fired:?}")),
        Err(fault) => Some(format!("{fault:?}")),
    };
    read(text).or_else(|| read(&format!("\u{feff}{text}\r\n")))
}

/// The same event as other languages write it; the values are those of the sample.
#[test]
fn members_may_have_the_shapes_of_other_languages() {
    let mut wrong = Vec::new();
    let rows: [&[Row]; 4] = [OF_LANGUAGES, OF_FLAGS, OF_FORMS, OF_TEXTS];
    for (pointer, shape, is_same, source) in rows.into_iter().flatten() {
        // As it is written: a value of serde_json would be normalized.
        let marked = with(event(), pointer, json!("<shape>")).to_string();
        let text = marked.replacen("\"<shape>\"", shape, 1);
        let found = differs(&text, *is_same);
        wrong.extend(found.map(|found| format!("{pointer} {shape} ({source}): {found}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A member as a text that holds its JSON.
#[test]
fn definitions_and_data_may_be_texts() {
    for (pointer, source) in [
        ("/data/trigger", "PostgreSQL: a column of texts"),
        ("/data/trigger/parameters", "OpenAI: a schema that was pasted"),
        ("/data/trigger/actions", "as above: of a form"),
        (
            "/data",
            "https://github.com/Azure/azure-sdk-for-python/issues/13555: CloudEvents that were given a text",
        ),
    ] {
        let member = event().pointer(pointer).unwrap().to_string();
        let text = with(event(), pointer, json!(member)).to_string();
        assert_eq!(differs(&text, one_trigger), None, "{pointer} ({source})");
    }
    let next = json!([event()["data"]["trigger"].to_string()]);
    let text = with(event(), "/data/next", next).to_string();
    assert_eq!(differs(&text, |fired| fired.triggers.len() == 2), None);
}

/// The data as bytes, which SDKs of CloudEvents write in base64 (cloudevents/sdk-python #28), and numbers that JSON does
/// not have (langwatch/langwatch #1558).
#[test]
fn event_may_be_spelled_otherwise_as_a_whole() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let not_a_number = event().to_string().replacen(r#""interest":"growth""#, r#""interest":NaN"#, 1);
    let bytes = STANDARD.encode(event()["data"].to_string());
    let encoded = with(without(event(), "/data"), "/data_base64", json!(bytes)).to_string();
    for (text, interest) in [(not_a_number, Value::Null), (encoded, json!("growth"))] {
        let fired = read(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        assert_eq!((fired.arguments.len(), &fired.arguments["interest"]), (4, &interest));
        let undecoded = with_origin(text.as_bytes(), Fault::new(Reason::CrashLoop, "x"));
        assert_eq!(undecoded.company.unwrap().as_str(), "acme");
        assert_eq!(undecoded.trigger.as_deref(), Some("register_qualified_lead"));
        assert_eq!(time_of(text.as_bytes()), Some(datetime!(2026-11-22 10:00:00.123 UTC)));
        // A fault further inside has its origin, too.
        let found = fault(text.replacen("trigger.fired", "other", 1));
        assert_eq!((found.reason, found.company.unwrap().as_str()), (Reason::EventInvalid, "acme"));
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let data = event()["data"].to_string().replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert_eq!(fault(with(event(), "/data", json!(data)).to_string()).reason, Reason::EventInvalid);
}

#[test]
fn origin_of_an_invalid_event_may_be_numbers() {
    let event =
        with(with(with(event(), "/id", json!(5)), "/data/company/id", json!(7)), "/time", json!("soon"));
    let found = fault(event.to_string());
    assert_eq!((found.event.unwrap().id(), found.company.unwrap().as_str()), ("5", "7"));
    let event = without(with(with(event, "/id", json!(5.0)), "/data/company/id", json!(7.0)), "/time");
    let found = fault(event.to_string());
    assert_eq!((found.event.unwrap().id(), found.company.unwrap().as_str()), ("5", "7"));
    let undecoded = with_origin(event.to_string().as_bytes(), Fault::new(Reason::CrashLoop, "x"));
    assert_eq!((undecoded.event.unwrap().id(), undecoded.company.unwrap().as_str()), ("5", "7"));
}
