//! `endpoint test`: sends one test event at once and tells what came of it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    super::{
        delivery::{attempt_json, attempt_text, body_text},
        exit::{Exit, Usage},
        output::{self, bytes, printable},
    },
    One,
};
use crate::{
    domain::webhook::attempt::Class,
    operator::endpoints::{self, ResolveError},
    postgres::{Database, deliveries::Attempt},
    settings::Settings,
    workers::webhook::endpoint_test::{self, EndpointTest},
};

pub(super) const HELP: &str = "\
Sends a signed contact-relay.test event (a message in Slack's form to a Slack webhook) with the settings of the
endpoint: timeout, secrets, TLS, egress rules. It asks neither pause nor breaker, and records nothing. A URL that is
no endpoint yet can be tested as well. Exits 0 on 2xx, else 1.

Example: contact-relay endpoint test https://hooks.example/sales --company acme";

pub(super) async fn run(database: &Database, args: &One, settings: &Settings) -> anyhow::Result<Exit> {
    let (company, url) = target(database, args).await?;
    if url.contains('$') {
        let text = "this address has variables; give a whole one, such as https://hooks.example/contacts/1";
        return Err(Usage(text.to_owned()).into());
    }
    let test = endpoint_test::run(settings, &company, &url).await?;
    let attempt = recorded(&test);
    output::object(args.output.format, &as_json(&test, &attempt), |_| as_text(&test, &attempt))?;
    Ok(if test.outcome.class == Class::Delivered { Exit::Done } else { Exit::Failed })
}

/// Company and URL of the endpoint that is meant; or the URL as given, where no endpoint has it.
async fn target(database: &Database, args: &One) -> anyhow::Result<(String, String)> {
    let company = args.company.clone();
    match endpoints::resolve(database, company.as_deref(), &args.endpoint).await {
        Ok(key) => {
            let endpoint = endpoints::get(database, &key).await?;
            Ok((endpoint.company, endpoint.url))
        }
        // What the settings say for one company only is not meant then.
        Err(ResolveError::Unknown) if args.endpoint.contains("://") => {
            Ok((company.unwrap_or_default(), args.endpoint.clone()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The test as if it had been recorded.
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
    let mut request = Map::new();
    request.insert("method".to_owned(), test.request.method.name().into());
    request.insert("url".to_owned(), test.request.url.clone().into());
    request.insert("headers".to_owned(), json!(test.request.headers));
    request.extend(test.request.body.as_deref().map(|body| bytes("body", body)));
    json!({ "request": request, "attempt": attempt_json(attempt) })
}

fn as_text(test: &EndpointTest, attempt: &Attempt) -> String {
    let request = &test.request;
    let mut text = vec![printable(&format!("{} {}", request.method.name(), request.url))];
    text.extend(request.headers.iter().map(|(name, value)| printable(&format!("{name}: {value}"))));
    text.push(String::new());
    text.extend(body_text(request.body.as_deref().unwrap_or_default(), usize::MAX));
    text.push(String::new());
    text.extend(attempt_text(attempt));
    text.join("\n")
}
