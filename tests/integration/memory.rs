//! Memory is bounded by bytes: what waits at the broker may be larger than the process may ever become.

use std::{cell::RefCell, time::Duration};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable},
};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::{Acquire as _, AssertSqlSafe, Executor as _};
use tokio::time::{Instant, interval};

use crate::support::{WAIT_TIMEOUT, alone, app::TestApp, event::Event, eventually, process::Process, test};

const MIB: u64 = 1 << 20;

/// What a process may take, however much waits for it.
const MOST: u64 = 256 * MIB;

/// Events are published in groups, so that the test itself stays small.
const GROUP: usize = 20;

/// What an event without its client data takes at most.
const ENVELOPE: usize = 4 * 1024;

/// Events with this client data, each about another person.
fn leads(count: usize, client_data: &Value) -> impl Iterator<Item = Event> {
    let lead = |n: usize| Event::lead("Ada").email(&format!("lead-{n}@large.example"));
    (0..count).map(move |n| lead(n).with("/data/clientData", client_data.clone()))
}

async fn publish(app: &TestApp, events: impl Iterator<Item = Event>) {
    let events: Vec<Event> = events.collect();
    for group in events.chunks(GROUP) {
        app.broker.publish_all(group).await;
    }
}

/// Waits until all these rows are there. Each may take as long as a whole condition elsewhere.
async fn wait_for_each(app: &TestApp, count: i64, rows: &str) {
    for number in 1..=count {
        app.wait_for_at_least(number, rows).await;
    }
}

fn assert_small(process: &Process) {
    let peak = process.peak_memory();
    assert!(peak < MOST, "{} MiB", peak / MIB);
}

/// Nothing can be settled, for longer than a connection may be silent, and the connection lives.
#[apply(alone)]
async fn large_messages_wait_at_the_broker(app: &TestApp) {
    app.set("amqp.heartbeat", "5s");
    app.broker.declare().await;
    // As large decoded as it is encoded.
    publish(app, leads(400, &json!({"text": "x".repeat((1 << 20) - ENVELOPE)}))).await;
    let mut holder = app.pool.acquire().await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("LOCK TABLE trigger_events IN SHARE MODE").await.unwrap();
    let process = app.run(&[]).await;
    app.wait_for_blocked_sessions(2).await;
    let (mut tick, end) = (interval(Duration::from_millis(100)), Instant::now() + Duration::from_secs(13));
    while Instant::now() < end {
        tick.tick().await;
        assert_small(&process);
    }
    transaction.rollback().await.unwrap();
    wait_for_each(app, 60, "trigger_events").await;
    assert_small(&process);
    let log = process.log();
    assert!(!log.contains("reconnects"), "{log}");
    process.kill9().await;
    app.broker.delete("trigger-fired").await;
}

/// Each takes 36 MiB when it is decoded.
#[apply(alone)]
async fn short_numbers_are_decoded_a_few_at_a_time(app: &TestApp) {
    const COUNT: usize = 16;
    app.broker.declare().await;
    publish(app, leads(COUNT, &json!({"numbers": vec![0; ((1 << 20) - ENVELOPE) / 2]}))).await;
    let process = app.run(&[]).await;
    wait_for_each(app, COUNT.try_into().unwrap(), "trigger_events").await;
    assert_small(&process);
}

#[apply(alone)]
async fn messages_that_are_too_large_become_dead_letters_one_by_one(app: &TestApp) {
    const COUNT: usize = 20;
    app.broker.declare().await;
    for number in 0..COUNT {
        // The broker takes 16 MiB at most.
        let mut body = vec![b'a' + u8::try_from(number).unwrap(); (16 << 20) - ENVELOPE];
        body.extend_from_slice(b"\n");
        app.broker
            .publish_bytes("trigger.fired", &body, BasicProperties::default().with_delivery_mode(2))
            .await;
    }
    let process = app.run(&[]).await;
    wait_for_each(app, COUNT.try_into().unwrap(), "dead_letters WHERE reason = 'too_large'").await;
    assert_small(&process);
}

/// A header without a value is one byte, and an object in JSON.
#[apply(alone)]
async fn headers_of_rejected_messages_are_stored_bit_by_bit(app: &TestApp) {
    const COUNT: usize = 12;
    app.broker.declare().await;
    let mut headers = FieldTable::default();
    headers.insert("k".into(), AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void; 120_000])));
    let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    for number in 0..COUNT {
        let body = number.to_string();
        app.broker.publish_bytes("trigger.fired", body.as_bytes(), properties.clone()).await;
    }
    let process = app.run(&[]).await;
    wait_for_each(app, COUNT.try_into().unwrap(), "dead_letters").await;
    assert_small(&process);
}

/// Events of 25 KiB, each of which renders 2 MiB.
#[apply(alone)]
async fn batches_are_as_large_as_what_they_render(app: &TestApp) {
    const COUNT: usize = 100;
    app.broker.declare().await;
    let body = json!({"text": "$text".repeat(20)});
    let action = json!({"type": "WEBHOOK", "url": app.receiver.url("/ok"), "method": "POST", "body": body});
    let lead = |event: Event| (0..5).fold(event, |event, _| event.action(action.clone()));
    publish(app, leads(COUNT, &json!({"text": "x".repeat(20_000)})).map(lead)).await;
    let process = app.run(&["upsert"]).await;
    wait_for_each(app, COUNT.try_into().unwrap(), "trigger_events").await;
    assert_small(&process);
    assert_eq!(app.count("SELECT sum(items) FROM effects WHERE kind = 'send'").await, 500);
    process.kill9().await;
}

/// The lock stops each process in the middle of its transaction, where it is killed.
#[apply(alone)]
async fn message_that_ends_the_process_is_found_among_large_ones(app: &TestApp) {
    app.broker.declare().await;
    let service = app.run(&["upsert"]).await;
    let victim = Event::lead("Ada").email("ada@analytical.example");
    app.broker.publish(&victim).await;
    app.broker.hear(1).await;
    service.kill9().await;
    let mut lock = app.pool.begin().await.unwrap();
    lock.execute("SELECT 1 FROM contacts FOR UPDATE").await.unwrap();
    let text = json!({"text": "x".repeat((1 << 20) - ENVELOPE)});
    publish(app, leads(10, &text)).await;
    app.broker.publish(&victim.clone().id("deadly").argument("name", "Countess")).await;
    publish(app, leads(400, &text)).await;
    // Three times with its neighbors, and five times alone.
    for _ in 0..8 {
        let service = app.run(&["upsert"]).await;
        app.wait_for_blocked_sessions(1).await;
        assert_small(&service);
        service.kill9().await;
        app.end_blocked_sessions().await;
    }
    assert_eq!(app.dead_letters().await, []);
    let service = app.run(&["upsert"]).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.event_id.as_deref()), ("crash_loop", Some("deadly")));
    // By then, it would have read all of them.
    wait_for_each(app, 60, "trigger_events").await;
    assert_small(&service);
    service.kill9().await;
    app.broker.delete("trigger-fired").await;
}

/// They are as many as a process may load at once, and their receivers hold the first of them.
#[apply(alone)]
async fn large_webhooks_wait_in_the_database(app: &TestApp) {
    const COUNT: usize = 200;
    app.set("webhook.timeout", "10m");
    app.broker.declare().await;
    let url = |n: usize| app.receiver.url(&format!("/held/{}", n % 8));
    let action = |n| json!({"type": "WEBHOOK", "url": url(n), "method": "POST", "body": {"text": "$text"}});
    let text = json!({"text": "x".repeat((1 << 20) - ENVELOPE)});
    publish(app, leads(COUNT, &text).zip(0..).map(|(lead, n)| lead.action(action(n)))).await;
    let process = app.run(&["upsert"]).await;
    wait_for_each(app, COUNT.try_into().unwrap(), "trigger_events").await;
    assert_small(&process);
    process.kill9().await;
    set_endpoints(app, "paused_at = now()").await;
    let process = app.run(&["webhook"]).await;
    app.wait_for_rows("webhook_pending", COUNT.try_into().unwrap()).await;
    set_endpoints(app, "paused_at = NULL, next_due_at = now()").await;
    let held = app.receiver.wait_for(WAIT_TIMEOUT, |requests| requests.len() > 8).await;
    assert!(held.is_some());
    app.receiver.release();
    app.wait_for_deliveries("delivered", COUNT.try_into().unwrap()).await;
    assert_small(&process);
}

/// A person is looked for in all of them, by a process that has other work.
#[apply(alone)]
async fn erasure_searches_large_rows_one_by_one(app: &TestApp) {
    app.broker.declare().await;
    app.cli(&["migrate"]).await;
    let chains = "INSERT INTO chain_results (company_id, event_key, waiting, chain, created_at)
        SELECT 'acme', gen_random_uuid(), 1, to_jsonb(repeat('. ', 1 << 19) || CASE n WHEN 7 THEN ' ada@x.example' ELSE '' END),
            now() - interval '1 hour'
        FROM generate_series(1, 300) n";
    let erasure = "INSERT INTO erasures (company_id, contact_id, aliases, erased_at, kinds, keys, documents)
        VALUES ('acme', gen_random_uuid(), '{}', now() - interval '10 minutes', '{email}', '{ada@x.example}', '{}')";
    for statement in [chains, erasure] {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    let process = app.run(&[]).await;
    app.broker.hear(1).await;
    assert_eq!((app.rows("erasures").await, app.rows("chain_results").await), (0, 299));
    assert_small(&process);
    sqlx::query("DELETE FROM chain_results").execute(&app.pool).await.unwrap();
}

async fn set_endpoints(app: &TestApp, change: &str) {
    // The change comes from a test.
    let update = AssertSqlSafe(format!("UPDATE webhook_endpoints SET {change}"));
    assert_eq!(sqlx::query(update).execute(&app.pool).await.unwrap().rows_affected(), 8);
}

/// The runtime has one thread, and compiling takes most of the time until the webhook.
#[apply(test)]
async fn compiling_holds_up_nobody_else(app: &TestApp) {
    app.set_variable("TOKIO_WORKER_THREADS", "1");
    app.broker.declare().await;
    let process = app.run(&[]).await;
    let event = Event::bare().webhook(&app.receiver.url("/ok"));
    let definitions = (0..10).map(|n| heavy(n, event.value("/data/trigger/actions"))).collect();
    let event = event.with("/data/next", definitions);
    // Once it has decoded a message, it waits for this.
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE applied_events").execute(&mut *lock).await.unwrap();
    app.broker.publish(&event).await;
    app.queues_are_empty().await;
    let (began, answers) = (Instant::now(), RefCell::new(vec![Duration::ZERO]));
    let ask = async {
        while process.get("/healthz").await.is_some() {
            answers.borrow_mut().push(began.elapsed());
        }
    };
    let compiled = eventually("it has compiled", async || (app.blocked_sessions().await > 0).then_some(()));
    tokio::select! {
        () = ask => panic!("no answer after {} answers", answers.borrow().len()),
        () = compiled => {}
    }
    // Otherwise it answers only before the first and after the last definition.
    let answers = answers.into_inner();
    let longest = answers.windows(2).map(|two| two[1].saturating_sub(two[0])).max().unwrap();
    assert!(longest < began.elapsed() / 2, "no answer for {longest:?} while it compiled: {answers:?}");
    lock.rollback().await.unwrap();
    app.webhooks(10).await;
}

/// A definition with sixteen large regular expressions, which no other one has.
fn heavy(number: usize, actions: &Value) -> Value {
    let pattern =
        |n: usize| (format!("p{n}"), json!({"pattern": format!("^(\\p{{L}}{{1,9}}|{number}x{n})$")}));
    let properties: serde_json::Map<_, _> = (0..16).map(pattern).collect();
    json!({"name": "heavy", "parameters": {"properties": properties}, "actions": actions})
}
