//! Endpoints whose rows another session keeps locked: everything else goes on.

use macro_rules_attribute::apply;
use sqlx::Executor as _;

use crate::support::{app::TestApp, event::Event, eventually, test};

fn people(count: usize, company: &str, url: &str) -> Vec<Event> {
    let email = |n: usize| format!("{company}-{n}@x.example");
    (0..count).map(|n| Event::lead("Grace").company(company).email(&email(n)).webhook(url)).collect()
}

/// An endpoint with a retry that is due. No process sends anything else to it, and none can claim it while its row is locked.
async fn with_due_retry(app: &TestApp, url: &str) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(url)).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 1).await;
    app.wait_for_unsent(0).await;
    app.stop().await;
    let due = "UPDATE webhook_pending SET due_at = now(); UPDATE webhook_endpoints SET next_due_at = now()";
    app.pool.execute(due).await.unwrap();
}

const LOCK: &str = "SELECT FROM webhook_endpoints WHERE url LIKE '%/flaky/1' FOR UPDATE";

/// They cannot get a row, and are more than may wait for one.
#[apply(test)]
async fn flood_for_a_locked_endpoint_stops_no_other_company(app: &TestApp) {
    let locked = app.receiver.url("/flaky/1");
    with_due_retry(app, &locked).await;
    let mut lock = app.pool.begin().await.unwrap();
    assert_eq!(lock.execute(LOCK).await.unwrap().rows_affected(), 1);
    let process = app.run(&[]).await;
    app.broker.publish_all(&people(2_100, "acme", &locked)).await;
    app.wait_for_rows("contacts", 2_101).await;
    app.broker.publish_all(&people(10, "globex", &app.receiver.url("/ok"))).await;
    app.wait_for_rows("webhook_deliveries WHERE company_id = 'globex' AND state = 'delivered'", 10).await;
    assert_eq!(app.receiver.requests().len(), 11, "{}", process.log());
    lock.rollback().await.unwrap();
    app.wait_for_deliveries("delivered", 2_111).await;
    app.wait_for_unsent(0).await;
    process.ready().await;
    assert_eq!(app.receiver.requests().len(), 2_112, "nothing is sent twice");
}

/// One transaction has a request for each of them, so they are in one batch.
#[apply(test)]
async fn locked_endpoint_stops_no_other_of_its_company(app: &TestApp) {
    let (locked, free) = (app.receiver.url("/flaky/1"), app.receiver.url("/ok"));
    with_due_retry(app, &locked).await;
    let mut lock = app.pool.begin().await.unwrap();
    assert_eq!(lock.execute(LOCK).await.unwrap().rows_affected(), 1);
    let process = app.run(&[]).await;
    let both = |count| people(count, "acme", &locked).into_iter().map(|event| event.webhook(&free));
    app.broker.publish_all(&both(1).collect::<Vec<_>>()).await;
    eventually("its requests are refused", async || process.log().contains("could not record").then_some(()))
        .await;
    app.broker.publish_all(&both(20).collect::<Vec<_>>()).await;
    app.wait_for_deliveries("delivered", 21).await;
    assert_eq!(app.receiver.requests().len(), 22);
    lock.rollback().await.unwrap();
    app.wait_for_deliveries("delivered", 43).await;
    app.wait_for_unsent(0).await;
    assert_eq!(app.receiver.requests().len(), 44, "nothing is sent twice");
}
