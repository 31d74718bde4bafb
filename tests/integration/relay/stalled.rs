//! A quorum queue that has lost its majority: it confirms nothing, and the broker stops reading from connections with many
//! messages for it.

use std::collections::BTreeSet;

use contact_relay::{
    dev::services::{Action, Service::Rabbitmq},
    postgres::effects::events,
};
use macro_rules_attribute::apply;
use uuid::Uuid;

use super::{put_back, retry_now};
use crate::{
    effects::event,
    support::{alone, app::TestApp, event::Event, eventually},
};

/// How many events nobody hears twice but a few.
const COUNT: usize = 3_000;

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
async fn queue_without_a_majority_holds_up_no_others(app: &TestApp) {
    app.set("amqp.publish_timeout", "4s");
    app.set("outbox.retry_interval", "1h");
    app.broker.subscribe_quorum("stalled", "contact.upserted.#").await;
    app.control(Action::Stall, Rabbitmq).await;
    let process = app.run(&[]).await;
    let mut transaction = app.pool.begin().await.unwrap();
    for _ in 0..COUNT {
        events::insert(&mut transaction, Uuid::now_v7(), None, vec![event("contact.upserted.created")])
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    assert!(hear_distinct(app, COUNT).await <= 500);
    // So does what workers commit.
    let url = app.receiver.url("/ok");
    let leads = (0..300).map(|n| Event::lead("Ada").email(&format!("ada-{n}@x.example")).webhook(&url));
    app.broker.publish_all(&leads.collect::<Vec<_>>()).await;
    app.wait_for_deliveries("delivered", 300).await;
    assert!(hear_distinct(app, COUNT + 300).await <= 500);
    let all = i64::try_from(COUNT + 300).unwrap();
    eventually("all are put back", async || (put_back(app).await == all).then_some(())).await;
    process.ready().await;
    // Once it has its majority again, it gets its copies.
    app.control(Action::Unstall, Rabbitmq).await;
    retry_now(app).await;
    assert!(!process.log().contains("reconnects"), "{}", process.log());
    app.broker.delete("stalled").await;
}
