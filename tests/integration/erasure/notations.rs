//! Dead letters that name the erased person in notations that the service reads as that person.

use lapin::BasicProperties;
use macro_rules_attribute::apply;

use super::{contact_id, erase};
use crate::support::{app::TestApp, event::Event, test};

/// One address in bytes that are not JSON, so none of them is applied.
const NOTATIONS: [&[u8]; 7] = [
    "{\"a\": \"o.neil＠bücher.example\"".as_bytes(),
    "{\"b\": \"o.neil﹫bücher.example\"".as_bytes(),
    "{\"c\": \"o.neil@bücher。example\"".as_bytes(),
    "{\"d\": \"ｏ．ｎｅｉｌ＠bücher.example\"".as_bytes(),
    "{\"e\": \"o.neil@bÃ¼cher.example\"".as_bytes(),
    b"{\"f\": \"o.neil@b\xfccher.example\"",
    b"o.neil=40b=C3=BCcher.example",
];

async fn publish(app: &TestApp) {
    for body in NOTATIONS {
        app.broker.publish_bytes("trigger.fired", body, BasicProperties::default()).await;
    }
    app.count_becomes("SELECT sum(attempts)::bigint FROM dead_letters", 7).await;
}

#[apply(test)]
async fn dead_letters_lose_the_person_in_every_notation(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Neil").email("o.neil@bücher.example")).await;
    app.broker.hear(1).await;
    publish(app).await;
    let id = contact_id(app, "acme", "o.neil@xn--bcher-kva.example").await;
    assert_eq!(erase(app, &id).await["removed"]["deadLetters"], 7);
    assert_eq!(app.rows("dead_letters").await, 0);
    // Messages that arrive after the erasure.
    publish(app).await;
    for dead in app.dead_letters().await {
        assert!(dead.body.is_empty(), "{dead:?}");
    }
}
