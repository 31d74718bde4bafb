//! `trigger check` and `trigger preview`.

use std::fs;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::assert_failed;
use crate::support::{app::TestApp, event::Event, test};

fn definition(url: &str) -> Value {
    json!({
        "name": "register_qualified_lead",
        "parameters": {
            "properties": {"name": {"type": "string"}, "email": {"type": "string"}, "interest": {"enum": ["growth"]}},
            "required": ["name"]
        },
        "actions": [
            {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"},
            {"type": "WEBHOOK", "url": format!("{url}?who=$name"), "method": "PUT",
                "headers": [{"key": "X-Who", "value": "$email"}],
                "body": {"z": "$interest for $name", "a": ["$images", "$unknown", "$plan"]}}
        ]
    })
}

#[apply(test)]
async fn check_reports_invalid_definitions(app: &TestApp) {
    let good = definition("https://hooks.example/sales").to_string();
    let sound = app.cli_with_input(&["trigger", "check", "-", "-o", "json"], good.as_bytes()).await;
    let findings: Vec<Value> = serde_json::from_str(&sound.stdout).unwrap();
    assert!(sound.code == Some(0) && findings.iter().all(|f| f["severity"] == "warning"), "{}", sound.stdout);
    let mut bad = definition("no url");
    bad["actions"][0]["name"] = "$name".into();
    bad["actions"][0]["nickname"] = "name".into();
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, bad.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    for format in ["table", "json", "ndjson"] {
        let ended = app.cli(&["trigger", "check", path, "-o", format]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{format}");
        for says in ["/actions/0/name", "bare parameter name", "/actions/0/nickname"] {
            assert!(ended.stdout.contains(says), "{says}: {}", ended.stdout);
        }
    }
    let event = Event::lead("Ada").next(&json!({"type": "EMAIL"})).bytes();
    let chain = app.cli_with_input(&["trigger", "check", "-"], &event).await;
    assert!(chain.code == Some(1) && chain.stdout.contains("/data/next/0/action"), "{}", chain.stdout);
    let next = json!({"trigger": definition("https://hooks.example/"), "next": "Zaphod"}).to_string();
    for (text, message) in [
        ("{\n  \"name\": Zaphod\n}", "the definition is not JSON: expected value at line 2 column 11"),
        (next.as_str(), "/next must be a list of definitions"),
    ] {
        let checked = app.cli_with_input(&["trigger", "check", "-", "-o", "json"], text.as_bytes()).await;
        let findings: Vec<Value> = serde_json::from_str(&checked.stdout).unwrap();
        let expected = json!({"severity": "error", "place": "", "message": message});
        assert_eq!((checked.code, findings), (Some(1), vec![expected]));
    }
    let text = b"{\n  \"name\": Zaphod\n}";
    let preview = app.cli_with_input(&["trigger", "preview", "-", "--arguments", "{}"], text).await;
    let error = "error: could not parse standard input as JSON: expected value at line 2 column 11\n";
    assert_failed(&preview, 1, error);
    assert_failed(&app.cli(&["trigger", "check", "/nowhere.json"]).await, 1, "/nowhere.json");
}

#[apply(test)]
async fn preview_matches_what_the_event_does(app: &TestApp) {
    let definition = definition(&app.receiver.url("/sales"));
    let arguments = json!({"name": "Ada & Co", "email": " Ada@Analytical.example ", "interest": "growth"});
    let client_data = NamedTempFile::new().unwrap();
    fs::write(&client_data, r#"{"plan": {"b": 1, "a": 2}}"#).unwrap();
    let from_file = format!("@{}", client_data.path().to_str().unwrap());
    let text = definition.to_string();
    let arguments_text = arguments.to_string();
    let command = ["trigger", "preview", "-", "--arguments", &arguments_text, "--client-data", &from_file];
    let command = [command.as_slice(), &["-o", "json"]].concat();
    let preview = app.cli_with_input(&command, text.as_bytes()).await;
    assert_eq!((preview.code, preview.stderr.as_str()), (Some(0), ""), "{}", preview.stdout);
    let preview: Value = serde_json::from_str(&preview.stdout).unwrap();
    let steps = preview["steps"].as_array().unwrap();
    assert_eq!(steps[0]["fields"], json!({"name": "Ada & Co", "email": "ada@analytical.example"}));
    assert_eq!((steps.len(), &preview["skipped"]), (2, &json!(0)));
    assert_eq!(app.receiver.requests().len() + app.broker.heard().await.len(), 0, "it changed something");
    app.run(&[]).await;
    let event = Event::lead("x").with("/data/trigger", definition).with("/data/arguments", arguments);
    app.broker.publish(&event.with("/data/clientData", json!({"plan": {"b": 1, "a": 2}}))).await;
    let sent = app.webhooks(1).await.remove(0);
    let shown = &steps[1];
    assert_eq!(shown["method"], sent.method.as_str());
    assert_eq!(shown["url"], app.receiver.url(&sent.path));
    let body = shown["body"].clone();
    let body = if body.is_string() { body.as_str().unwrap().to_owned() } else { body.to_string() };
    assert_eq!(body.as_bytes(), sent.body);
    assert_eq!(sent.header("x-who"), Some("Ada@Analytical.example"));
    assert!(shown["headers"].to_string().contains("Ada@Analytical.example"), "{shown}");
}

#[apply(test)]
async fn preview_reports_future_dead_letters(app: &TestApp) {
    let fine = r#"{"name": "Ada", "email": "ada@analytical.example"}"#;
    let preview = async |definition: Value, arguments: &str| {
        let arguments = ["trigger", "preview", "-", "--arguments", arguments, "-o", "json"];
        app.cli_with_input(&arguments, definition.to_string().as_bytes()).await
    };
    let url = "https://hooks.example/";
    let mut bad_mapping = definition(url);
    bad_mapping["actions"][0]["name"] = "{{name}}".into();
    for (definition, arguments, says) in [
        (bad_mapping, fine, "trigger_invalid"),
        (definition(url), "{}", "arguments_invalid"),
        (definition(url), r#"{"name": "Ada", "email": "Zaphod"}"#, "identifier_invalid"),
        (definition(url), "[]", "--arguments must be a JSON object"),
        (definition(url), "Zaphod", "--arguments is not JSON"),
        (json!("no definition"), fine, "dead letter"),
    ] {
        let ended = preview(definition, arguments).await;
        assert_failed(&ended, 1, says);
        assert!(!ended.stderr.contains("Zaphod"), "{}", ended.stderr);
    }
    for (url, says) in [("https://10.0.0.1/", "webhook_blocked"), ("https://$nobody/", "webhook_invalid")] {
        let ended = preview(definition(url), fine).await;
        assert!(ended.code == Some(1) && ended.stdout.contains(says), "{}{}", ended.stdout, ended.stderr);
    }
}
