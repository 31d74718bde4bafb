//! A preview is what the workers would do.

use super::*;
use serde_json::json;

use crate::{domain::webhook::request::USER_AGENT, settings};

const REFERENCE: &str = r#"{
    "name": "register_qualified_lead",
    "parameters": {"properties": {"name": {"type": "string"}, "email": {"type": "string"}}, "required": ["name"]},
    "actions": [
        {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"},
        {"type": "WEBHOOK", "url": "https://hooks.example/$plan", "method": "PUT",
         "headers": [{"key": "X-Session", "value": "$session.id"}],
         "body": {"text": "$name ($contact.email) $contact.operation"}},
        {"type": "WEBHOOK", "url": "https://hooks.example/"}
    ]
}"#;

fn fired(
    text: &str,
    arguments: &str,
    client_data: &str,
    environment: &[(&str, &str)],
) -> anyhow::Result<Value> {
    fired_for(None, text, arguments, client_data, environment)
}

fn fired_for(
    company: Option<&str>,
    text: &str,
    arguments: &str,
    client_data: &str,
    environment: &[(&str, &str)],
) -> anyhow::Result<Value> {
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let settings = settings::load(None, environment).unwrap().settings;
    Ok(preview::fire(text, &argument(arguments, "a")?, &argument(client_data, "c")?, company, &settings)?)
}

#[test]
fn preview_runs_every_step() {
    let arguments = r#"{"name": "Ada", "email": " ADA@Analytical.example "}"#;
    let shown = fired(REFERENCE, arguments, r#"{"plan": "a/b"}"#, &[]).unwrap();
    assert_eq!(shown["steps"][0]["fields"], json!({ "name": "Ada", "email": "ada@analytical.example" }));
    let request = &shown["steps"][1];
    assert_eq!(request["url"], "https://hooks.example/a%2Fb");
    assert_eq!(request["method"], "PUT");
    assert_eq!(request["body"], r#"{"text":"Ada (ada@analytical.example) created"}"#);
    assert!(request["headers"].to_string().contains(r#"["x-session","preview"]"#), "{request}");
    assert_eq!(shown["skipped"], 1);
    let text = as_text(&shown);
    assert!(text.contains("PUT https://hooks.example/a%2Fb") && text.contains("1 further"), "{text}");
}

#[test]
fn preview_says_what_came_of_each_argument() {
    let definition = json!({
        "name": "lead", "parameters": {"properties": {
            "customer": {}, "mail": {}, "document": {}, "city": {}, "born": {}, "phone": {}, "firm": {},
        }},
        "action": {
            "type": "CRM", "subtype": "UPSERT_CONTACT", "name": "customer", "email": "mail", "identity": "document",
            "city": "city", "birthday": "born", "phone": "phone", "company": "firm",
        },
    });
    let arguments = r#"{"customer": "Ada", "mail": " ADA@Analytical.example", "document": "529.982.247-25",
        "city": "{{ $json.city }}", "born": "35", "phone": "call me", "firm": "None"}"#;
    let shown = fired(&definition.to_string(), arguments, "{}", &[]).unwrap();
    let argument = |field: &str| {
        let arguments = shown["steps"][0]["arguments"].as_array().unwrap();
        arguments.iter().find(|argument| argument["field"] == field).unwrap().clone()
    };
    assert_eq!(
        argument("email"),
        json!({"field": "email", "parameter": "mail", "given": " ADA@Analytical.example", "outcome": "stored",
            "value": "ada@analytical.example", "because": null})
    );
    let city = argument("city");
    assert_eq!((&city["outcome"], &city["value"]), (&json!("noValue"), &Value::Null));
    assert_eq!(argument("phone")["because"], "not_a_phone_number");
    assert!(!shown.to_string().contains("529.982"), "{shown}");
    let lines = as_text(&shown);
    for line in [
        "  name        Ada",
        "  identity    ***-25",
        "  phone       not taken: not_a_phone_number, given call me",
        "  email       ada@analytical.example, cleaned from  ADA@Analytical.example",
        "  company     None (only while no other value is known)",
        "  birthday    35 (kept as given: unverified)",
        "  city        no value: a template or expression that was never filled in, given {{ $json.city }}",
    ] {
        assert!(lines.lines().any(|shown| shown == line), "{line}\n{lines}");
    }
}

#[test]
fn argument_that_is_no_value_and_breaks_the_schema_is_shown_as_none() {
    let definition = REFERENCE
        .replace(r#""email": {"type": "string"}"#, r#""email": {"type": "string", "pattern": "@"}"#)
        .replace(r#""text": "$name ($contact.email) $contact.operation""#, r#""email": "$email""#);
    let shown = fired(&definition, r#"{"name": "Ada", "email": "N/A"}"#, r#"{"plan": "x"}"#, &[]).unwrap();
    assert_eq!(shown["steps"][0]["fields"], json!({ "name": "Ada" }));
    assert_eq!(shown["steps"][1]["body"], r#"{"email":null}"#);
    let lines = as_text(&shown);
    let line = "  email       no value: a word for no value, given N/A";
    assert!(lines.lines().any(|shown| shown == line), "{lines}");
    let refused = fired(&definition, r#"{"name": "Ada", "email": "at home"}"#, "{}", &[]).unwrap_err();
    assert!(refused.to_string().contains("argument `email` breaks the rule `pattern`"), "{refused}");
}

#[test]
fn missing_body_sends_the_event() {
    let arguments = r#"{"name": "Ada", "email": "ada@analytical.example"}"#;
    let shown = fired(
        REFERENCE,
        arguments,
        r#"{"plan": "x"}"#,
        &[("CONTACT_RELAY__CHAIN__DEFAULT_MAX_INTERACTIONS", "3")],
    );
    let shown = shown.unwrap();
    let body: Value = serde_json::from_str(shown["steps"][2]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["type"], "contact.upserted");
    assert_eq!(body["data"]["contact"]["email"], "ada@analytical.example");
}

#[test]
fn dead_letter_is_shown_as_an_error() {
    let missing = fired(REFERENCE, "{}", "{}", &[]).unwrap_err().to_string();
    assert!(missing.contains("arguments_invalid"), "{missing}");
    let unknown = fired(REFERENCE, r#"{"name": "Ada"}"#, "{}", &[]).unwrap();
    assert!(unknown["steps"][1]["error"].as_str().unwrap().contains("webhook_invalid"), "{unknown}");
    let http = REFERENCE.replace("https://hooks.example/$plan", "http://hooks.example/");
    let blocked = fired(&http, r#"{"name": "Ada"}"#, "{}", &[]).unwrap();
    assert!(blocked["steps"][1]["error"].as_str().unwrap().contains("webhook_blocked"), "{blocked}");
    let allowed =
        fired(&http, r#"{"name": "Ada"}"#, "{}", &[("CONTACT_RELAY__WEBHOOK__ALLOW_HTTP", "true")]).unwrap();
    assert_eq!(allowed["steps"][1].get("error"), None);
}

/// Not a setting of ours, but of the world: n8n listens on 5678, and the Fetch standard blocks 25.
#[test]
fn any_port_of_a_receiver_is_shown() {
    let on = |port: &str| {
        let text =
            REFERENCE.replace("https://hooks.example/$plan", &format!("https://hooks.example:{port}/lead"));
        fired(&text, r#"{"name": "Ada"}"#, "{}", &[]).unwrap()["steps"][1].clone()
    };
    let shown = on("5678");
    assert_eq!((shown.get("error"), &shown["url"]), (None, &json!("https://hooks.example:5678/lead")));
    assert!(on("25")["error"].as_str().unwrap().contains("webhook_blocked"));
}

#[test]
fn file_with_an_empty_list_has_no_arguments() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, "\u{feff}[ ]\r\n".as_bytes()).unwrap();
    let read = argument(&format!("@{}", file.path().display()), "--arguments").unwrap();
    assert_eq!(read.get(), "{}");
}

#[test]
fn arguments_may_be_a_text_that_holds_them() {
    for text in [r#""{\"name\": \"Ada\"}""#, r#""\"{\\\"name\\\": \\\"Ada\\\"}\"""#] {
        assert_eq!(argument(text, "--arguments").unwrap().get(), r#"{"name": "Ada"}"#, "{text}");
    }
    assert!(argument(r#""[1]""#, "--arguments").is_err());
}

#[test]
fn company_and_client_data_come_from_the_file() {
    let event = format!(
        r#"{{"data": {{"assistant": {{"maxInteractions": 1}}, "clientData": {{"plan": "p"}}, "trigger": {REFERENCE}}}}}"#
    );
    assert_eq!(fired(&event, r#"{"name": "Ada"}"#, "{}", &[]).unwrap()["skipped"], 2);
    assert!(argument("5", "--arguments").is_err());
    assert!(argument("{", "--arguments").is_err());
}

#[test]
fn slack_endpoint_gets_a_slack_message() {
    let shown = |company: Option<&str>, url: &str, environment: &[(&str, &str)]| {
        let definition = json!({
            "name": "lead", "parameters": {"properties": {"name": {"type": "string"}}},
            "actions": [
                {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name"},
                {"type": "WEBHOOK", "url": url, "body": {"Name": "$name", "Of": "$company.id"}}
            ]
        });
        let shown = fired_for(company, &definition.to_string(), r#"{"name": "<!here>"}"#, "{}", environment);
        shown.unwrap()["steps"][1]["body"].as_str().unwrap().to_owned()
    };
    let message = r#"{"text":"*Name*: &lt;!here&gt;\n*Of*: preview"}"#;
    assert_eq!(shown(None, "https://hooks.slack.com/services/T/B/x", &[]), message);
    assert_eq!(shown(None, "https://chat.example/x", &[]), r#"{"Name":"<!here>","Of":"preview"}"#);
    let rule = r#"[{url = "https://chat.example", company = "acme", profile = "slack"}]"#;
    let rule = [("CONTACT_RELAY__WEBHOOK__ENDPOINTS", rule)];
    assert_eq!(shown(None, "https://chat.example/x", &rule), r#"{"Name":"<!here>","Of":"preview"}"#);
    assert_eq!(shown(Some("acme"), "https://chat.example/x", &rule), message.replace("preview", "acme"));
}

#[test]
fn own_headers_are_shown_without_secrets() {
    let names = |secrets: &str, endpoints: &str| {
        let environment = [
            ("CONTACT_RELAY__WEBHOOK__SIGNING_SECRETS", secrets),
            ("CONTACT_RELAY__WEBHOOK__ENDPOINTS", endpoints),
        ];
        let shown =
            fired(REFERENCE, r#"{"name": "Ada", "email": "a@b.example"}"#, r#"{"plan": "x"}"#, &environment);
        let shown = shown.unwrap()["steps"][1]["headers"].clone();
        assert!(!shown.to_string().contains("whs"), "{shown}");
        let headers: Vec<[String; 2]> = serde_json::from_value(shown).unwrap();
        headers.into_iter().map(|[name, value]| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
    };
    let (shared, private) =
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    let plain = names("", "[]");
    assert!(
        plain.contains(&format!("user-agent: {USER_AGENT}")) && plain.contains("x-session: preview"),
        "{plain}"
    );
    assert!(!plain.contains("webhook-signature"), "{plain}");
    let signed = names(&format!("{shared},{private}"), "[]");
    assert!(
        signed.contains("\nwebhook-signature: v1,<signature> v1a,<signature>\nwebhook-id: <"),
        "{signed}"
    );
    let own =
        names(shared, &format!(r#"[{{url = "https://hooks.example", signing_secrets = ["{private}"]}}]"#));
    assert!(own.contains("webhook-signature: v1a,<signature>\n"), "{own}");
}
