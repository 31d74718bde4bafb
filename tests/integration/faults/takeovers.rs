//! Two processes take over from one that was killed, at the same time. Each thing is taken by one of them.

use macro_rules_attribute::apply;

use super::{all_done, impatient, leads_to};
use crate::support::{app::TestApp, event::Event, gate::Gate, process::Process, test};

/// Kills the process beside two others, and holds these up until both have taken some of these rows, but not committed that.
async fn replaced_by_two(app: &TestApp, victim: &Process, table: &str, rows: &str) {
    app.set("postgres.statement_timeout", "1m");
    let taken = format!("OLD.owner IS NULL AND NEW.owner IS NOT NULL AND {rows}");
    let gate = Gate::before_write(app, &format!("UPDATE ON {table}"), &taken).await;
    let successors = [app.run(&[]).await, app.run(&[]).await];
    victim.kill9().await;
    gate.is_reached_by(2).await;
    gate.open().await;
    for successor in successors {
        successor.ready().await;
    }
}

/// Neither can take all batches at once. Each is one request, in flight when its process was killed.
#[apply(test)]
async fn two_successors_take_each_batch_once(app: &TestApp) {
    const COUNT: usize = 150;
    impatient(app);
    app.set("webhook.timeout", "1m");
    app.set("webhook.max_in_flight", "512");
    app.set("upsert.batch_size", "1");
    let victim = app.run(&[]).await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..COUNT)).await;
    app.webhooks(COUNT).await;
    app.wait_for_rows("effects WHERE kind = 'send' AND owner IS NOT NULL", COUNT.try_into().unwrap()).await;
    replaced_by_two(app, &victim, "effects", "NEW.kind = 'send'").await;
    app.webhooks(2 * COUNT).await;
    app.receiver.release();
    all_done(app, COUNT).await;
    assert_eq!(app.receiver.requests().len(), 2 * COUNT, "each by its first owner and one of the others");
}

/// Neither can claim all lanes at once. Each has one request, in flight when its owner was killed.
#[apply(test)]
async fn two_successors_claim_each_lane_once(app: &TestApp) {
    const COUNT: usize = 100;
    impatient(app);
    app.set("webhook.timeout", "1m");
    let urls: Vec<String> = (0..COUNT).map(|n| app.receiver.url(&format!("/held/{n}"))).collect();
    let rule = |url: &String| format!(r#"{{ url = "{url}", rate = "1000/s" }}"#);
    app.set("webhook.endpoints", &format!("[{}]", urls.iter().map(rule).collect::<Vec<_>>().join(", ")));
    let victim = app.run(&[]).await;
    let lead =
        |(n, url): (usize, &String)| Event::lead("Ada").email(&format!("lead-{n}@load.example")).webhook(url);
    app.broker.publish_all(&urls.iter().enumerate().map(lead).collect::<Vec<_>>()).await;
    app.webhooks(COUNT).await;
    replaced_by_two(app, &victim, "webhook_endpoints", "true").await;
    app.webhooks(2 * COUNT).await;
    app.receiver.release();
    all_done(app, COUNT).await;
    assert_eq!(app.receiver.requests().len(), 2 * COUNT, "each by its first owner and one of the others");
}
