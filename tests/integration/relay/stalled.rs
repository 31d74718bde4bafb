//! A quorum queue that has lost its majority: it confirms nothing, and the broker stops reading from connections with
//! messages for it.

use std::collections::BTreeSet;

use contact_relay::{
    dev::services::{Action, Service::Rabbitmq},
    postgres::effects::events,
};
use macro_rules_attribute::apply;
use uuid::Uuid;

use super::put_back;
use crate::{
    effects::event,
    support::{alone, app::TestApp, event::Event, eventually},
};

const COUNT: usize = 1_000;

/// Waits until so many events are heard, and returns how many were heard again.
async fn hear_distinct(app: &TestApp, count: usize) -> usize {
    eventually(&format!("{count} events are heard"), async || {
        let heard = app.broker.heard().await;
        let ids: BTreeSet<_> = heard.iter().map(|heard| heard.at("/id").to_string()).collect();
        (ids.len() >= count).then_some(heard.len() - ids.len())
    })
    .await
}

#[apply(alone)]
async fn queue_without_a_majority_costs_few_duplicates_and_loses_nothing(app: &TestApp) {
    app.set("amqp.publish_timeout", "2s");
    app.set("outbox.retry_interval", "1h");
    app.broker.subscribe_quorum("stalled", "contact.upserted.#").await;
    app.control(Action::Stall, Rabbitmq).await;
    app.run(&[]).await;
    let mut transaction = app.pool.begin().await.unwrap();
    for _ in 0..COUNT {
        events::insert(&mut transaction, Uuid::now_v7(), None, vec![event("contact.upserted.created")])
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    let all = i64::try_from(COUNT).unwrap();
    eventually("all wait", async || (put_back(app).await == all).then_some(())).await;
    // Workers go on meanwhile.
    let people = (0..50).map(|n| Event::lead("Ada").email(&format!("ada-{n}@x.example")));
    app.broker.publish_all(&people.collect::<Vec<_>>()).await;
    app.wait_for_rows("contacts", 50).await;
    // Once it has its majority again, everybody gets everything, and what was heard before at most once more; what the first
    // silent connection had, twice more.
    app.control(Action::Unstall, Rabbitmq).await;
    eventually("nothing waits", async || {
        sqlx::query("UPDATE effects SET due_at = now() WHERE owner IS NULL")
            .execute(&app.pool)
            .await
            .unwrap();
        (app.unpublished().await == 0).then_some(())
    })
    .await;
    assert!(hear_distinct(app, COUNT + 50).await <= 2 * COUNT + 50);
    app.broker.delete("stalled").await;
}
