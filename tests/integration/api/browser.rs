//! Sessions of people, and what browsers send for the pages of strangers.

use macro_rules_attribute::apply;
use serde_json::json;

use super::{get, kind, post, served};
use crate::support::{
    app::TestApp,
    event::Event,
    http::{Answer, Ask},
    process::Process,
    test,
};

/// The cookie of a new session.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("{answer:?}"));
    set.split(';').next().unwrap().to_owned()
}

async fn sign_in(process: &Process, token: &str) -> String {
    let answer = process.ask(Ask::form("/sign-in", &[("token", token), ("then", "/audit")])).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/audit")), "{answer:?}");
    cookie(&answer)
}

#[apply(test)]
async fn session_has_the_role_of_its_token(app: &TestApp) {
    let process = served(app).await;
    let answer = process.ask(Ask::form("/sign-in", &[("token", "tok-o")])).await;
    let set = answer.header("set-cookie").unwrap();
    assert!(set.contains("; Path=/; ") && set.contains("; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains("Secure") && !set.contains("tok-o"), "{set}");
    let behind = Ask::form("/sign-in", &[("token", "tok-o")]).header("x-forwarded-proto", "https");
    assert!(process.ask(behind).await.header("set-cookie").unwrap().ends_with("; Secure"));

    let session = cookie(&answer);
    let me = process.ask(Ask::get("/api/v1/me").header("cookie", &format!("other=1; {session}"))).await;
    assert_eq!((&me.json()["name"], &me.json()["role"]), (&json!("otto"), &json!("operator")));
    for change in [0, session.len() / 2, session.len() - 1] {
        let mut tampered = session.clone().into_bytes();
        tampered[change] ^= 1;
        let tampered = String::from_utf8_lossy(&tampered).into_owned();
        let answer = process.ask(Ask::get("/api/v1/me").header("cookie", &tampered)).await;
        assert_eq!(answer.status, 401, "{tampered}");
    }
    // Otto, admin; and a session that has ended.
    for forged in ["contact_relay_session=otto.9999999999.AAAA", "contact_relay_session=otto.1.AAAA"] {
        assert_eq!(process.ask(Ask::get("/api/v1/me").header("cookie", forged)).await.status, 401);
    }
    let wrong = process.ask(Ask::form("/sign-in", &[("token", "tok-x"), ("then", "//evil.example")])).await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(!wrong.text().contains("tok-x") && !wrong.text().contains("evil"), "{wrong:?}");
    // Anybody may send this form, so it is small.
    for (length, status) in [(8000, 401), (1 << 20, 413)] {
        let long = "x".repeat(length);
        assert_eq!(process.ask(Ask::form("/sign-in", &[("token", &long)])).await.status, status);
    }
}

#[apply(test)]
async fn session_ends_when_its_token_is_removed(app: &TestApp) {
    let process = served(app).await;
    let session = sign_in(&process, "tok-o").await;
    let ask = || Ask::get("/api/v1/me").header("cookie", &session);
    assert_eq!(process.ask(ask()).await.status, 200);
    app.stop().await;
    app.set("http.tokens", "otto:operator:another,vera:viewer:tok-v");
    assert_eq!(app.run(&[]).await.ask(ask()).await.status, 401);
}

#[apply(test)]
async fn session_changes_nothing_without_the_token_of_its_forms(app: &TestApp) {
    let process = served(app).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let endpoint = get(&process, "tok-v", "/api/v1/endpoints").await["items"][0].clone();
    let path = format!("/api/v1/endpoints/{}/pause", endpoint["id"].as_str().unwrap());
    let (session, other) = (sign_in(&process, "tok-o").await, sign_in(&process, "tok-e").await);
    let csrf = async |session: &str| {
        let me = process.ask(Ask::get("/api/v1/me").header("cookie", session)).await.json();
        me["csrf"].as_str().unwrap().to_owned()
    };
    let (own, of_other) = (csrf(&session).await, csrf(&other).await);
    let ask = || Ask::post(&path, &json!({})).header("cookie", &session);
    for refused in [
        ask(),
        ask().header("x-csrf-token", ""),
        ask().header("x-csrf-token", &of_other),
        ask().header("x-csrf-token", &own).header("sec-fetch-site", "cross-site"),
        ask().header("x-csrf-token", &own).header("sec-fetch-site", "same-site"),
        ask().header("x-csrf-token", &own).header("origin", "https://evil.example"),
        ask().header("x-csrf-token", &own).header("origin", "null"),
        // A form of a stranger's page.
        Ask::form(&path, &[("reason", "x")]).header("cookie", &session),
        Ask::new("POST", &path).header("cookie", &session).header("content-type", "text/plain").body("{}"),
    ] {
        let answer = process.ask(refused).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (403, "foreign-origin"), "{answer:?}");
    }
    assert_eq!(app.rows("webhook_endpoints WHERE paused_at IS NOT NULL").await, 0);
    let origin = format!("http://{}", process.http());
    let good = ask().header("x-csrf-token", &own).header("sec-fetch-site", "same-origin");
    let answer = process.ask(good.header("origin", &origin)).await;
    assert_eq!((answer.status, &answer.json()["pausedBy"]), (200, &json!("otto")));

    let out = process.ask(Ask::form("/sign-out", &[]).header("cookie", &session)).await;
    assert_eq!(out.status, 403);
    let out = process.ask(Ask::form("/sign-out", &[("csrf", &own)]).header("cookie", &session)).await;
    assert_eq!((out.status, out.header("location")), (303, Some("/sign-in")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[apply(test)]
async fn foreign_hosts_and_origins_are_refused(app: &TestApp) {
    app.set("http.hosts", "relay.example.com");
    let process = served(app).await;
    let ask = || Ask::get("/api/v1/me").token("tok-v");
    for host in ["evil.example", "127.0.0.1.nip.io", "relay.example.com.evil.example"] {
        let answer = process.ask(ask().header("host", host)).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (421, "unknown-host"), "{host}");
        assert!(answer.text().contains("http.hosts"));
        let page = process.ask(Ask::get("/sign-in").header("host", host)).await;
        assert_eq!(page.status, 421);
        // An orchestrator asks under any name.
        assert_eq!(process.ask(Ask::get("/healthz").header("host", host)).await.status, 200);
    }
    for host in ["relay.example.com", "RELAY.example.com:8443", "localhost", "[::1]:80"] {
        assert_eq!(process.ask(ask().header("host", host)).await.status, 200, "{host}");
    }
    for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
        let answer = process.ask(ask().header("origin", origin)).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (403, "foreign-origin"), "{origin}");
    }
    let proxied = ask().header("host", "relay.example.com").header("origin", "https://relay.example.com");
    assert_eq!(process.ask(proxied).await.status, 200);
}

#[apply(test)]
async fn responses_tell_browsers_to_be_strict(app: &TestApp) {
    let process = served(app).await;
    let asks = [
        Ask::get("/sign-in"),
        Ask::get("/api/v1/me").token("tok-v"),
        Ask::get("/nowhere"),
        Ask::get("/api/v1/me"),
    ];
    for ask in asks {
        let answer = process.ask(ask).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let problem = process.ask(Ask::get("/api/v1/me").header("accept", "text/html")).await;
    assert_eq!((problem.status, kind(&problem).as_str()), (401, "unauthenticated"));
    let unknown = process.ask(Ask::get("/nowhere").header("accept", "text/html")).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.header("content-type").unwrap().starts_with("text/html"), "{unknown:?}");
    let problem = post(&process, "tok-v", "/api/v1/me", &json!({})).await;
    assert_eq!((problem.status, kind(&problem).as_str()), (405, "method-not-allowed"));
}

#[apply(test)]
async fn dev_link_signs_in_once(app: &TestApp) {
    // `dev` itself needs private services, so its parts are tested: this one refuses every code that was not given out.
    let process = served(app).await;
    for code in ["x", "", "tok-a", "..%2f"] {
        let answer = process.ask(Ask::get(&format!("/sign-in/once/{code}"))).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (404, None), "{code}");
    }
}
