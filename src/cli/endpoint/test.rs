//! `endpoint test`: sends one test event at once and prints the request and the response.

use super::{
    super::{
        delivery::{attempt_text, request_text},
        exit::Exit,
        output,
    },
    Changing,
};
use crate::{
    domain::webhook::attempt::Class,
    operator::{
        endpoints,
        views::{self, Sight},
    },
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
    let attempt = test.attempt();
    output::object(one.output.format, &views::endpoints::test(&test.request, &attempt, Sight::Full), |_| {
        as_text(&test, &attempt)
    })?;
    Ok(if test.outcome.class == Class::Delivered { Exit::Done } else { Exit::Failed })
}

fn as_text(test: &EndpointTest, attempt: &Attempt) -> String {
    let sent = &test.request;
    let mut lines = request_text(sent.method.name(), &sent.url, &sent.headers, sent.body.as_deref());
    lines.push(String::new());
    lines.extend(attempt_text(attempt));
    lines.join("\n")
}
