//! Who may use which route, and what everybody else gets.

use contact_relay::{
    console::{self, Face, Kind, RouteInfo},
    settings::Role,
};
use macro_rules_attribute::apply;
use serde_json::json;
use strum::VariantArray as _;

use super::{TOKENS, address, get, kind, least_body, post, served};
use crate::support::{app::TestApp, contracts, event::Event, http::Ask, test};

fn api() -> impl Iterator<Item = RouteInfo> {
    console::routes().into_iter().filter(|route| route.face == Face::Api)
}

/// A request that the route understands.
fn ask(route: &RouteInfo) -> Ask {
    let address = address(route.path);
    if route.method == "GET" {
        return Ask::get(&address);
    }
    let (_, operation) = contracts::operation("POST", &address).expect("a described operation");
    let content = &operation["requestBody"]["content"];
    if content["application/json"].is_null() {
        return Ask::new("POST", &address).header("content-type", "application/x-ndjson").body("{}");
    }
    let schema = &content["application/json"]["schema"]["$ref"];
    let schema = schema.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    Ask::post(&address, &least_body(&schema))
}

#[apply(test)]
async fn api_is_closed_without_tokens(app: &TestApp) {
    let process = app.run(&[]).await;
    for route in api() {
        for ask in [ask(&route), ask(&route).token(""), ask(&route).token("x")] {
            let answer = process.ask(ask).await;
            assert_eq!((answer.status, kind(&answer).as_str()), (401, "unauthenticated"), "{}", route.path);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"contact-relay\""));
            assert!(answer.text().contains("http.tokens"), "{answer:?}");
        }
    }
    let form = process.ask(Ask::form("/sign-in", &[("token", "x")])).await;
    assert!(form.status == 401 && form.text().contains("http.tokens"), "{form:?}");
    for open in ["/healthz", "/readyz"] {
        assert_eq!(process.ask(Ask::get(open)).await.status, 200, "{open}");
    }
}

#[apply(test)]
async fn each_route_takes_its_role_and_those_above(app: &TestApp) {
    let process = served(app).await;
    for route in console::routes() {
        let Some(role) = route.role.filter(|_| route.kind != Kind::Session) else { continue };
        for (name, token) in TOKENS {
            let own = Role::VARIANTS.iter().copied().find(|role| role.name() == name).unwrap();
            let ask = match route.face {
                Face::Api => ask(&route),
                Face::Page => Ask::new(route.method.as_str(), &address(route.path)),
            };
            let answer = process.ask(ask.token(token)).await;
            let refused = answer.status == 403;
            assert_eq!(refused, own < role, "{name} {} {}: {answer:?}", route.method, route.path);
            if refused {
                assert!(answer.text().contains(role.name()), "{answer:?}");
            }
            assert_ne!(answer.status, 401, "{}", route.path);
        }
    }
}

#[apply(test)]
async fn viewer_changes_nothing(app: &TestApp) {
    let process = served(app).await;
    let url = app.receiver.url("/ok");
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&url)).await;
    app.broker.publish_bytes("trigger.fired", b"{", Event::lead("x").properties()).await;
    app.wait_for_deliveries("delivered", 1).await;
    let dead = app.wait_for_dead_letter().await;
    let endpoint = get(&process, "tok-v", "/api/v1/endpoints").await["items"][0]["id"].clone();
    let delivery = get(&process, "tok-v", "/api/v1/deliveries").await["items"][0].clone();
    let contact = format!("/api/v1/companies/acme/contacts/{}", delivery["contactId"].as_str().unwrap());
    let count = console::routes().iter().filter(|route| route.kind == Kind::Change).count();
    for route in console::routes().into_iter().filter(|route| route.kind == Kind::Change) {
        assert!(route.role > Some(Role::Viewer), "{}", route.path);
        let id =
            if route.path.contains("endpoints") { endpoint.as_str().unwrap() } else { &dead.id.to_string() };
        let path = route.path.replace("/api/v1/companies/{company}/contacts/{id}", &contact);
        let path = address(&path.replace("{id}", id));
        let ids = if path.contains("deliveries") { delivery["id"].clone() } else { json!(dead.id) };
        let answer = post(&process, "tok-v", &path, &json!({ "ids": [ids] })).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    assert!(count > 9);
    assert_eq!(app.rows("audit_log").await, 0);
    assert_eq!(app.rows("idempotency_keys").await, 0);
    assert_eq!(app.dead_letters().await, [dead]);
    let states = "webhook_endpoints WHERE paused_at IS NOT NULL OR disabled_at IS NOT NULL";
    assert_eq!((app.rows(states).await, app.rows("contacts").await), (0, 1));
}

#[apply(test)]
async fn wrong_tokens_are_refused(app: &TestApp) {
    let process = served(app).await;
    let ask = || Ask::get("/api/v1/me");
    let long = "x".repeat(20_000);
    for wrong in [
        ask(),
        ask().token(""),
        ask().token("tok"),
        ask().token("TOK-V"),
        ask().token("tok-vv"),
        ask().token("vera:viewer:tok-v"),
        ask().token(&long),
        ask().header("authorization", "Basic dmVyYTp0b2stdg=="),
        ask().header("authorization", "tok-v"),
        ask().header("authorization", "Bearer"),
        // Of two, nobody can say which one counts.
        ask().token("tok-v").token("tok-v"),
        ask().header("cookie", "contact_relay_session=tok-v"),
    ] {
        let answer = process.ask(wrong).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (401, "unauthenticated"));
        assert!(!answer.text().contains("tok-"), "{answer:?}");
    }
    let too_long = process.ask(ask().token(&"x".repeat(1 << 20))).await;
    assert_eq!(too_long.status, 431);
    for header in [ask().header("authorization", "bearer tok-v"), ask().token(" tok-v ")] {
        assert_eq!(
            process.ask(header).await.json(),
            json!({ "name": "vera", "role": "viewer", "csrf": null })
        );
    }
    assert!(!process.log().contains("tok-"), "a token is in the log");
}

#[apply(test)]
async fn viewer_sees_no_personal_data(app: &TestApp) {
    let process = served(app).await;
    let url = app.receiver.url("/ok/by-name/Ada-Lovelace");
    let lead = Event::lead("Ada Lovelace").email("ada@analytical.example").phone("+5511987654321");
    let lead = lead.argument("identity", "529.982.247-25").webhook(&url);
    app.broker.publish(&lead).await;
    app.broker
        .publish_bytes("trigger.fired", b"{\"name\": \"Ada Lovelace\"", Event::lead("x").properties())
        .await;
    app.wait_for_deliveries("delivered", 1).await;
    let dead = app.wait_for_dead_letter().await;
    let delivery = get(&process, "tok-o", "/api/v1/deliveries").await["items"][0].clone();
    let contact = format!("/api/v1/companies/acme/contacts/{}", delivery["contactId"].as_str().unwrap());
    let search = json!({ "company": "acme", "email": "ada@analytical.example" });
    let mut all = String::new();
    for token in ["tok-v", "tok-o"] {
        all.clear();
        for path in [
            "/api/v1/dead-letters",
            &format!("/api/v1/dead-letters/{}", dead.id),
            "/api/v1/deliveries",
            &format!("/api/v1/deliveries/{}", delivery["id"].as_str().unwrap()),
            "/api/v1/endpoints",
            &format!("/api/v1/endpoints/{}", delivery["endpointId"].as_str().unwrap()),
            &contact,
            &format!("{contact}/history"),
            "/api/v1/audit",
        ] {
            all += &get(&process, token, path).await.to_string();
        }
        all += post(&process, token, "/api/v1/contacts/search", &search).await.text();
        assert!(!all.contains("529.982"), "the identity is masked for everybody");
        if token == "tok-v" {
            for value in ["Lovelace", "ada@", "analytical", "98765", "responseBody\"", "\"body\""] {
                assert!(!all.contains(value), "{value}: {all}");
            }
        }
    }
    for value in ["Ada Lovelace", "ada@analytical.example", "+5511987654321", "\"responseBody\":\"received\""]
    {
        assert!(all.contains(value), "an operator sees {value}");
    }
}
