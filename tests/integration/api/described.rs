//! `docs/contracts/openapi.json` says what the service does: the same routes, roles, parameters and members. That every answer
//! fits its schema is checked wherever a test asks for one (`support/http.rs`).

use std::collections::BTreeSet;

use contact_relay::console::{self, Face, Kind};
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{address, get, kind, served};
use crate::support::{app::TestApp, contracts, http::Ask, test};

fn document() -> Value {
    contracts::file("openapi.json")
}

fn names(list: &Value, place: &str) -> BTreeSet<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let of_place = list.iter().filter(|one| one["in"] == place);
    of_place.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[apply(test)]
async fn every_route_is_described_and_every_description_has_a_route(_app: &TestApp) {
    let document = document();
    let routes = console::routes().into_iter().filter(|route| route.face == Face::Api);
    let mut served: Vec<Value> = routes
        .map(|route| {
            let role = route.role.map(contact_relay::settings::Role::name);
            json!([route.path, route.method.as_str().to_lowercase(), role, route.kind == Kind::Change])
        })
        .collect();
    let mut described = Vec::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.push(json!([path, method, operation["x-role"], operation["x-changes"]]));
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
            let of_path: BTreeSet<String> = path
                .split('/')
                .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned()))
                .collect();
            assert_eq!(names(&operation["parameters"], "path"), of_path, "{path}");
            let has_key = operation["parameters"].to_string().contains("idempotencyKey");
            assert_eq!(json!(has_key), operation["x-changes"], "{path}");
        }
    }
    served.sort_by_key(Value::to_string);
    described.sort_by_key(Value::to_string);
    assert_eq!(served, described);
}

/// A route names the parameters and members that it knows when it gets one that it does not.
#[apply(test)]
async fn parameters_and_members_are_those_of_the_service(app: &TestApp) {
    let process = served(app).await;
    let document = document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let expected = names(&operation["parameters"], "query");
            let has_json = !operation["requestBody"]["content"]["application/json"].is_null();
            let by_query = method == "get" || !has_json;
            let wrong = if by_query {
                let wrong =
                    Ask::new(&method.to_uppercase(), &format!("{}?no-such-parameter=1", address(path)));
                if method == "get" { wrong } else { wrong.header("content-type", "application/x-ndjson") }
            } else {
                Ask::post(&address(path), &json!({ "no-such-member": 1 }))
            };
            let answer = process.ask(wrong.token("tok-a")).await;
            let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
            if by_query && expected.is_empty() {
                assert!(!detail.contains("no such parameter"), "{path}: {detail}");
                continue;
            }
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            let known: BTreeSet<String> = if by_query {
                let list = detail.rsplit("known: ").next().unwrap();
                list.split(", ").map(str::to_owned).collect()
            } else {
                // The parser's words: unknown field `x`, expected one of `a`, `b`, or: expected `a`.
                let list = detail.split("expected ").nth(1).unwrap_or_else(|| panic!("{path}: {detail}"));
                list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
            };
            let described = if by_query { expected } else { members(&document, operation) };
            assert_eq!(known, described, "{path}");
        }
    }
}

fn members(document: &Value, operation: &Value) -> BTreeSet<String> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let pointer = schema.as_str().unwrap().trim_start_matches('#');
    document.pointer(pointer).unwrap()["properties"].as_object().unwrap().keys().cloned().collect()
}

#[apply(test)]
async fn documents_are_served(app: &TestApp) {
    let process = served(app).await;
    assert_eq!(get(&process, "tok-v", "/api/v1/openapi.json").await, document());
    assert_eq!(get(&process, "tok-v", "/api/v1/asyncapi.json").await, contracts::file("asyncapi.json"));
    for (name, schema) in contracts::schemas() {
        assert_eq!(get(&process, "tok-v", &format!("/api/v1/{name}")).await, schema, "{name}");
    }
    let unknown = process.ask(Ask::get("/api/v1/secrets.json").token("tok-a")).await;
    assert_eq!((unknown.status, kind(&unknown).as_str()), (404, "not-found"));
}
