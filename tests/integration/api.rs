//! The HTTP API: who may use it, what it answers, and that its description says so.

mod access;
mod bad_input;
mod browser;
mod described;
mod discards;
mod documents;
mod guarded;
mod once;
mod operations;
mod resends;
mod resources;
mod searches;
mod transfer;
mod triggers;
mod verbs;

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    http::{Answer, Ask},
    process::Process,
};

/// One token for each role.
const TOKENS: [(&str, &str); 4] =
    [("viewer", "tok-v"), ("operator", "tok-o"), ("editor", "tok-e"), ("admin", "tok-a")];

/// Starts all roles, with a token for each role of the API.
async fn served(app: &TestApp) -> Process {
    app.set("http.tokens", "vera:viewer:tok-v,otto:operator:tok-o,edna:editor:tok-e,ada:admin:tok-a");
    app.run(&[]).await
}

/// A GET as this role, which succeeds.
async fn get(process: &Process, token: &str, path: &str) -> Value {
    let answer = process.ask(Ask::get(path).token(token)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// A POST of JSON as this role.
async fn post(process: &Process, token: &str, path: &str, body: &Value) -> Answer {
    process.ask(Ask::post(path, body).token(token)).await
}

/// The kind of a problem.
fn kind(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    let kind = problem["type"].as_str().unwrap().strip_prefix("urn:contact-relay:problem:").unwrap();
    assert_eq!(problem["status"], answer.status);
    kind.to_owned()
}

/// A body with all members that the description requires.
fn least_body(schema: &str) -> Value {
    static ID: LazyLock<String> = LazyLock::new(|| uuid::Uuid::now_v7().to_string());
    match schema {
        "Ids" => json!({ "ids": [*ID] }),
        "NewOperation" => json!({ "action": "replay", "filter": { "company": "nobody" } }),
        "NewExport" | "NewDiscard" => json!({ "filter": { "company": "nobody" } }),
        "NewResend" => json!({ "filter": { "company": "nobody", "state": ["dead"] } }),
        "NewEvent" => json!({ "body": {} }),
        "EndpointTest" => json!({ "endpoint": *ID }),
        "ContactSearch" => json!({ "company": "acme", "email": "nobody@x.example" }),
        "CheckRequest" => json!({ "definition": {} }),
        "PreviewRequest" => json!({ "definition": {}, "arguments": {} }),
        "Because" | "Decision" | "NewNote" | "Run" | "Resume" => json!({}),
        other => panic!("no body for {other}"),
    }
}

/// An address of a route, with ids that nothing has.
fn address(path: &str) -> String {
    let id = uuid::Uuid::now_v7();
    path.replace("{id}", &id.to_string())
        .replace("{signature}", &id.simple().to_string())
        .replace("{company}", "acme")
        .replace("{schema}", "common.json")
        .replace("{code}", "unknown")
}
