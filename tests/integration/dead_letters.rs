//! Dead letters with a cause other than an invalid message: each has its reason and delays nothing else.

use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, dead_letters::Dead, event::Event, eventually, test};

#[apply(test)]
async fn known_id_with_other_contents_becomes_a_dead_letter(app: &TestApp) {
    app.run(&[]).await;
    let first = Event::lead("Ada").email("ada@analytical.example");
    app.broker.publish(&first).await;
    app.broker.hear(1).await;
    let other = first.clone().argument("name", "Countess of Lovelace");
    let blanks = [b" ".as_slice(), &other.bytes()].concat();
    app.broker.publish_all(&[other.clone(), first.clone(), other.clone()]).await;
    app.broker.publish_bytes("trigger.fired", &blanks, first.properties()).await;
    let dead = app.the_dead_letter("there three times", |dead| dead.attempts == 3).await;
    assert_eq!(dead.reason, "event_id_conflict");
    // They mean the same, and may have come in one batch.
    assert!([&other.bytes(), &blanks].contains(&&dead.body));
    assert_eq!((dead.company.as_str(), dead.event_id.as_deref()), ("acme", Some(first.event_id())));
    assert_eq!(dead.source.as_deref(), Some(first.text("/source")));
    assert_eq!(dead.trigger.as_deref(), Some("register_lead"));
    assert!(!dead.message.contains("Lovelace"), "{}", dead.message);
    assert_eq!(app.rows("contacts WHERE name = 'Ada' AND version = 1").await, 1);
    assert_eq!(app.broker.heard().await.len(), 1);
}

/// The dead letter of the delivery to this URL.
async fn of_url(app: &TestApp, url: &str) -> Option<Dead> {
    let id = sqlx::query_scalar("SELECT delivery_id FROM webhook_deliveries WHERE url = $1");
    let id = id.bind(url).fetch_optional(&app.pool).await.unwrap()?;
    app.dead_letters().await.into_iter().find(|dead| dead.delivery_id == Some(id))
}

#[apply(test)]
async fn each_outcome_has_its_reason_and_attempts(app: &TestApp) {
    app.run(&[]).await;
    let fates = [
        ("/status/404", Some("webhook_rejected"), "404", 1),
        ("/status/400", Some("webhook_rejected"), "400", 1),
        ("/redirect", Some("webhook_rejected"), "redirect", 1),
        ("/status/503", Some("webhook_exhausted"), "503", 3),
        ("/status/429", Some("webhook_exhausted"), "429", 3),
        ("/flaky/2", None, "", 3),
        ("/ok", None, "", 1),
    ];
    let event = Event::lead("Ada").email("ada@analytical.example");
    let event = fates.iter().fold(event, |event, (path, ..)| event.webhook(&app.receiver.url(path)));
    // Nothing listens there.
    let refused = "http://127.0.0.1:1/x";
    app.broker.publish(&event.clone().webhook(refused)).await;
    app.wait_for_rows("webhook_deliveries WHERE state IN ('dead', 'delivered')", 8).await;
    for (path, reason, says, attempts) in fates {
        let came = app.receiver.requests().iter().filter(|request| request.path == path).count();
        assert_eq!(came, attempts, "{path}");
        let dead = of_url(app, &app.receiver.url(path)).await;
        assert_eq!(dead.as_ref().map(|dead| dead.reason.as_str()), reason, "{path}");
        assert!(dead.is_none_or(|dead| of_webhook(&dead, &event, says)), "{path}");
    }
    assert_eq!(app.receiver.requests().iter().filter(|request| request.path == "/redirected").count(), 0);
    let unreachable = of_url(app, refused).await.expect("a dead letter");
    assert_eq!(unreachable.reason, "webhook_exhausted");
    assert!(of_webhook(&unreachable, &event, ""));
    assert_eq!(app.rows("contacts").await, 1);
}

/// Whether a dead letter of the webhook stage names its event and no address.
fn of_webhook(dead: &Dead, event: &Event, says: &str) -> bool {
    let known = (dead.event_id.as_deref(), dead.source.as_deref(), dead.trigger.as_deref());
    let tells_no_address = !["127.0.0.1", "http:", "ada"].iter().any(|part| dead.message.contains(part));
    dead.stage == "webhook"
        && dead.company == "acme"
        && known == (Some(event.event_id()), Some(event.text("/source")), Some("register_lead"))
        && dead.message.contains(says)
        && tells_no_address
        && serde_json::from_slice::<Value>(&dead.body).is_ok()
}

#[apply(test)]
async fn unrenderable_webhooks_become_dead_letters(app: &TestApp) {
    app.run(&[]).await;
    let ok = app.receiver.url("/ok");
    let header = |url: &str, value: &str| json!({"type": "WEBHOOK", "url": url, "headers": [{"key": "X-Name", "value": value}]});
    let url = |url: &str| json!({"type": "WEBHOOK", "url": url});
    let actions = [
        (header(&format!("{ok}?1"), "Zaphod\r\nX-Evil: 1"), "line break"),
        (header(&format!("{ok}?2"), "to $name"), "line break"),
        (header(&format!("{ok}?3"), "$nobody"), "$nobody"),
        (header(&format!("{ok}?4"), "$email \u{7f}"), "control character"),
        (url("Zaphod's place"), "url"),
        (url("ftp://zaphod.example/"), "url"),
        (url("https://$name/"), "url"),
        (url("https://user:Zaphod@a.example/"), "url"),
        (url(&format!("{ok}/$nobody")), "$nobody"),
    ];
    for (action, _) in &actions {
        let event = Event::lead("Zaphod\nX-Evil: 1").email("zaphod@heart.example");
        app.broker.publish(&event.action(action.clone()).webhook(&ok)).await;
    }
    let count = actions.len();
    app.webhooks(count).await;
    app.wait_for_rows("dead_letters", i64::try_from(count).unwrap()).await;
    for (action, says) in &actions {
        let as_written = action["url"].as_str().unwrap();
        let dead = of_url(app, as_written).await.unwrap_or_else(|| panic!("{action} has no dead letter"));
        assert_eq!((dead.reason.as_str(), dead.stage.as_str()), ("webhook_invalid", "webhook"), "{action}");
        assert!(
            dead.message.contains(says) && !dead.message.contains("Zaphod"),
            "{action}: {}",
            dead.message
        );
    }
    // The contact is upserted, and only the valid webhooks are sent.
    assert_eq!(app.rows("contacts").await, 1);
    assert_eq!(app.receiver.requests().len(), count);
}

#[apply(test)]
async fn private_addresses_and_http_are_blocked(app: &TestApp) {
    app.set("webhook.allowed_networks", "");
    app.run(&[]).await;
    let blocked = [
        app.receiver.url("/ok"),
        "https://localhost/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://[::1]/".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://0x7f000001/".to_owned(),
        "https://[::ffff:127.0.0.1]/".to_owned(),
    ];
    let event = Event::lead("Ada").email("ada@analytical.example");
    let event = blocked.iter().fold(event, |event, url| event.webhook(url));
    app.broker.publish(&event).await;
    app.wait_for_dead_letters_because("webhook_blocked", 7).await;
    assert!(app.dead_letters().await.iter().all(|dead| of_webhook(dead, &event, "")));
    app.stop().await;
    // The network is allowed, but TLS is required.
    app.set("webhook.allowed_networks", "127.0.0.0/8");
    app.set("webhook.allow_http", "false");
    app.run(&[]).await;
    app.broker.publish(&Event::bare().webhook(&app.receiver.url("/http"))).await;
    app.wait_for_dead_letters_because("webhook_blocked", 8).await;
    assert_eq!(app.receiver.requests().len(), 0);
}

#[apply(test)]
async fn messages_expired_or_rejected_at_the_broker_are_collected(app: &TestApp) {
    app.broker.declare().await;
    let [expired, rejected] = ["expired", "rejected"].map(|id| Event::lead("Ada").id(id));
    let no_event = b"Zaphod \xff".as_slice();
    let soon = |properties: BasicProperties| properties.with_expiration("1".into());
    app.broker.publish_bytes("trigger.fired", &expired.bytes(), soon(expired.properties())).await;
    app.broker.publish_bytes("trigger.fired", no_event, soon(BasicProperties::default())).await;
    eventually("the two have expired", async || (app.broker.depth("dead-letters").await == 2).then_some(()))
        .await;
    app.broker.publish(&rejected).await;
    app.broker.reject("trigger-fired").await;
    let published = json!({"type": "contact.upserted", "data": {"contact": {"companyId": "acme"},
        "trigger": {"name": "t", "eventId": "i", "eventSource": "/s"}}});
    let properties = soon(BasicProperties::default());
    app.broker.publish_bytes("contact.upserted.created", published.to_string().as_bytes(), properties).await;
    app.run(&[]).await;
    app.wait_for_rows("dead_letters", 4).await;
    let all = app.dead_letters().await;
    let of = |body: &[u8]| all.iter().find(|dead| dead.body == body).expect("its bytes");
    for (body, stage, says, known) in [
        (&*expired.bytes(), "upsert", "expired", ("acme", Some("expired"), Some("register_lead"))),
        (&*rejected.bytes(), "upsert", "rejected", ("acme", Some("rejected"), Some("register_lead"))),
        (no_event, "upsert", "expired", ("", None, None)),
        (published.to_string().as_bytes(), "webhook", "expired", ("acme", Some("i"), Some("t"))),
    ] {
        let dead = of(body);
        assert_eq!((dead.reason.as_str(), dead.stage.as_str()), ("broker", stage));
        let found = (dead.company.as_str(), dead.event_id.as_deref(), dead.trigger.as_deref());
        assert_eq!(found, known);
        assert!(dead.message.contains(says) && !dead.message.contains("Zaphod"), "{}", dead.message);
        assert!(dead.properties.pointer("/headers/x-death").is_some(), "{}", dead.properties);
    }
    assert_eq!(of(&expired.bytes()).routing_key, "trigger.fired");
}

#[apply(test)]
async fn message_that_crashes_the_process_becomes_a_dead_letter(app: &TestApp) {
    app.set("upsert.consumers", "1");
    let service = app.run(&["upsert"]).await;
    let victim = Event::lead("Ada").email("ada@analytical.example");
    app.broker.publish(&victim).await;
    app.broker.hear(1).await;
    service.kill9().await;
    // The lock stops each process in the middle of its transaction, where it is killed.
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    let deadly = victim.clone().id("deadly").argument("name", "Countess");
    let neighbor = |name: &str| Event::lead(name).email(&format!("{name}@neighbor.example"));
    app.broker.publish_all(&[neighbor("before"), deadly.clone(), neighbor("after")]).await;
    // Three times with its neighbors, which makes all three suspects, and five times alone.
    for _ in 0..8 {
        let service = app.run(&["upsert"]).await;
        app.wait_for_blocked_sessions(1).await;
        service.kill9().await;
        app.end_blocked_sessions().await;
    }
    assert_eq!(app.dead_letters().await, []);
    app.run(&["upsert", "webhook"]).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.company.as_str()), ("crash_loop", "acme"));
    assert_eq!((dead.event_id.as_deref(), dead.trigger.as_deref()), (Some("deadly"), Some("register_lead")));
    assert!(dead.body == deadly.bytes() && dead.message.contains('5'), "{dead:?}");
    app.wait_for_rows("contacts WHERE email LIKE '%neighbor.example'", 2).await;
    // The cause is gone, and a replay starts with a clean record.
    lock.rollback().await.unwrap();
    let replayed = app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    assert_eq!(replayed, json!({"replayed": 1, "skipped": 0, "failed": 0}));
    app.the_dead_letter("resolved", |dead| dead.state == "resolved" && dead.replays == 1).await;
    app.wait_for_rows("contacts WHERE name = 'Countess' AND version = 2", 1).await;
    assert_eq!(app.rows("crash_suspects").await, 0);
}
