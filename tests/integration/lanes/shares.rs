//! What one company has waiting does not stop another.

use contact_relay::dev::demo_receiver::DemoReceiver;
use macro_rules_attribute::apply;

use crate::support::{app::TestApp, event::Event, test};

/// Inserts `$3` due deliveries of company `$1` to `$4` endpoints below the address `$2`.
const FILL: [&str; 3] = [
    "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, next_due_at)
     SELECT $1, ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, $2 || '?' || n, 64,
         now() - $3::integer * interval '1 second'
     FROM generate_series(1, $4::integer) n",
    "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
         trigger_name, method, url, headers, state, endpoint_id, newest_only, awaited, digest)
     SELECT $1, gen_random_uuid(), now(), gen_random_uuid(), 1, '/s', 'e', 't', 'POST', $2, '[]', 'pending',
         ('00000000-0000-0000-0000-' || lpad((1 + n % $4)::text, 12, '0'))::uuid, false, false, false
     FROM generate_series(1, $3::integer) n",
    "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
         round_started_at)
     SELECT company_id, delivery_id, created_at, endpoint_id, now() - $3::integer * interval '1 second', 0, 0, now()
     FROM webhook_deliveries WHERE company_id = $1 AND url = $2 AND $4::integer > 0",
];

async fn fill(app: &TestApp, company: &str, url: &str, deliveries: i32, endpoints: i32) {
    let mut transaction = app.pool.begin().await.unwrap();
    for statement in FILL {
        let fill = sqlx::query(statement).bind(company).bind(url).bind(deliveries).bind(endpoints);
        fill.execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

fn delivered(company: &str) -> String {
    format!("webhook_deliveries WHERE company_id = '{company}' AND state = 'delivered'")
}

/// 20,000 deliveries of one company have been due longest, and their receiver hangs.
#[apply(test)]
async fn hanging_receiver_of_one_company_does_not_stop_another(app: &TestApp) {
    const SLOTS: usize = 32;
    app.set("webhook.concurrency", &SLOTS.to_string());
    app.set("webhook.timeout", "10m");
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    fill(app, "greedy", &app.receiver.url("/held"), 20_000, 100).await;
    let other = DemoReceiver::start().await.unwrap();
    fill(app, "humble", &other.url("/rows"), 50, 5).await;
    app.run(&[]).await;
    app.webhooks(SLOTS.div_ceil(3)).await;
    app.wait_for_rows(&delivered("humble"), 50).await;
    let lead = |n: usize| Event::lead("Ada").company("modest").email(&format!("lead-{n}@x.example"));
    // Some on the host whose receiver hangs for the other company.
    let of_same_host = app.receiver.url("/ok");
    let leads = (0..50)
        .map(|n| lead(n).webhook(&if n % 5 == 0 { of_same_host.clone() } else { other.url("/memory") }));
    app.broker.publish_all(&leads.collect::<Vec<_>>()).await;
    app.wait_for_rows(&delivered("modest"), 50).await;
    assert_eq!(
        app.receiver.requests().len(),
        SLOTS.div_ceil(3) + 10,
        "a company has a third of the slots on one host"
    );
    assert_eq!(app.rows("webhook_pending WHERE company_id = 'greedy'").await, 20_000);
    app.receiver.release();
    app.wait_for_at_least(100, &delivered("greedy")).await;
}

/// In a process that sends what others commit, one endpoint that hangs delays the company's others by a moment.
#[apply(test)]
async fn hanging_endpoint_does_not_delay_the_batches_of_its_company(app: &TestApp) {
    app.set("webhook.concurrency", "8");
    app.set("webhook.max_in_flight", "2");
    app.set("webhook.timeout", "10m");
    app.run(&["upsert"]).await;
    let sender = app.run(&["webhook"]).await;
    let lead = |n: usize, url: &str| Event::lead("Ada").email(&format!("lead-{n}@x.example")).webhook(url);
    let (held, other) = (app.receiver.url("/held"), DemoReceiver::start().await.unwrap());
    // More than it takes at once.
    app.broker.publish_all(&(0..600).map(|n| lead(n, &held)).collect::<Vec<_>>()).await;
    app.webhooks(2).await;
    app.broker.publish_all(&(600..650).map(|n| lead(n, &other.url("/ok"))).collect::<Vec<_>>()).await;
    app.wait_for_deliveries("delivered", 50).await;
    app.wait_for_deliveries("pending", 598).await;
    sender.ready().await;
    app.receiver.release();
    app.wait_for_deliveries("delivered", 650).await;
}

/// What finds no room in memory goes back to the table or becomes rows, depending on how fast the receiver is.
#[apply(test)]
async fn burst_that_exceeds_the_memory_is_sent_once(app: &TestApp) {
    app.set("webhook.concurrency", "4");
    app.set("upsert.batch_size", "10");
    app.run(&[]).await;
    let (first, second) = (app.receiver.url("/first"), app.receiver.url("/second"));
    let lead = |n: usize| Event::lead("Ada").email(&format!("lead-{n}@x.example"));
    let leads = (0..600).map(|n| lead(n).webhook(if n % 3 == 0 { &second } else { &first }));
    app.broker.publish_all(&leads.collect::<Vec<_>>()).await;
    app.wait_for_deliveries("delivered", 600).await;
    assert_eq!(app.receiver.requests().len(), 600);
}
