//! `endpoint test`: sends one test event at once and prints the request and the response.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{
        delivery::{attempt_json, attempt_text, request_json, request_text},
        exit::Exit,
        output,
    },
    Changing,
};
use crate::{
    domain::webhook::attempt::Class,
    operator::endpoints,
    postgres::{Database, attempts::Attempt},
    settings::Settings,
    workers::webhook::endpoint_test::{self, EndpointTest},
};

pub(super) const HELP: &str = "\
Sends a signed contact-relay.test event (to a Slack webhook, a Slack message) with the settings of the endpoint:
timeout, secrets, TLS, egress rules. It ignores pause and breaker, and records no attempt. A URL that is not an endpoint
yet can be tested as well. Exits 0 on 2xx, else 1.

Example: contact-relay endpoint test https://hooks.example/sales --company acme";

pub(super) async fn run(database: &Database, args: &Changing, settings: &Settings) -> anyhow::Result<Exit> {
    let (Changing { one, .. }, actor) = (args, args.who.actor()?);
    let target = endpoints::test_target(database, one.company.as_deref(), &one.endpoint).await?;
    let started_at = endpoints::begin_test(database, &actor, &target).await?;
    let test = endpoint_test::run(settings, &target.company, &target.url, started_at).await?;
    let attempt = recorded(&test);
    output::object(one.output.format, &as_json(&test, &attempt), |_| as_text(&test, &attempt))?;
    Ok(if test.outcome.class == Class::Delivered { Exit::Done } else { Exit::Failed })
}

/// The test as a recorded attempt.
fn recorded(test: &EndpointTest) -> Attempt {
    let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    let outcome = &test.outcome;
    Attempt {
        delivery_id: test.id,
        attempt: 1,
        started_at: test.started_at,
        duration_ms: ms(outcome.duration),
        connect_ms: outcome.timing.connect.map(ms),
        answer_ms: outcome.timing.answer.map(ms),
        class: outcome.class.name().to_owned(),
        status: outcome.status.map(i32::from),
        error: outcome.error.clone(),
        response_body: Some(outcome.response_body.clone()).filter(|body| !body.is_empty()),
    }
}

fn as_json(test: &EndpointTest, attempt: &Attempt) -> Value {
    let sent = &test.request;
    let request = request_json(sent.method.name(), &sent.url, &sent.headers, sent.body.as_deref());
    json!({ "request": request, "attempt": attempt_json(attempt) })
}

fn as_text(test: &EndpointTest, attempt: &Attempt) -> String {
    let sent = &test.request;
    let mut lines = request_text(sent.method.name(), &sent.url, &sent.headers, sent.body.as_deref());
    lines.push(String::new());
    lines.extend(attempt_text(attempt));
    lines.join("\n")
}
