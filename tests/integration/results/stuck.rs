//! Answers beside queues that take nothing.

use macro_rules_attribute::apply;

use super::{
    asked::{Asker, body},
    hear, id_of, lead,
};
use crate::support::{app::TestApp, eventually, proxy::Proxy, test};

/// One subscriber of all results is full, and another one does not confirm.
#[apply(test)]
async fn subscriber_that_takes_no_result_keeps_no_answer_back(app: &TestApp) {
    let url = app.setting("amqp.url");
    let proxy = Proxy::before(&url).await;
    app.set("amqp.url", proxy.url());
    app.set("amqp.publish_timeout", "2s");
    app.set("outbox.retry_interval", "1h");
    app.broker.subscribe_one("one-place", "trigger.completed", "reject-publish").await;
    proxy.withhold_confirms_of("trigger.completed");
    app.run(&[]).await;
    let mut asker = Asker::new(app, false).await;
    let events = [lead(), lead(), lead()];
    for event in &events {
        asker.ask(event, None).await;
        assert_eq!(body(&asker.answer().await)["id"], id_of(event).to_string());
    }
    let postponed = async || (app.rows("effects WHERE postponed").await == 3).then_some(());
    eventually("the results wait", postponed).await;
    app.broker.delete("one-place").await;
    proxy.let_confirms_pass();
    sqlx::query("UPDATE effects SET due_at = now()").execute(&app.pool).await.unwrap();
    app.wait_for_unpublished(0).await;
    hear(app, 6).await;
    // They are not answered again.
    let last = lead();
    asker.ask(&last, None).await;
    assert_eq!(body(&asker.answer().await)["id"], id_of(&last).to_string());
    app.set("amqp.url", &url);
}

/// All events wait before the service starts, so their answers are due together.
#[apply(test)]
async fn reply_queue_that_confirms_nothing_drops_only_its_own_answers(app: &TestApp) {
    const EACH: usize = 20;
    let url = app.setting("amqp.url");
    let proxy = Proxy::before(&url).await;
    app.broker.declare().await;
    let (mut stuck, mut asker) = (Asker::new(app, false).await, Asker::new(app, false).await);
    proxy.withhold_confirms_of(Box::leak(stuck.queue.clone().into_boxed_str()));
    let mut missing = Vec::new();
    for _ in 0..EACH {
        stuck.ask(&lead(), None).await;
        let event = lead();
        asker.ask(&event, None).await;
        missing.push(id_of(&event).to_string());
    }
    app.set("amqp.url", proxy.url());
    let service = app.run(&[]).await;
    for id in missing {
        assert_eq!(body(&asker.answer().await)["id"], id);
    }
    // Until a connection is replaced, and beyond.
    stuck.answer().await;
    let dropped = || {
        let log = service.log();
        let counts = log.lines().filter_map(|line| {
            line.split_once(": dropped ")
                .or_else(|| line.split_once(" dropped "))?
                .1
                .split(' ')
                .next()?
                .parse::<usize>()
                .ok()
        });
        counts.sum::<usize>()
    };
    eventually("its answers are dropped", async || (dropped() >= EACH).then_some(())).await;
    assert_eq!(dropped(), EACH, "{}", service.log());
    let event = lead();
    asker.ask(&event, None).await;
    assert_eq!(body(&asker.answer().await)["id"], id_of(&event).to_string());
    app.wait_for_unpublished(0).await;
    app.set("amqp.url", &url);
}
