//! `delivery discard`: what waits is given up, once, and can be resent.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::assert_failed;
use crate::support::{app::TestApp, event::Event, only, test};

fn leads(url: &str, count: usize) -> Vec<Event> {
    let lead = |n: usize| Event::lead("Ada").email(&format!("ada{n}@x.example")).webhook(url);
    (0..count).map(|n| lead(n).with("/data/trigger/interpretResponse", true.into())).collect()
}

/// The service with so many deliveries behind an endpoint that answered 410 once. It would take them now.
async fn behind_a_gone_endpoint(app: &TestApp, count: usize) -> String {
    app.run(&[]).await;
    let url = app.receiver.url("/status/410/1");
    app.broker.publish(&Event::lead("Bob").email("bob@x.example").webhook(&url)).await;
    app.wait_for_rows("webhook_endpoints WHERE disabled_at IS NOT NULL", 1).await;
    app.the_dead_letter("that of a gone endpoint", |dead| dead.reason == "webhook_rejected").await;
    app.broker.publish_all(&leads(&url, count)).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 0", i64::try_from(count).unwrap()).await;
    // Its owner has noticed that it is closed.
    app.wait_for_rows("webhook_endpoints WHERE owner IS NULL", 1).await;
    url
}

async fn results(app: &TestApp) -> usize {
    let heard = app.broker.heard().await;
    heard.iter().filter(|heard| heard.routing_key == "trigger.completed").count()
}

async fn listed(app: &TestApp, state: &str) -> Vec<Value> {
    app.json(&["delivery", "list", "--state", state]).await.as_array().unwrap().clone()
}

fn id(delivery: &Value) -> &str {
    delivery["id"].as_str().unwrap()
}

#[apply(test)]
async fn what_waits_for_a_gone_endpoint_is_given_up(app: &TestApp) {
    let url = behind_a_gone_endpoint(app, 4).await;
    let discard = ["delivery", "discard", "--endpoint", url.as_str()];
    let dry = app.json(&[&discard[..], &["--dry-run"]].concat()).await;
    assert_eq!((&dry["count"], dry["sample"].as_array().unwrap().len()), (&json!(4), 4));
    assert_eq!((app.rows("operations").await, app.rows("webhook_pending").await), (0, 4));
    let unconfirmed = app.cli(&discard).await;
    assert_failed(&unconfirmed, 2, "--yes is required");
    let who = ["--yes", "--operator", "ada", "--because", "the receiver is gone"];
    let discarded = app.json(&[&discard[..], &who].concat()).await;
    assert_eq!(discarded, json!({"discarded": 4, "skipped": 0, "reasons": {}}));
    assert_eq!((app.deliveries("discarded").await, app.rows("webhook_pending").await), (4, 0));
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'discarded' AND finished_at IS NOT NULL").await, 4);
    let audited =
        "audit_log WHERE action = 'delivery.discard' AND operator = 'ada' AND reason = 'the receiver is gone'
        AND before = '{\"state\": \"pending\"}' AND after = '{\"state\": \"discarded\"}'";
    assert_eq!(app.rows(audited).await, 4);
    app.wait_for_unpublished(0).await;
    app.wait_for_rows("chain_results", 0).await;
    // Enabled, it has nothing to send, and the alert ends.
    app.json(&["endpoint", "enable", &url]).await;
    let again = app.json(&[&discard[..], &["--yes"]].concat()).await;
    assert_eq!(again, json!({"discarded": 0, "skipped": 0, "reasons": {}}));
    assert_eq!(app.rows("webhook_endpoints WHERE disabled_at IS NOT NULL").await, 0);
    assert_eq!(app.receiver.requests().len(), 1);
    assert_eq!(app.cli(&["verify"]).await.code, Some(0));
    // It undoes the discard.
    let resent = app.json(&["delivery", "resend", "--state", "discarded", "--yes"]).await;
    assert_eq!(resent["resent"], 4);
    app.wait_for_deliveries("delivered", 4).await;
    app.assert_settled().await;
    assert_eq!(results(app).await, 4);
}

/// It failed, was replayed, and waits again.
#[apply(test)]
async fn dead_letter_of_a_discarded_delivery_is_discarded(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/flaky/3");
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&url)).await;
    app.wait_for_deliveries("dead", 1).await;
    app.json(&["endpoint", "pause", &url]).await;
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    app.the_dead_letter("replaying", |dead| dead.state == "replaying").await;
    app.wait_for_rows("webhook_endpoints WHERE owner IS NULL", 1).await;
    app.json(&["delivery", "discard", "--company", "acme", "--yes", "--operator", "grace"]).await;
    assert_eq!(app.rows("dead_letters WHERE state = 'discarded' AND settled_by = 'grace'").await, 1);
    assert_eq!(recorded(app, "discard", "grace", ("replaying", "discarded")).await, 1);
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'discarded' AND attempts = 3").await, 1);
    assert_eq!(app.cli(&["verify"]).await.code, Some(0));
    app.json(&["delivery", "resend", "--state", "discarded", "--yes", "--operator", "ada"]).await;
    let again = app.the_dead_letter("replaying again", |dead| dead.state == "replaying").await;
    assert_eq!(recorded(app, "replay", "ada", ("discarded", "replaying")).await, 1);
    // Its own record does not end before its state.
    let shown = app.json(&["dead-letter", "show", &again.id.to_string()]).await;
    assert_eq!(shown["changes"].as_array().unwrap().len(), 3, "{shown}");
    app.json(&["endpoint", "resume", &url]).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
}

/// The records of a dead letter whose state was changed so by this operator.
async fn recorded(app: &TestApp, verb: &str, operator: &str, (before, after): (&str, &str)) -> i64 {
    let records = format!(
        "audit_log JOIN dead_letters ON object = dead_letter_id::text AND audit_log.company_id = dead_letters.company_id
         WHERE action = 'dead_letter.{verb}' AND operator = '{operator}' AND before = '{{\"state\": \"{before}\"}}'
           AND after = '{{\"state\": \"{after}\"}}'"
    );
    app.rows(&records).await
}

#[apply(test)]
async fn discard_leaves_alone_what_does_not_wait(app: &TestApp) {
    app.run(&[]).await;
    let [held, ok, paused] = ["/held", "/ok", "/paused"].map(|path| app.receiver.url(path));
    app.broker.publish(&Event::lead("Bob").email("bob@x.example").webhook(&paused)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.json(&["endpoint", "pause", &paused]).await;
    app.broker
        .publish(&Event::lead("Ada").email("ada@x.example").webhook(&held).webhook(&ok).webhook(&paused))
        .await;
    app.wait_for_deliveries("delivered", 2).await;
    app.webhooks(3).await;
    app.wait_for_rows("webhook_pending", 1).await;
    app.wait_for_rows("webhook_endpoints WHERE paused_at IS NOT NULL AND owner IS NULL", 1).await;
    let (flying, waiting): (Vec<Value>, Vec<Value>) =
        listed(app, "pending").await.into_iter().partition(|one| one["waitsFor"] == "in_flight");
    let (flying, waiting) = (only(flying), only(waiting));
    let delivered = listed(app, "delivered").await.remove(0);
    let ids = [id(&flying), id(&waiting), id(&delivered)];
    let ended = app.cli(&[&["delivery", "discard"], &ids[..], &["--yes", "-o", "json"]].concat()).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    let reasons = json!({"in_flight": 1, "wrong_state": 1});
    assert_eq!(printed, json!({"discarded": 1, "skipped": 2, "reasons": reasons}));
    app.receiver.release();
    app.wait_for_deliveries("delivered", 3).await;
    assert_eq!(app.deliveries("discarded").await, 1);
    assert_eq!(app.cli(&["verify"]).await.code, Some(0));
}

/// Its deliveries are discarded once: by the process that dies, or by the one that goes on.
#[apply(test)]
async fn discard_survives_a_crash(app: &TestApp) {
    let url = behind_a_gone_endpoint(app, 40).await;
    app.stop().await;
    let command = app.spawn(&["delivery", "discard", "--endpoint", &url, "--yes", "--rate", "20"]);
    app.wait_for_rows("operations WHERE done >= 2", 1).await;
    command.kill9().await;
    command.ended().await;
    assert!(app.deliveries("discarded").await < 40);
    // As time does it.
    sqlx::query("UPDATE operations SET owner_until = 'epoch'").execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.wait_for_rows("operations WHERE state = 'done' AND done = 40 AND total = 40", 1).await;
    assert_eq!((app.deliveries("discarded").await, app.rows("webhook_pending").await), (40, 0));
    assert_eq!(app.rows("audit_log WHERE action = 'delivery.discard'").await, 40);
    app.assert_settled().await;
    assert_eq!((results(app).await, app.receiver.requests().len()), (40, 1));
}

/// A receiver that many companies share may be gone for one of them only.
#[apply(test)]
async fn address_of_several_companies_needs_the_company(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/ok");
    for company in ["acme", "other"] {
        app.broker.publish(&Event::lead("Bob").email("bob@x.example").webhook(&url).company(company)).await;
    }
    app.wait_for_deliveries("delivered", 2).await;
    for company in ["acme", "other"] {
        app.json(&["endpoint", "pause", &url, "--company", company]).await;
        app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&url).company(company)).await;
    }
    app.wait_for_rows("webhook_pending", 2).await;
    app.wait_for_rows("webhook_endpoints WHERE owner IS NULL", 2).await;
    let discard = ["delivery", "discard", "--endpoint", url.as_str(), "--yes"];
    assert_failed(&app.cli(&discard).await, 1, "matches several endpoints");
    assert_eq!((app.rows("operations").await, app.rows("webhook_pending").await), (0, 2));
    let one = app.json(&[&discard[..], &["--company", "acme"]].concat()).await;
    assert_eq!(one["discarded"], 1);
    assert_eq!(app.rows("webhook_pending WHERE company_id = 'other'").await, 1);
}

#[apply(test)]
async fn discard_refuses_ambiguous_arguments(app: &TestApp) {
    app.run(&[]).await;
    let id = "4e4f86f0-3309-8c1e-9a55-3f6f1f0c2b12";
    for arguments in [
        &["--yes"][..],
        &["--yes", "--limit", "5"],
        &["--yes", "--state", "dead"],
        &["--yes", "--state", "pending", "--state", "delivered"],
        &["--yes", id, "--state", "pending"],
        &["--yes", "--canary", "--company", "acme"],
        &["--company", "acme"],
    ] {
        let refused = app.cli(&[&["delivery", "discard"], arguments].concat()).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.stderr);
    }
    assert_failed(&app.cli(&["delivery", "discard", id, "--yes"]).await, 1, "there is no delivery");
    assert_eq!(app.rows("operations").await, 0);
}
