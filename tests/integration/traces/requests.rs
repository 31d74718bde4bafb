//! Spans of requests to the API and the console.

use macro_rules_attribute::apply;

use super::{PARENT, TRACE, collector::Collector};
use crate::support::{app::TestApp, http::Ask, process::Process, test};

const TOKEN: &str = "tok-v";

async fn served(app: &TestApp) -> Process {
    app.set("http.tokens", "vera:viewer:tok-v");
    app.run(&["console"]).await
}

#[apply(test)]
async fn requests_have_a_span_with_method_route_and_status(app: &TestApp) {
    let collector = Collector::start(app).await;
    let process = served(app).await;
    let contact = "/api/v1/companies/acme/contacts/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11?secret=zaphod";
    let asks = [
        (Ask::get("/api/v1/me").token(TOKEN), "GET /api/v1/me", "200"),
        (Ask::get("/api/v1/me"), "GET /api/v1/me", "401"),
        (Ask::get("/contacts?phone=987651234"), "GET /contacts", "303"),
        (Ask::get(contact).token(TOKEN), "GET /api/v1/companies/{company}/contacts/{id}", "404"),
        (Ask::get("/api/v2/zaphod").token(TOKEN), "GET", "404"),
        (Ask::new("ZAPHOD", "/api/v1/me").token(TOKEN), "_OTHER /api/v1/me", "405"),
        (Ask::get("/api/v1/me").token(TOKEN).header("host", "zaphod.example"), "GET /api/v1/me", "421"),
    ];
    for (number, (ask, name, status)) in asks.into_iter().enumerate() {
        let parent = format!("00-{TRACE}-{number:015x}f-01");
        let answer = process.ask(ask.header("traceparent", &parent)).await;
        let span = collector.child(&format!("{number:015x}f")).await;
        assert_eq!((span.name.as_str(), span.trace.as_str()), (name, TRACE), "{span:?}");
        assert_eq!(span.text("http.response.status_code"), status, "{answer:?}");
        assert_eq!(span.text("http.request.method"), name.split(' ').next().unwrap());
        assert_eq!(span.attributes.get("http.route").map(String::as_str), name.split(' ').nth(1));
        let known = ["http.response.status_code", "http.request.method", "http.route"];
        assert!(span.attributes.keys().all(|key| known.contains(&key.as_str())), "{span:?}");
    }
    // Health checks and metrics have none.
    for span in collector.all() {
        assert!(!span.name.contains("ready") && !span.name.contains("metrics"), "{span:?}");
    }
}

#[apply(test)]
async fn requests_are_sampled_by_their_flag_or_the_ratio(app: &TestApp) {
    let collector = Collector::start(app).await;
    app.set("telemetry.sample_ratio", "0");
    let process = served(app).await;
    let me = || Ask::get("/api/v1/me").token(TOKEN);
    process.ask(me()).await;
    process.ask(me().header("traceparent", &format!("00-{TRACE}-{PARENT}-00"))).await;
    process.ask(me().header("traceparent", "zaphod")).await;
    process.ask(me().header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))).await;
    let span = collector.span("GET /api/v1/me").await;
    assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, PARENT));
    app.stop().await;
    assert_eq!(collector.all().len(), 1);
    app.set("telemetry.sample_ratio", "1");
    let process = app.run(&["console"]).await;
    process.ask(me()).await;
    let begun =
        collector.spans("GET /api/v1/me", 2).await.into_iter().find(|span| span.trace != TRACE).unwrap();
    assert_eq!(begun.parent, "");
}
