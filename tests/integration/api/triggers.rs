//! Triggers are checked and previewed.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{kind, post, served};
use crate::support::{app::TestApp, process::Process, test};

fn definition() -> Value {
    json!({
        "name": "lead", "parameters": { "properties": { "name": {}, "email": {} } },
        "actions": [
            { "type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email" },
            { "type": "WEBHOOK", "url": "https://hooks.example/", "method": "POST", "body": { "text": "$name" } },
        ],
    })
}

#[apply(test)]
async fn trigger_is_previewed(app: &TestApp) {
    let process = served(app).await;
    let ask = |definition: Value| json!({ "definition": definition, "arguments": { "name": "Ada", "email": "a@x.co" } });
    let preview =
        async |definition: Value| post(&process, "tok-v", "/api/v1/trigger/preview", &ask(definition)).await;
    let with_nan = definition().to_string().replacen('{', "{\"x\": NaN, ", 1);
    for definition in [definition(), json!(definition().to_string()), json!(with_nan)] {
        let shown = preview(definition).await;
        assert_eq!(
            (shown.status, &shown.json()["steps"][1]["body"]),
            (200, &json!("{\"text\":\"Ada\"}")),
            "{shown:?}"
        );
    }
    for (definition, says) in [(json!({}), "dead letter"), (json!("{"), "not JSON: EOF while parsing")] {
        let refused = preview(definition).await;
        assert_eq!((refused.status, kind(&refused).as_str()), (422, "unprocessable"), "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains(says), "{refused:?}");
    }
    assert_eq!(app.rows("contacts").await + app.rows("audit_log").await, 0);
}

/// The answer of the API, which is that of the command line.
async fn check(app: &TestApp, process: &Process, definition: &Value) -> Value {
    let answer = post(process, "tok-v", "/api/v1/trigger/check", &json!({ "definition": definition })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = definition.as_str().map_or_else(|| definition.to_string(), str::to_owned);
    let printed = app.cli_with_input(&["trigger", "check", "-", "-o", "json"], text.as_bytes()).await;
    let answer = answer.json();
    assert_eq!(answer["findings"], serde_json::from_str::<Value>(&printed.stdout).unwrap());
    assert_eq!(answer["isAccepted"], json!(printed.code == Some(0)), "{}", printed.stderr);
    answer
}

#[apply(test)]
async fn trigger_is_checked_as_on_the_command_line(app: &TestApp) {
    let process = served(app).await;
    for fine in [definition(), json!(definition().to_string()), json!({ "trigger": definition() })] {
        assert_eq!(check(app, &process, &fine).await, json!({ "isAccepted": true, "findings": [] }));
    }
    let mut unlikely = definition();
    unlikely["actions"][1]["url"] = "http://hooks.example/".into();
    let checked = check(app, &process, &unlikely).await;
    assert_eq!(
        (&checked["isAccepted"], &checked["findings"][0]["place"], &checked["findings"][0]["severity"]),
        (&json!(true), &json!("/actions/1/url"), &json!("warning"))
    );
    let mut wrong = definition();
    wrong["actions"][0]["name"] = "$name".into();
    let checked =
        check(app, &process, &json!({ "data": { "trigger": wrong, "next": [definition()] } })).await;
    let finding = &checked["findings"][0];
    assert_eq!((&checked["isAccepted"], &finding["severity"]), (&json!(false), &json!("error")));
    assert_eq!(finding["place"], "/data/trigger/actions/0/name");
    assert!(finding["message"].as_str().unwrap().contains("bare parameter name"), "{finding}");
    for broken in [json!("{"), json!(5), json!(null), json!([]), json!({ "trigger": {}, "next": 5 })] {
        assert_eq!(check(app, &process, &broken).await["isAccepted"], false, "{broken}");
    }
    let missing = post(&process, "tok-v", "/api/v1/trigger/check", &json!({})).await;
    assert_eq!((missing.status, kind(&missing).as_str()), (400, "invalid-request"), "{missing:?}");
}

/// Each answer has a limit, and comes within the time of a request: nothing takes the square of what is sent.
#[apply(test)]
async fn check_of_a_hostile_definition_ends(app: &TestApp) {
    let process = served(app).await;
    let crm = json!({ "type": "CRM", "subtype": "UPSERT_CONTACT", "name": "p", "email": "p", "city": "p" });
    let webhook =
        |body: String| json!({ "type": "WEBHOOK", "url": "https://h.example/", "body": { "a": body } });
    let many = (0..100_000).map(|number| format!("{{{{{number}.p}}}}")).collect::<Vec<_>>().concat();
    for (schema, actions) in [
        (json!({ "enum": vec!["n/a"; 200_000] }), json!([crm])),
        (json!({}), json!([crm, webhook(many)])),
        (json!({}), json!([crm, webhook("#{".repeat(500_000))])),
        (json!({}), json!([crm, webhook("$a".repeat(500_000))])),
        (
            json!({}),
            json!([crm, { "type": "WEBHOOK", "url": "https://h.example/",
            "headers": vec![json!({ "key": "x", "value": "$a" }); 20_000] }]),
        ),
    ] {
        let definition =
            json!({ "name": "t", "parameters": { "properties": { "p": schema } }, "actions": actions });
        let answer =
            post(&process, "tok-v", "/api/v1/trigger/check", &json!({ "definition": definition })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let findings = answer.json()["findings"].as_array().unwrap().len();
        assert!(findings <= 202, "{findings}");
    }
}
