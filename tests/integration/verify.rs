//! `verify`: finds nothing wrong with what the service does, and everything that somebody changes by hand.

use std::collections::BTreeMap;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::{app::TestApp, event::Event, only, test};

/// The checks that found something, each with the companies of its samples.
async fn violations(app: &TestApp, arguments: &[&str]) -> (Option<i32>, Vec<(String, Vec<String>)>) {
    let ended = app.cli(&[&["verify", "-o", "json"], arguments].concat()).await;
    let reports: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert!(reports.iter().all(|report| report["proves"].is_string() && report["rows"].is_u64()));
    let wrong = reports.iter().filter(|report| report["violations"] != 0).map(|report| {
        let samples = report["samples"].as_array().unwrap().iter();
        let mut companies: Vec<String> =
            samples.map(|sample| sample["company"].as_str().unwrap().to_owned()).collect();
        companies.dedup();
        (report["check"].as_str().unwrap().to_owned(), companies)
    });
    (ended.code, wrong.collect())
}

async fn assert_clean(app: &TestApp) {
    assert_eq!(violations(app, &[]).await, (Some(0), Vec::new()));
}

fn interpreted(event: Event) -> Event {
    event.with("/data/trigger/interpretResponse", true.into())
}

/// Of each kind of row at least one: contacts with former ids, a refused event, and deliveries that are delivered, dead,
/// pending and awaited.
fn world(app: &TestApp, company: &str) -> Vec<Event> {
    let phone = "+5511987654321";
    let (ok, gone, down) =
        (app.receiver.url("/ok"), app.receiver.url("/status/400"), app.receiver.url("/status/503"));
    let lead = |name: &str| Event::lead(name).company(company);
    vec![
        lead("Ada").email("ada@x.example").webhook(&ok),
        lead("Bob").phone(phone),
        lead("Bob").email("bob@x.example"),
        lead("Bob").phone(phone).email("bob@x.example"),
        lead("Cid").email("cid@x.example").webhook(&gone),
        lead("Dan").email("dan@x.example").webhook(&down),
        interpreted(lead("Eve").email("eve@x.example").webhook(&down)),
        lead("Fay").with("/data/trigger/parameters/required", json!(["interest"])),
    ]
}

/// Publishes the worlds of these companies, and stops the service once their deliveries are as they stay.
async fn build(app: &TestApp, companies: &[String]) {
    app.set("webhook.retry_schedule", "1h,1h");
    app.set("webhook.breaker_failures", "0");
    app.run(&[]).await;
    let count = i64::try_from(companies.len()).unwrap();
    let worlds: Vec<Vec<Event>> = companies.iter().map(|company| world(app, company)).collect();
    // In turn, because the merge must come last.
    for step in 0..worlds[0].len() {
        app.broker.publish_all(&worlds.iter().map(|world| world[step].clone()).collect::<Vec<_>>()).await;
        let applied = i64::try_from(step.min(6) + 1).unwrap() * count;
        app.wait_for_rows("trigger_events", applied).await;
    }
    app.wait_for_dead_letters_because("arguments_invalid", count).await;
    app.wait_for_dead_letters_because("webhook_rejected", count).await;
    app.wait_for_deliveries("delivered", count).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 2 * count).await;
    app.wait_for_unpublished(0).await;
    app.wait_for_unsent(0).await;
    app.stop().await;
}

/// What somebody changes by hand in the rows of company `$c`, and the check that finds it. A check may stand here again, with
/// a remark.
const CHANGES: [(&str, &str); 23] = [
    ("refused_events", "DELETE FROM dead_letters WHERE company_id = '$c' AND stage = 'upsert'"),
    ("one_end", "DELETE FROM applied_events WHERE company_id = '$c' AND meaning IS NULL"),
    (
        "one_end: other contents",
        "UPDATE applied_events SET meaning = substr(sha256('other'), 1, 16) WHERE company_id = '$c' AND meaning IS NULL",
    ),
    (
        "dead_letter_states",
        "UPDATE dead_letters SET settled_by = 'mallory' WHERE company_id = '$c' AND stage = 'upsert'",
    ),
    (
        "history_events",
        "INSERT INTO trigger_events (company_id, contact_id, event_time, source, event_id, step, trigger_name, operation,
             version, fields)
         SELECT company_id, contact_id, event_time, source, 'forged', step, trigger_name, operation, version, fields
         FROM trigger_events WHERE company_id = '$c' LIMIT 1",
    ),
    (
        "history_contacts",
        "INSERT INTO trigger_events (company_id, contact_id, event_time, source, event_id, step, trigger_name, operation,
             version, fields)
         SELECT company_id, gen_random_uuid(), event_time, source, event_id, step, trigger_name, operation, version, fields
         FROM trigger_events WHERE company_id = '$c' LIMIT 1",
    ),
    ("webhook_steps", "DELETE FROM webhook_deliveries WHERE company_id = '$c' AND state = 'delivered'"),
    (
        "provenance",
        "DELETE FROM trigger_events WHERE company_id = '$c'
             AND contact_id = (SELECT contact_id FROM contacts WHERE company_id = '$c' AND email = 'ada@x.example')",
    ),
    (
        "provenance: another value",
        "UPDATE contacts SET name = 'Mallory' WHERE company_id = '$c' AND email = 'ada@x.example'",
    ),
    ("contact_identifiers", "DELETE FROM contact_identifiers WHERE company_id = '$c' AND value = 'ada@x.example'"),
    (
        "identifier_owners",
        "INSERT INTO contact_identifiers SELECT company_id, 'email', 'stray@x.example', contact_id FROM contacts
         WHERE company_id = '$c' LIMIT 1",
    ),
    // The hash of an identifier that is stored, in place of the one that was erased.
    (
        "suppressed_identifiers",
        r"UPDATE suppressions s SET hash = sha256(k.key || sha256(
              k.key || convert_to(E'email\nada@x.example\n', 'UTF8')))
          FROM suppression_keys k WHERE s.company_id = '$c' AND k.company_id = '$c'",
    ),
    ("aliases", "UPDATE contact_aliases SET merged_by = gen_random_uuid() WHERE company_id = '$c'"),
    (
        "erased_contacts",
        "INSERT INTO contact_erasures SELECT company_id, contact_id, now(), 'mallory' FROM contacts
         WHERE company_id = '$c' LIMIT 1",
    ),
    (
        "delivery_states",
        "UPDATE webhook_deliveries SET finished_at = NULL WHERE company_id = '$c' AND state = 'delivered'",
    ),
    (
        "pending_deliveries",
        "DELETE FROM webhook_pending WHERE delivery_id IN (
             SELECT delivery_id FROM webhook_deliveries WHERE company_id = '$c' AND state = 'pending' AND NOT awaited)",
    ),
    ("dead_deliveries", "DELETE FROM dead_letters WHERE company_id = '$c' AND stage = 'webhook'"),
    (
        "dead_deliveries: delivered",
        "UPDATE webhook_deliveries SET state = 'delivered' WHERE company_id = '$c' AND state = 'dead'",
    ),
    (
        "retry_clocks",
        "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
             round_started_at)
         SELECT company_id, gen_random_uuid(), created_at, endpoint_id, due_at, 0, 0, now()
         FROM webhook_pending WHERE company_id = '$c' LIMIT 1",
    ),
    (
        "lanes",
        "UPDATE webhook_endpoints SET next_due_at = 'infinity', owner = NULL
         WHERE company_id = '$c' AND url LIKE '%/status/503'",
    ),
    ("chain_results", "UPDATE chain_results SET waiting = waiting + 1 WHERE company_id = '$c'"),
    (
        "effects_owners",
        r"INSERT INTO effects (company_id, batch, kind, owner, items, body, created_at)
          VALUES ('$c', gen_random_uuid(), 'publish', gen_random_uuid(), 1, '\x90', now() - interval '1 hour')",
    ),
    (
        "lane_owners",
        "UPDATE webhook_endpoints SET owner = gen_random_uuid() WHERE company_id = '$c' AND url LIKE '%/ok'",
    ),
];

/// The company whose rows are changed.
fn changed_company(check: &str) -> String {
    check.replace(": ", "-").replace(['_', ' '], "-")
}

/// Each change is made in a company of its own, so one run shows that each is found by its check alone.
#[apply(test)]
async fn every_change_by_hand_is_found_by_its_check(app: &TestApp) {
    let companies: Vec<String> = CHANGES.iter().map(|(check, _)| changed_company(check)).collect();
    build(app, &companies).await;
    let bob = "SELECT contact_id::text FROM contacts WHERE company_id = 'suppressed-identifiers' AND email = 'dan@x.example'";
    let bob: String = sqlx::query_scalar(bob).fetch_one(&app.pool).await.unwrap();
    let erase =
        ["contact", "erase", "--company", "suppressed-identifiers", &bob, "--yes", "--operator", "grace"];
    let erased = app.cli(&erase).await;
    assert_eq!(erased.code, Some(0), "{erased:?}");
    assert_clean(app).await;

    for (check, change) in CHANGES {
        let change = change.replace("$c", &changed_company(check));
        let changed = app.pool.execute(AssertSqlSafe(change)).await.unwrap();
        assert!(changed.rows_affected() > 0, "{check}");
    }
    // What dead processes own is wrong only if others live.
    app.pool
        .execute(
            "INSERT INTO processes (process_id, alive_until, sends_webhooks)
             VALUES (gen_random_uuid(), now() + interval '1 hour', true)",
        )
        .await
        .unwrap();
    let (code, found) = violations(app, &[]).await;
    assert_eq!(code, Some(1));
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (check, _) in CHANGES {
        let name = check.split(':').next().unwrap();
        expected.entry(name.to_owned()).or_default().push(changed_company(check));
    }
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
    // A company sees its own rows alone.
    let (code, found) = violations(app, &["--company", "aliases"]).await;
    assert_eq!((code, only(found).0.as_str()), (Some(1), "aliases"));
    let table = app.cli(&["verify", "--company", "webhook-steps"]).await;
    assert!(table.stdout.contains("a webhook step that is nowhere"), "{table:?}");
    assert!(!table.stdout.contains("x.example"), "no personal data: {table:?}");
    app.pool.execute("DELETE FROM effects").await.unwrap();
}

#[apply(test)]
async fn what_operators_do_contradicts_nothing(app: &TestApp) {
    let company = "acme".to_owned();
    build(app, std::slice::from_ref(&company)).await;
    app.run(&[]).await;
    let id = async |email: &str| -> String {
        let query = "SELECT contact_id::text FROM contact_identifiers WHERE value = $1";
        sqlx::query_scalar(query).bind(email).fetch_one(&app.pool).await.unwrap()
    };
    let alias: String =
        sqlx::query_scalar("SELECT alias_id::text FROM contact_aliases").fetch_one(&app.pool).await.unwrap();
    let (ada, dan) = (id("ada@x.example").await, id("dan@x.example").await);
    for line in [
        format!("contact unmerge --company acme {alias} --operator grace"),
        format!("contact erase --company acme {dan} --yes --operator grace"),
        "dead-letter replay --reason arguments_invalid --yes".to_owned(),
        "dead-letter discard --reason webhook_rejected --yes --operator grace".to_owned(),
        "delivery resend --state delivered --yes".to_owned(),
        format!("contact erase --company acme {ada} --yes --operator grace"),
    ] {
        let ended = app.cli(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        assert_clean(app).await;
    }
    app.wait_for_dead_letters_because("arguments_invalid", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'replaying'", 0).await;
    assert_clean(app).await;
}

#[apply(test)]
async fn work_in_progress_contradicts_nothing(app: &TestApp) {
    const EVENTS: usize = 600;
    app.set("upsert.batch_size", "20");
    app.broker.declare().await;
    let [ok, flaky] = ["/ok", "/status/503/1"].map(|path| app.receiver.url(path));
    let event = |n: usize| {
        // A few people, so that contacts are updated and merged meanwhile.
        let event = Event::lead("Ada").email(&format!("lead-{}@x.example", n % 150)).webhook(&ok);
        let event =
            if n.is_multiple_of(3) { event.phone(&format!("+55119876{:05}", n % 100)) } else { event };
        if n.is_multiple_of(2) { interpreted(event.webhook(&flaky)) } else { event.webhook(&flaky) }
    };
    app.broker.publish_all(&(0..EVENTS).map(event).collect::<Vec<_>>()).await;
    let processes = [app.spawn(&["run"]), app.spawn(&["run"])];
    for part in 1..=4 {
        app.wait_for_at_least(i64::try_from(EVENTS * part / 6).unwrap(), "trigger_events").await;
        assert_clean(app).await;
        if part == 2 {
            processes[0].kill9().await;
            assert_clean(app).await;
        }
    }
    app.wait_for_rows("trigger_events", i64::try_from(EVENTS).unwrap()).await;
    app.wait_for_deliveries("delivered", i64::try_from(2 * EVENTS).unwrap()).await;
    assert_clean(app).await;
}
