//! `/metrics`, readiness and `healthcheck`, as a monitoring system and a container platform see them.

mod scrape;

use macro_rules_attribute::apply;
use tokio::net::TcpListener;

use self::scrape::Scrape;
use crate::support::{app::TestApp, event::Event, eventually, process::Process, proxy::Proxy, test};

/// Waits until these series have these values, one after the other, and scrapes once more.
async fn measured(process: &Process, expected: &[(&str, f64)]) -> Scrape {
    for (series, value) in expected {
        eventually(&format!("{series} is {value}"), async || {
            let scrape = Scrape::of(process).await?;
            ((scrape.value(series) - value).abs() < 0.5).then_some(())
        })
        .await;
    }
    Scrape::of(process).await.expect("an answer")
}

fn lead(name: &str) -> Event {
    Event::lead(name).email(&format!("{name}@analytical.example"))
}

/// Waits until `/readyz` answers this status, with this text.
async fn readiness(process: &Process, status: &str, text: &str) {
    eventually(&format!("/readyz says {status} and {text}"), async || {
        let answer = process.get("/readyz").await?;
        (answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text)).then_some(())
    })
    .await;
}

#[apply(test)]
async fn metrics_count_successes_and_failures(app: &TestApp) {
    let process = app.run(&[]).await;
    let webhook = |name: &str, path: &str| lead(name).webhook(&app.receiver.url(path));
    let ada = webhook("ada", "/ok");
    app.broker.publish(&ada).await;
    app.broker.hear(1).await;
    app.broker
        .publish_all(&[
            ada,
            webhook("grace", "/ok"),
            webhook("mary", "/status/404"),
            webhook("joan", "/status/503"),
            lead("hedy").webhook("http://127.0.0.1:1/"),
            Event::lead("Ida").phone("12"),
        ])
        .await;
    let scrape = measured(
        &process,
        &[
            (r#"contact_relay_messages_received_total{queue="trigger_fired"}"#, 7.0),
            (r#"contact_relay_events_total{outcome="applied",stage="upsert"}"#, 5.0),
            (r#"contact_relay_events_total{outcome="duplicate",stage="upsert"}"#, 1.0),
            (r#"contact_relay_events_total{outcome="dead_lettered",stage="upsert"}"#, 1.0),
            (r#"contact_relay_events_total{outcome="published",stage="publish"}"#, 5.0),
            (r#"contact_relay_events_total{outcome="delivered",stage="webhook"}"#, 2.0),
            (r#"contact_relay_events_total{outcome="retried",stage="webhook"}"#, 4.0),
            (r#"contact_relay_events_total{outcome="dead_lettered",stage="webhook"}"#, 3.0),
            (r#"contact_relay_webhook_attempts_total{class="delivered",status="2xx"}"#, 2.0),
            (r#"contact_relay_webhook_attempts_total{class="rejected",status="4xx"}"#, 1.0),
            (r#"contact_relay_webhook_attempts_total{class="http_status",status="5xx"}"#, 3.0),
            (r#"contact_relay_webhook_attempts_total{class="connect",status="none"}"#, 3.0),
            (r#"contact_relay_dead_letters_opened_total{reason="identifier_invalid",stage="upsert"}"#, 1.0),
            (r#"contact_relay_dead_letters_opened_total{reason="webhook_rejected",stage="webhook"}"#, 1.0),
            (r#"contact_relay_dead_letters_opened_total{reason="webhook_exhausted",stage="webhook"}"#, 2.0),
            (r#"contact_relay_dead_letters_unsettled{reason="webhook_exhausted",stage="webhook",state="open"}"#, 2.0),
            ("contact_relay_trigger_to_contact_seconds_count", 5.0),
            ("contact_relay_trigger_to_delivered_seconds_count", 2.0),
            ("contact_relay_publish_confirm_seconds_count", 5.0),
            ("contact_relay_webhook_attempt_duration_seconds_count", 9.0),
            ("contact_relay_webhook_deliveries_held", 0.0),
            ("contact_relay_ready", 1.0),
            (r#"contact_relay_room_limit_bytes{room="webhook_queue"}"#, 33_554_432.0),
        ],
    )
    .await;
    for series in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_threads",
        "process_open_fds",
        "process_start_time_seconds",
        "contact_relay_sampled_at_seconds",
        r#"contact_relay_database_connections_max{pool="workers"}"#,
    ] {
        assert!(scrape.value(series) > 0.0, "{series}");
    }
    let version = format!(r#"contact_relay_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert!((scrape.value(&version) - 1.0).abs() < f64::EPSILON);
}

#[apply(test)]
async fn metrics_count_what_operators_do(app: &TestApp) {
    let process = app.run(&[]).await;
    let rejected = lead("mary").webhook(&app.receiver.url("/status/404"));
    app.broker.publish_all(&[rejected, Event::lead("Ida").phone("12")]).await;
    app.wait_for_rows("dead_letters", 2).await;
    // The sampler counts what is settled after its first look.
    measured(
        &process,
        &[(
            r#"contact_relay_dead_letters_unsettled{reason="webhook_rejected",stage="webhook",state="open"}"#,
            1.0,
        )],
    )
    .await;
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    measured(
        &process,
        &[
            (r#"contact_relay_replays_total{outcome="failed",stage="upsert"}"#, 1.0),
            (r#"contact_relay_replays_total{outcome="failed",stage="webhook"}"#, 1.0),
            (r#"contact_relay_dead_letters_opened_total{reason="webhook_rejected",stage="webhook"}"#, 2.0),
        ],
    )
    .await;
    let paused = app.cli(&["endpoint", "pause", &app.receiver.url("/status/404"), "--operator", "ana"]).await;
    assert_eq!(paused.code, Some(0), "{}", paused.stderr);
    let discarded = app.cli(&["dead-letter", "discard", "--all", "--yes", "--operator", "ana"]).await;
    assert_eq!(discarded.code, Some(0), "{}", discarded.stderr);
    measured(&process, &[
        (r#"contact_relay_dead_letters_settled_total{reason="webhook_rejected",stage="webhook",state="discarded"}"#, 1.0),
        (r#"contact_relay_dead_letters_settled_total{reason="identifier_invalid",stage="upsert",state="discarded"}"#, 1.0),
        (r#"contact_relay_dead_letters_unsettled{reason="webhook_rejected",stage="webhook",state="open"}"#, 0.0),
        (r#"contact_relay_endpoints{state="paused"}"#, 1.0),
    ])
    .await;
}

#[apply(test)]
async fn messages_that_no_queue_takes_are_counted(app: &TestApp) {
    app.set("outbox.retry_interval", "1h");
    app.broker.subscribe_one("one-place", "contact.upserted.#", "reject-publish").await;
    let process = app.run(&[]).await;
    for name in ["ada", "grace", "mary"] {
        app.broker.publish(&lead(name)).await;
    }
    app.broker.hear(3).await;
    measured(
        &process,
        &[
            (r#"contact_relay_events_total{outcome="published",stage="publish"}"#, 1.0),
            (r#"contact_relay_events_total{outcome="refused",stage="publish"}"#, 2.0),
            // They wait for a retry, so they are not overdue.
            (r#"contact_relay_lag_seconds{stage="publish"}"#, 0.0),
        ],
    )
    .await;
    app.broker.delete("one-place").await;
    let retry = "UPDATE effects SET due_at = now() WHERE owner IS NULL";
    sqlx::query(retry).execute(&app.pool).await.unwrap();
    measured(&process, &[(r#"contact_relay_events_total{outcome="published",stage="publish"}"#, 3.0)]).await;
}

/// Stores 100,000 contacts and 1,000 endpoints in all states.
async fn fill(app: &TestApp) {
    for insert in [
        "INSERT INTO contacts (company_id, contact_id, version, name, email, provenance, emails, created_at, updated_at)
         SELECT 'stored-' || n % 500, gen_random_uuid(), 1, 'Stored ' || n, n || '@stored.example',
             '{\"events\": [], \"fields\": {}}', ARRAY[n || '@stored.example'], now(), now()
         FROM generate_series(1, 100000) n",
        "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, breaker, breaker_until, paused_at, disabled_at)
         SELECT 'stored-' || n % 500, gen_random_uuid(), 'https://hooks.example/' || n, 64,
             (ARRAY['closed', 'open', 'half_open', 'ramp_up'])[1 + n % 4], now() + interval '1 day',
             CASE WHEN n % 5 = 0 THEN now() END, CASE WHEN n % 7 = 0 THEN now() END
         FROM generate_series(1, 1000) n",
    ] {
        sqlx::query(insert).execute(&app.pool).await.unwrap();
    }
}

/// However many companies, contacts and endpoints there are, and whatever becomes of their events.
#[apply(test)]
async fn series_are_always_the_same(app: &TestApp) {
    const EVENTS: usize = 1_000;
    let process = app.run(&[]).await;
    let (before, open_before) =
        (Scrape::of(&process).await.unwrap(), Scrape::open_metrics_of(&process).await.unwrap());
    assert!((400..1_000).contains(&before.series().len()), "{}", before.series().len());
    fill(app).await;
    let events: Vec<Event> = (0..EVENTS)
        .map(|n| {
            let event = lead(&format!("name{n}")).company(&format!("company-{}", n % 200));
            let path = if n % 50 == 0 { format!("/status/404?{n}") } else { format!("/endpoint-{n}") };
            if n % 70 == 0 {
                event.without("/data/trigger/name")
            } else {
                event.webhook(&app.receiver.url(&path))
            }
        })
        .collect();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters WHERE stage = 'upsert'", 15).await;
    app.wait_for_rows("webhook_deliveries WHERE state IN ('dead', 'delivered')", 985).await;
    let after = measured(
        &process,
        &[
            (r#"contact_relay_events_total{outcome="applied",stage="upsert"}"#, 985.0),
            ("contact_relay_webhook_requests_in_flight", 0.0),
            // The stored ones are sampled, and a disabled one is not counted as paused as well.
            (r#"contact_relay_endpoints{state="disabled"}"#, 142.0),
            (r#"contact_relay_endpoints{state="paused"}"#, 172.0),
        ],
    )
    .await;
    assert_eq!(after.series(), before.series());
    let open_after = Scrape::open_metrics_of(&process).await.unwrap();
    assert_eq!(open_after.series(), open_before.series());
    // The formats have the same samples.
    assert_eq!(open_after.series(), after.series());
}

#[apply(test)]
async fn scrape_does_not_need_the_database(app: &TestApp) {
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("postgres.url", database.url());
    let process = app.run(&[]).await;
    database.freeze();
    eventually("a sample has failed", async || {
        let scrape = Scrape::of(&process).await?;
        (scrape.value("contact_relay_samples_failed_total") > 0.5).then_some(())
    })
    .await;
    database.open();
    process.ready().await;
    app.broker.publish(&lead("ada")).await;
    app.broker.hear(1).await;
}

#[apply(test)]
async fn work_that_nobody_takes_is_lag(app: &TestApp) {
    app.set("health.max_lag", "1s");
    // Nobody sends its webhooks.
    let process = app.run(&["upsert"]).await;
    app.broker.publish(&lead("ada").webhook(&app.receiver.url("/ok"))).await;
    readiness(&process, "503", "webhook has waited for").await;
    assert!(Scrape::of(&process).await.unwrap().value(r#"contact_relay_lag_seconds{stage="webhook"}"#) > 1.0);
    app.run(&["webhook"]).await;
    app.webhooks(1).await;
    readiness(&process, "200", r#""lag":"ready""#).await;
}

#[apply(test)]
async fn readiness_turns_off_first_while_work_drains(app: &TestApp) {
    app.set("shutdown.grace", "1h");
    let process = app.run(&[]).await;
    let check = async || {
        let checked = app.cli(&["healthcheck"]).await;
        assert_eq!(checked.stderr, "");
        (checked.code, checked.stdout)
    };
    assert_eq!(check().await, (Some(0), String::new()));
    app.broker.publish(&lead("ada").webhook(&app.receiver.url("/held"))).await;
    app.webhooks(1).await;
    process.sigterm();
    readiness(&process, "503", "stopping").await;
    let stopping = "process: stopping; it finishes its work and takes no more\n";
    assert_eq!(check().await, (Some(1), stopping.to_owned()));
    // It is alive, and tells what it waits for.
    assert!(process.get("/healthz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
    measured(&process, &[("contact_relay_webhook_requests_in_flight", 1.0), ("contact_relay_ready", 0.0)])
        .await;
    assert!(!process.has_ended().await);
    app.receiver.release();
    assert!(process.ended().await.success());
    assert_eq!(app.deliveries("delivered").await, 1);
    let nothing = app.cli(&["healthcheck"]).await;
    assert_eq!(nothing.code, Some(69), "{}", nothing.stderr);
    let address = app.setting("http.bind");
    let expected =
        format!("error: no service answers at {address} (http.bind): Connection refused (os error 111)\n");
    assert_eq!(nothing.stderr, expected);
    app.broker.purge("webhook").await;
}

#[apply(test)]
async fn healthcheck_does_not_wait_for_a_service_that_hangs(app: &TestApp) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    app.set("http.bind", &listener.local_addr().unwrap().to_string());
    let checked = app.cli(&["healthcheck", "--timeout", "100ms"]).await;
    assert_eq!(checked.code, Some(69), "{}", checked.stderr);
    assert!(checked.stderr.contains("no answer within 100ms"), "{}", checked.stderr);
}
