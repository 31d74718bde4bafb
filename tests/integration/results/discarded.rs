//! Chains that waited for deliveries that an operator gives up.

use macro_rules_attribute::apply;

use super::{each, hear, id_of, interpreted, lead, result_of, results, statuses};
use crate::support::{app::TestApp, event::Event, test};

async fn succeed(app: &TestApp, command: &[&str]) {
    let ended = app.cli(command).await;
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
}

/// A delivery counts for its chain once: not again when it is resent, and sent after all.
#[apply(test)]
async fn chain_ends_when_the_last_webhook_that_it_waits_for_is_discarded(app: &TestApp) {
    app.run(&[]).await;
    let [ok, one, other] = ["/ok", "/one", "/other"].map(|path| app.receiver.url(path));
    for url in [&one, &other] {
        app.broker.publish(&Event::lead("Bob").email("bob@x.example").webhook(url)).await;
    }
    app.wait_for_deliveries("delivered", 2).await;
    for url in [&one, &other] {
        succeed(app, &["endpoint", "pause", url]).await;
    }
    let event = interpreted(lead().webhook(&ok).webhook(&one).webhook(&other));
    app.broker.publish(&event).await;
    app.wait_for_rows("chain_results WHERE waiting = 2", 1).await;
    app.wait_for_deliveries("pending", 2).await;
    succeed(app, &["delivery", "discard", "--endpoint", &one, "--yes"]).await;
    assert_eq!(
        (app.deliveries("discarded").await, app.rows("chain_results WHERE waiting = 1").await),
        (1, 1)
    );
    app.wait_for_unpublished(0).await;
    assert!(results(app).await.is_empty(), "the other one waits");
    succeed(app, &["delivery", "discard", "--endpoint", &other, "--yes"]).await;
    let result = result_of(app, &event).await;
    assert_eq!(result.at("/id").as_str(), Some(id_of(&event).to_string().as_str()));
    assert_eq!(statuses(&result), ["succeeded", "succeeded", "failed", "failed"]);
    let classes: Vec<_> = each(&result, "error").into_iter().map(|error| error["class"].clone()).collect();
    assert_eq!(classes[2..], ["discarded", "discarded"]);
    assert_eq!(result.at("/data/steps/3/error/message"), "the webhook was discarded before it was sent");
    assert_eq!((app.rows("chain_results").await, app.rows("webhook_deliveries WHERE awaited").await), (0, 0));
    for url in [&one, &other] {
        succeed(app, &["endpoint", "resume", url]).await;
    }
    succeed(app, &["delivery", "resend", "--state", "discarded", "--yes"]).await;
    app.wait_for_deliveries("delivered", 5).await;
    app.assert_settled().await;
    assert_eq!(results(app).await.len(), 1);
}

/// An attempt that failed is in the result, as if its delivery had become a dead letter.
#[apply(test)]
async fn result_has_the_last_attempt_of_a_discarded_webhook(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let event = interpreted(lead().webhook(&app.receiver.url("/status/503")));
    app.broker.publish(&event).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 1).await;
    succeed(app, &["delivery", "discard", "--company", "acme", "--yes"]).await;
    let result = hear(app, 1).await.remove(0);
    assert_eq!(statuses(&result), ["succeeded", "failed"]);
    assert_eq!(result.at("/data/steps/1/httpStatus"), 503);
    assert_eq!(result.at("/data/steps/1/error/class"), "http_status");
}
