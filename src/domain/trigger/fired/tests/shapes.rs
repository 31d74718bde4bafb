//! Events with members in the shapes of other languages.

use super::*;

/// Whether the event says what the other shape means.
type Same = fn(&TriggerFired) -> bool;

/// The same event as other languages write it; the values are those of the sample.
#[test]
fn members_may_have_the_shapes_of_other_languages() {
    let no_arguments: Same = |fired| fired.arguments.is_empty();
    let no_client_data: Same = |fired| fired.client_data.is_empty();
    let no_images: Same = |fired| fired.images.is_empty();
    let one_trigger: Same = |fired| fired.triggers.len() == 1;
    let five: Same = |fired| fired.event.id() == "5";
    let two: Same = |fired| fired.max_interactions == Some(2);
    let interpreted: Same = |fired| fired.triggers[0].interprets_response();
    let not_interpreted: Same = |fired| !fired.triggers[0].interprets_response();
    let table: &[(&str, Value, Same)] = &[
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
    for (pointer, value, is_same) in table {
        let text = with(event(), pointer, value.clone()).to_string();
        // Editors and PowerShell write a mark and CRLF: PowerShell/PowerShell #8592, jqlang/jq #2351.
        for text in [text.clone(), format!("\u{feff}{text}\r\n")] {
            let fired = read(text.as_bytes()).unwrap_or_else(|fault| panic!("{pointer} {value}: {fault:?}"));
            assert!(is_same(&fired), "{pointer} {value}: {fired:?}");
        }
    }
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
