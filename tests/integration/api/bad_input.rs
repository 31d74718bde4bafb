//! What no client should send gets a clear problem, and changes nothing.

use macro_rules_attribute::apply;
use serde_json::json;

use super::{address, kind, post, served};
use crate::support::{app::TestApp, http::Ask, test};

#[apply(test)]
async fn bad_parameters_are_refused(app: &TestApp) {
    let process = served(app).await;
    let long = "x".repeat(10_000);
    for query in [
        "limit=0",
        "limit=501",
        "limit=1000000000",
        "limit=-1",
        "limit=a",
        "limit=1&limit=2",
        "cursor=x",
        "cursor=AAAA",
        "cursor=%27%20OR%201=1%20--",
        "since=yesterday",
        "since=99999999999999d",
        "since=0001-01-01T00:00:00Z",
        "company=a%00b",
        "filter=x",
        &format!("company={long}"),
    ] {
        for path in ["dead-letters", "deliveries", "audit"] {
            let answer = process.ask(Ask::get(&format!("/api/v1/{path}?{query}")).token("tok-v")).await;
            assert_eq!((answer.status, kind(&answer).as_str()), (400, "invalid-request"), "{path}?{query}");
        }
    }
    for query in ["limit=1000000000", "cursor=x", "company=a%00b"] {
        let answer = process.ask(Ask::get(&format!("/api/v1/endpoints?{query}")).token("tok-v")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    for (path, filters) in [
        (
            "dead-letters",
            &["reason=none", "state=none", "stage=none", "endpoint=x", "signature=x", "text=a%0Ab"][..],
        ),
        ("deliveries", &["state=none", "contact=x"]),
        ("audit", &["action=none"]),
    ] {
        for filter in filters {
            let answer = process.ask(Ask::get(&format!("/api/v1/{path}?{filter}")).token("tok-v")).await;
            assert_eq!(answer.status, 400, "{path}?{filter}");
        }
    }
}

#[apply(test)]
async fn bad_bodies_are_refused(app: &TestApp) {
    let process = served(app).await;
    let long = "x".repeat(10_000);
    let path = "/api/v1/deliveries/resend";
    let ask = || Ask::new("POST", path).token("tok-o");
    for (body, kind_of, status) in [
        (ask().header("content-type", "text/plain").body("{}"), "unsupported-media-type", 415),
        (
            ask().header("content-type", "application/x-www-form-urlencoded").body("a=b"),
            "unsupported-media-type",
            415,
        ),
        (ask().body("{}"), "unsupported-media-type", 415),
        (ask().header("content-type", "application/json").body("{"), "invalid-request", 400),
        (ask().header("content-type", "application/json").body(vec![b' '; (2 << 20) + 1]), "too-large", 413),
        (ask(), "invalid-request", 400),
        (Ask::post(path, &json!({ "ids": [] })).token("tok-o"), "invalid-request", 400),
        (Ask::post(path, &json!({ "ids": ["x"] })).token("tok-o"), "invalid-request", 400),
        (
            Ask::post(path, &json!({ "ids": vec![uuid::Uuid::nil(); 501] })).token("tok-o"),
            "invalid-request",
            400,
        ),
        (
            Ask::post(path, &json!({ "ids": [uuid::Uuid::nil()], "reason": "a\nb" })).token("tok-o"),
            "invalid-request",
            400,
        ),
        (
            Ask::post(path, &json!({ "ids": [uuid::Uuid::nil()], "reason": long })).token("tok-o"),
            "invalid-request",
            400,
        ),
    ] {
        let answer = process.ask(body).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (status, kind_of), "{answer:?}");
    }
    assert_eq!(app.rows("audit_log").await, 0);
}

#[apply(test)]
async fn unknown_ids_are_not_found(app: &TestApp) {
    let process = served(app).await;
    for route in contact_relay::console::routes() {
        // A page of a contact names its company in the query.
        if route.path.starts_with("/api/") && route.path.contains("{id}") && route.method == "GET" {
            let unknown = process.ask(Ask::get(&address(route.path)).token("tok-o")).await;
            assert_eq!((unknown.status, kind(&unknown).as_str()), (404, "not-found"), "{}", route.path);
            let path = route.path.replace("{company}", "acme").replace("{id}", "..%2f..%2fetc");
            assert_eq!(process.ask(Ask::get(&path).token("tok-o")).await.status, 404, "{path}");
        }
    }
    let nobody = post(&process, "tok-v", "/api/v1/contacts/search", &json!({ "company": "acme" })).await;
    assert_eq!((nobody.status, kind(&nobody).as_str()), (400, "invalid-request"));
}
