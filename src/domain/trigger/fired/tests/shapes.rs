//! Events with members in the shapes of other languages.

use super::*;

/// Whether the event says what the other shape means.
type Same = fn(&TriggerFired) -> bool;

/// Pointer, value and meaning.
type Row = (&'static str, Value, Same);

/// Empty lists and objects, ids that are numbers, numbers that are texts.
fn of_languages() -> Vec<Row> {
    let no_arguments: Same = |fired| fired.arguments.is_empty();
    let no_client_data: Same = |fired| fired.client_data.is_empty();
    let no_images: Same = |fired| fired.images.is_empty();
    let one_trigger: Same = |fired| fired.triggers.len() == 1;
    let five: Same = |fired| fired.event.id() == "5";
    let two: Same = |fired| fired.max_interactions == Some(2);
    let interpreted: Same = |fired| fired.triggers[0].interprets_response();
    let not_interpreted: Same = |fired| !fired.triggers[0].interprets_response();
    let rows: &[Row] = &[
        // PHP's empty map: svix/svix-webhooks #2060, UserScape/php-customerio #20, jsonmodel/jsonmodel #163
        ("/data/arguments", json!([]), no_arguments),
        ("/data/clientData", json!([]), no_client_data),
        ("/data/assistant", json!([]), |fired| {
            fired.assistant_id.is_none() && fired.max_interactions.is_none()
        }),
        ("/data/session", json!([]), |fired| fired.session_id.is_none()),
        // The reverse, by PHP's JSON_FORCE_OBJECT: plivo/plivo-php #187, skolodyazhnyy/json-stream #3
        ("/data/images", json!({}), no_images),
        ("/data/next", json!({}), one_trigger),
        ("/data/trigger/actions/1/headers", json!({}), one_trigger),
        // Ids that a database counts: wvteijlingen/Spine #148, Jericho/ZoomNet #228 (now a number, now a text)
        ("/id", json!(5), five),
        ("/id", json!(5.0), five),
        ("/data/company/id", json!(7), |fired| fired.company.as_str() == "7"),
        ("/data/company/id", json!(-7), |fired| fired.company.as_str() == "-7"),
        ("/data/assistant/id", json!(5), |fired| fired.assistant_id.as_deref() == Some("5")),
        ("/data/session/id", json!(9_007_199_254_740_993_u64), |fired| {
            fired.session_id.as_deref() == Some("9007199254740993")
        }),
        // Forms and environment variables, whose values are all texts; languages whose numbers are all floats
        ("/data/assistant/maxInteractions", json!("2"), two),
        ("/data/assistant/maxInteractions", json!(2.0), two),
        ("/data/assistant/maxInteractions", json!("2.0"), two),
        // Python's str(True), C#'s True.ToString(), 1 of SQL and PHP: cloudbase/coriolis #477, Raynes/refheap #59
        ("/data/trigger/interpretResponse", json!("True"), interpreted),
        ("/data/trigger/interpretResponse", json!("true"), interpreted),
        ("/data/trigger/interpretResponse", json!("TRUE"), interpreted),
        ("/data/trigger/interpretResponse", json!("1"), interpreted),
        ("/data/trigger/interpretResponse", json!(1), interpreted),
        ("/data/trigger/interpretResponse", json!("False"), not_interpreted),
        ("/data/trigger/interpretResponse", json!("0"), not_interpreted),
        ("/data/trigger/interpretResponse", json!(0), not_interpreted),
        ("/data/trigger/interpretResponse", json!(null), not_interpreted),
    ];
    rows.to_vec()
}

/// Versions that are numbers, and boxes that nobody filled in.
fn of_forms() -> Vec<Row> {
    let no_client_data: Same = |fired| fired.client_data.is_empty();
    let no_images: Same = |fired| fired.images.is_empty();
    let one_trigger: Same = |fired| fired.triggers.len() == 1;
    let not_interpreted: Same = |fired| !fired.triggers[0].interprets_response();
    let no_limit: Same = |fired| fired.max_interactions.is_none();
    let rows: &[Row] = &[
        // RockLib/RockLib.Messaging #166
        ("/specversion", json!("1.0.2"), one_trigger),
        // YAML and PHP read 1.0 as a number, and JavaScript writes it as 1
        ("/specversion", json!(1.0), one_trigger),
        ("/specversion", json!(1), one_trigger),
        ("/specversion", json!("1"), one_trigger),
        // Boxes of a form that nobody filled in
        ("/data/assistant/maxInteractions", json!(""), no_limit),
        ("/data/assistant/maxInteractions", json!(null), no_limit),
        ("/data/assistant", json!(""), no_limit),
        ("/data/session", json!(""), |fired| fired.session_id.is_none()),
        ("/data/session", json!(" "), |fired| fired.session_id.is_none()),
        ("/data/clientData", json!(""), no_client_data),
        ("/data/images", json!(""), no_images),
        ("/data/next", json!(""), one_trigger),
        ("/data/trigger/interpretResponse", json!(""), not_interpreted),
        ("/data/trigger/description", json!(5), one_trigger),
        ("/data/trigger/action", json!(""), one_trigger),
        ("/data/trigger/actions/0/phone", json!(null), one_trigger),
        ("/data/trigger/actions/0/url", json!(""), one_trigger),
    ];
    rows.to_vec()
}

/// JSON in texts, and times.
fn of_texts() -> Vec<Row> {
    let no_arguments: Same = |fired| fired.arguments.is_empty();
    let one_trigger: Same = |fired| fired.triggers.len() == 1;
    let ada: Same = |fired| fired.arguments["name"] == "Ada";
    let same_time: Same = |fired| fired.time == datetime!(2026-11-22 10:00:00.123 UTC);
    let rows: &[Row] = &[
        // OpenAI's image parts, and a list with a gap
        ("/data/images", json!([null, "https://h.example/1.png", {"url": "x"}, 5]), |fired| {
            fired.images == ["https://h.example/1.png"]
        }),
        // `function.arguments` of OpenAI and columns of databases are texts: huggingface/smolagents #1003,
        // quarkiverse/quarkus-langchain4j #2642, openclaw/openclaw #40425
        ("/data/arguments", json!("{\"name\": \"Ada\"}"), ada),
        ("/data/arguments", json!(" {\"name\": \"Ada\", \"email\": null}\n"), ada),
        ("/data/arguments", json!("[]"), no_arguments),
        ("/data/clientData", json!("{\"plan\": 5}"), |fired| fired.client_data["plan"] == 5),
        ("/data/trigger", json!(event()["data"]["trigger"].to_string()), one_trigger),
        (
            "/data/trigger/parameters",
            json!(event()["data"]["trigger"]["parameters"].to_string()),
            one_trigger,
        ),
        ("/data/trigger/actions", json!(event()["data"]["trigger"]["actions"].to_string()), one_trigger),
        ("/data/next", json!([event()["data"]["trigger"].to_string()]), |fired| fired.triggers.len() == 2),
        // SDKs of CloudEvents that were given a text instead of an object: Azure/azure-sdk-for-python #13555
        ("/data", json!(event()["data"].to_string()), one_trigger),
        // strftime and Postgres: rtfeldman/elm-iso8601-date-strings #13, golang/go #31113
        ("/time", json!("2026-11-22T10:00:00.123+0000"), same_time),
        ("/time", json!("2026-11-22 07:00:00.123-03"), same_time),
        ("/time", json!("2026-11-22 10:00:00.123 UTC"), same_time),
    ];
    rows.to_vec()
}

/// The same event as other languages write it; the values are those of the sample.
#[test]
fn members_may_have_the_shapes_of_other_languages() {
    let mut wrong = Vec::new();
    for (pointer, value, is_same) in [of_languages(), of_forms(), of_texts()].into_iter().flatten() {
        let text = with(event(), pointer, value.clone()).to_string();
        // Editors and PowerShell write a mark and CRLF: PowerShell/PowerShell #8592, jqlang/jq #2351.
        for text in [text.clone(), format!("\u{feff}{text}\r\n")] {
            match read(text.as_bytes()) {
                Ok(fired) if is_same(&fired) => {}
                Ok(fired) => wrong.push(format!("{pointer} {value}: {fired:?}")),
                Err(fault) => wrong.push(format!("{pointer} {value}: {fault:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
