//! Each event has one result, despite redeliveries, kills, replays and discards.

use macro_rules_attribute::apply;
use serde_json::json;

use super::{hear, id_of, interpreted, lead, result_of, results, statuses};
use crate::support::{app::TestApp, event::Event, eventually, only, proxy::Proxy, test};

#[apply(test)]
async fn result_is_published_after_the_last_webhook(app: &TestApp) {
    app.run(&[]).await;
    let [ok, held] = ["/ok", "/held"].map(|path| app.receiver.url(path));
    let events =
        [interpreted(lead().webhook(&ok).webhook(&held)), interpreted(lead().webhook(&held).webhook(&ok))];
    app.broker.publish_all(&events).await;
    app.wait_for_rows("chain_results WHERE waiting = 1", 2).await;
    app.wait_for_unpublished(0).await;
    assert!(results(app).await.is_empty());
    app.receiver.release();
    for event in &events {
        let result = result_of(app, event).await;
        assert_eq!(statuses(&result), ["succeeded"; 3]);
    }
    app.assert_settled().await;
    assert_eq!(results(app).await.len(), 2);
}

/// Two processes, and all webhooks of 100 chains end together.
#[apply(test)]
async fn webhooks_that_end_together_publish_one_result(app: &TestApp) {
    const CHAINS: usize = 100;
    app.set("webhook.concurrency", "120");
    let upserts = app.run(&["upsert"]).await;
    let held = app.receiver.url("/held");
    let event = |n: usize| {
        let event = Event::lead("Ada").email(&format!("ada{n}@x.example"));
        interpreted(event.webhook(&held).webhook(&held))
    };
    let events: Vec<Event> = (0..CHAINS).map(event).collect();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("webhook_deliveries", 2 * i64::try_from(CHAINS).unwrap()).await;
    app.wait_for_unpublished(0).await;
    upserts.sigterm();
    upserts.ended().await;
    // The webhooks of a chain are claimed by different processes.
    let shuffle = "UPDATE webhook_pending SET due_at = now() - random() * interval '1 minute'";
    sqlx::query(shuffle).execute(&app.pool).await.unwrap();
    app.run(&["webhook"]).await;
    app.run(&["webhook"]).await;
    // One process owns the lane, and one host has half of its slots.
    app.webhooks(30).await;
    app.receiver.release();
    let mut ids: Vec<String> =
        hear(app, CHAINS).await.iter().map(|heard| heard.at("/id").to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), CHAINS);
    app.assert_settled().await;
    let heard = results(app).await;
    assert_eq!(heard.len(), CHAINS);
    assert!(heard.iter().all(|result| statuses(result) == ["succeeded"; 3]));
    assert_eq!(app.rows("chain_results").await, 0);
}

#[apply(test)]
async fn redelivery_publishes_no_second_result(app: &TestApp) {
    app.run(&[]).await;
    let events = [interpreted(lead()), interpreted(lead().webhook(&app.receiver.url("/ok")))];
    for _ in 0..2 {
        app.broker.publish_all(&[&events[..], &events].concat()).await;
        hear(app, 2).await;
    }
    app.assert_settled().await;
    assert_eq!(results(app).await.len(), 2);
}

/// The webhook ended, but the process dies before it can publish the result.
#[apply(test)]
async fn result_of_a_killed_process_is_published(app: &TestApp) {
    let upserts = app.run(&["upsert"]).await;
    let direct = app.setting("amqp.url");
    let proxy = Proxy::before(&direct).await;
    app.set("amqp.url", proxy.url());
    let process = app.run(&["webhook"]).await;
    app.set("amqp.url", &direct);
    let event = interpreted(lead().webhook(&app.receiver.url("/held")));
    app.broker.publish(&event).await;
    app.webhooks(1).await;
    app.wait_for_unpublished(0).await;
    upserts.sigterm();
    upserts.ended().await;
    proxy.freeze();
    app.receiver.release();
    app.wait_for_unpublished(1).await;
    process.kill9().await;
    assert!(results(app).await.is_empty());
    app.run(&[]).await;
    let result = only(hear(app, 1).await);
    assert_eq!(result.at("/id"), &json!(id_of(&event)));
    assert_eq!(statuses(&result), ["succeeded"; 2]);
}

async fn replay(app: &TestApp) {
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
}

#[apply(test)]
async fn replay_publishes_no_second_result(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&interpreted(lead().webhook(&app.receiver.url("/flaky/3")))).await;
    assert_eq!(statuses(&only(hear(app, 1).await)), ["succeeded", "failed"]);
    replay(app).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.assert_settled().await;
    assert_eq!(results(app).await.len(), 1);
}

#[apply(test)]
async fn webhook_replayed_meanwhile_counts_once(app: &TestApp) {
    app.run(&[]).await;
    let [flaky, held] = ["/flaky/3", "/held"].map(|path| app.receiver.url(path));
    app.broker.publish(&interpreted(lead().webhook(&flaky).webhook(&held))).await;
    app.wait_for_rows("dead_letters", 1).await;
    replay(app).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_unpublished(0).await;
    assert!(results(app).await.is_empty(), "the other one has not ended");
    app.receiver.release();
    let result = only(hear(app, 1).await);
    assert_eq!(statuses(&result), ["succeeded"; 3], "the state at the end of the chain");
}

/// A webhook ends when it becomes a dead letter. What an operator does with it no longer changes the result.
#[apply(test)]
async fn discard_publishes_no_second_result(app: &TestApp) {
    app.run(&[]).await;
    let [refused, held] = ["/status/400", "/held"].map(|path| app.receiver.url(path));
    let alone = interpreted(lead().webhook(&refused));
    let beside = interpreted(lead().webhook(&refused).webhook(&held));
    app.broker.publish_all(&[alone.clone(), beside.clone()]).await;
    app.wait_for_rows("dead_letters", 2).await;
    assert_eq!(statuses(&result_of(app, &alone).await), ["succeeded", "failed"]);
    let discarded = app.cli(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    assert_eq!(discarded.code, Some(0), "{}", discarded.stderr);
    app.wait_for_deliveries("discarded", 2).await;
    assert_eq!(results(app).await.len(), 1);
    app.receiver.release();
    let result = result_of(app, &beside).await;
    assert_eq!(statuses(&result), ["succeeded", "failed", "succeeded"]);
    assert_eq!(result.at("/data/steps/1/error/class"), "rejected");
    let settled = eventually("no chain waits", async || (app.rows("chain_results").await == 0).then_some(()));
    settled.await;
    assert_eq!(results(app).await.len(), 2);
}

#[apply(test)]
async fn superseded_webhook_ends_its_chain(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let [old, new] = ["Old", "New"].map(|name| interpreted(lead().argument("name", name).webhook(&url)));
    app.broker.publish(&old).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    app.broker.publish(&new).await;
    assert_eq!(statuses(&result_of(app, &new).await), ["succeeded"; 2]);
    assert_eq!(statuses(&result_of(app, &old).await), ["succeeded", "skipped"]);
    assert_eq!(app.rows("chain_results").await, 0);
}
