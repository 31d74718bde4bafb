//! `delivery list|show|resend`: what they print, what they mask, and what is sent again.

use std::process::Stdio;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use super::assert_failed;
use crate::support::{app::TestApp, event::Event, only, test};

const UNKNOWN: &str = "0193f5a0-7c1e-8b8a-9a55-3f6f1f0c2b11";

async fn list(app: &TestApp, filters: &[&str]) -> Vec<Value> {
    let rows = app.json(&[&["delivery", "list"], filters].concat()).await;
    rows.as_array().expect("a list").clone()
}

fn id(row: &Value) -> String {
    row["id"].as_str().expect("an id").to_owned()
}

/// One delivered and one dead delivery of company acme, one dead of company b.
async fn three(app: &TestApp) -> Event {
    app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@analytical.example");
    let event = event.webhook(&app.receiver.url("/ok")).webhook(&app.receiver.url("/status/404"));
    app.broker.publish(&event).await;
    let other = Event::bare().with("/data/trigger/name", "tell".into()).company("b");
    app.broker.publish(&other.webhook(&app.receiver.url("/status/404"))).await;
    app.wait_for_rows("webhook_deliveries WHERE state <> 'pending'", 3).await;
    event
}

/// As if it had been created 25 hours ago and were still retried.
async fn age_the_dead_one(app: &TestApp) {
    sqlx::query(
        "WITH old AS (
             UPDATE webhook_deliveries SET created_at = now() - interval '25 hours', state = 'pending'
             WHERE state = 'dead' RETURNING *),
         attempts AS (
             UPDATE webhook_attempts a SET created_at = old.created_at FROM old
             WHERE a.company_id = old.company_id AND a.delivery_id = old.delivery_id)
         INSERT INTO webhook_pending
         SELECT company_id, delivery_id, created_at, endpoint_id, now() + interval '1 hour', attempts, 0, now() FROM old",
    )
    .execute(&app.pool)
    .await
    .unwrap();
}

#[apply(test)]
async fn list_filters_deliveries(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@analytical.example");
    let (fine, refused) = (app.receiver.url("/ok"), app.receiver.url("/status/404"));
    app.broker.publish(&event.clone().webhook(&fine).webhook(&refused)).await;
    let other = Event::bare().with("/data/trigger/name", "tell".into()).company("b");
    app.broker.publish(&other.webhook(&fine)).await;
    app.wait_for_rows("webhook_deliveries WHERE state <> 'pending'", 3).await;
    let contact: Uuid =
        sqlx::query_scalar("SELECT contact_id FROM contacts").fetch_one(&app.pool).await.unwrap();
    let contact = contact.to_string();
    let endpoints = app.json(&["endpoint", "list", "--company", "b"]).await;
    let endpoint = only(endpoints.as_array().unwrap())["id"].as_str().unwrap().to_owned();
    for (filters, expected) in [
        (vec![], 3),
        (vec!["--company", "acme"], 2),
        (vec!["--company", "other"], 0),
        (vec!["--state", "delivered"], 2),
        (vec!["--state", "dead"], 1),
        (vec!["--state", "pending"], 0),
        (vec!["--state", "dead", "--state", "delivered"], 3),
        (vec!["--endpoint", &fine], 2),
        (vec!["--endpoint", &fine, "--company", "b"], 1),
        (vec!["--endpoint", &endpoint], 1),
        (vec!["--endpoint", &endpoint[..8]], 1),
        (vec!["--event", event.event_id()], 2),
        (vec!["--contact", &contact], 2),
        (vec!["--trigger", "tell"], 1),
        (vec!["--since", "1h"], 3),
        (vec!["--since", "2100-01-01T00:00:00Z"], 0),
        (vec!["--limit", "2"], 2),
    ] {
        assert_eq!(list(app, &filters).await.len(), expected, "{filters:?}");
    }
    let cut = app.cli(&["delivery", "list", "--limit", "2"]).await;
    assert!(cut.stderr.contains("more than these 2") && cut.stdout.lines().count() == 3, "{cut:?}");
    let lines = app.cli(&["delivery", "list", "-o", "ndjson"]).await.stdout;
    assert!(
        lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|row| row["id"].is_string()))
    );
    assert_eq!(lines.lines().count(), 3);
    let unknown = app.cli(&["delivery", "list", "--endpoint", "https://nobody.example/"]).await;
    assert_failed(&unknown, 1, "there is no such endpoint");
    assert_failed(&app.cli(&["delivery", "list", "--endpoint", "nonsense"]).await, 2, "no endpoint matches");
    age_the_dead_one(app).await;
    assert_eq!(list(app, &[]).await.len(), 2, "the last 24 hours");
    let pending = only(list(app, &["--state", "pending"]).await);
    assert_eq!((&pending["waitsFor"], &pending["lastStatus"]), (&json!("retry"), &json!(404)), "{pending:#}");
}

#[apply(test)]
async fn show_masks_secrets(app: &TestApp) {
    app.set("webhook.signing_secrets", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    app.run(&[]).await;
    let hostile = "it's $(touch x) `id` \"q\" \\ \n;&";
    let url = format!("{}?api_key=t0p&name=$name", app.receiver.url("/flaky/2"));
    let event = Event::lead("Ada's $(id)").email("ada@analytical.example").action(json!({
        "type": "WEBHOOK", "url": url, "method": "PUT",
        "headers": [{"key": "Authorization", "value": "Bearer s3cret"}, {"key": "X-Note", "value": "'$name'"}],
        "body": {"text": hostile, "name": "$name"},
    }));
    app.broker.publish(&event).await;
    app.wait_for_deliveries("delivered", 1).await;
    let row = only(list(app, &[]).await);
    let id = id(&row);
    assert_eq!(
        (&row["state"], &row["attempts"], &row["waitsFor"]),
        (&json!("delivered"), &json!(3), &json!(null))
    );
    let shown = app.json(&["delivery", "show", &id]).await;
    let log = shown["attemptLog"].as_array().unwrap();
    let classes: Vec<_> = log.iter().map(|one| (one["class"].as_str(), one["status"].as_i64())).collect();
    let refused = (Some("http_status"), Some(503));
    assert_eq!(classes, [refused, refused, (Some("delivered"), Some(200))]);
    assert_eq!((&log[2]["responseBody"], &log[2]["responseBytes"]), (&json!("received"), &json!(8)));
    assert_eq!(
        (&shown["source"], &shown["eventId"]),
        (&json!(event.text("/source")), &json!(event.event_id()))
    );
    let headers = shown["request"]["headers"].as_array().unwrap();
    for header in [["authorization", "REDACTED"], ["x-note", "'Ada's $(id)'"], ["webhook-id", &id]] {
        assert!(headers.contains(&json!(header)), "{header:?}: {headers:?}");
    }
    for format in ["table", "json", "ndjson"] {
        for beginning in [&id[..], &id[..13], &id[..8]] {
            let ended = app.cli(&["delivery", "show", beginning, "--company", "acme", "-o", format]).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{format}");
            for secret in ["s3cret", "t0p", "whsec", "v1,"] {
                assert!(!ended.stdout.contains(secret), "{secret}: {}", ended.stdout);
            }
        }
    }
    // The printed command sends the same bytes to the same URL.
    let sent = app.receiver.requests();
    let curl = shown["request"]["curl"].as_str().unwrap();
    let table = app.cli(&["delivery", "show", &id]).await.stdout;
    assert!(table.lines().any(|line| line == curl), "{table}");
    let words = words_of(curl).await;
    assert_eq!(words.last().map(String::as_bytes), Some(&sent[0].body[..]));
    assert!(
        words.contains(&"x-note: 'Ada's $(id)'".to_owned()) && words.contains(&"PUT".to_owned()),
        "{words:?}"
    );
    assert_failed(&app.cli(&["delivery", "show", &id, "--company", "b"]).await, 1, "there is no delivery");
    assert_failed(&app.cli(&["delivery", "show", UNKNOWN]).await, 1, "there is no delivery");
    assert_failed(&app.cli(&["delivery", "show", "0193f5a"]).await, 2, "is not an id of a delivery");
}

/// The words that a shell reads in the line that begins with `curl`.
async fn words_of(curl: &str) -> Vec<String> {
    let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{curl}");
    let ran = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().await.unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    let words = String::from_utf8(ran.stdout).unwrap();
    words.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

#[apply(test)]
async fn resend_sends_ended_deliveries_again(app: &TestApp) {
    app.set("webhook.retry_schedule", "10ms");
    app.run(&[]).await;
    let (fine, flaky) = (app.receiver.url("/ok"), app.receiver.url("/flaky/3"));
    let event = Event::lead("Ada").email("ada@analytical.example").webhook(&fine).webhook(&flaky);
    app.broker.publish(&event).await;
    app.wait_for_rows("webhook_deliveries WHERE state <> 'pending'", 2).await;
    let dead = only(list(app, &["--state", "dead"]).await);
    let shown = app.json(&["delivery", "show", &id(&dead)]).await;
    assert_eq!(
        (&shown["deadLetter"]["state"], &shown["deadLetter"]["reason"]),
        (&json!("open"), &json!("webhook_exhausted"))
    );
    let plan = app.json(&["delivery", "resend", "--state", "dead", "--dry-run"]).await;
    assert_eq!((&plan["count"], &plan["sample"][0]["id"]), (&json!(1), &dead["id"]));
    assert_eq!(app.receiver.requests().len(), 3);
    let resent = app.json(&["delivery", "resend", "--state", "dead", "--yes", "--rate", "50"]).await;
    assert_eq!(resent, json!({"resent": 1, "skipped": 0, "reasons": {}}));
    // The third attempt still fails; the fourth follows the new schedule.
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 4", 1).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved" && dead.replays == 1).await;
    let delivered = only(list(app, &["--endpoint", &fine]).await);
    let ended = app.cli(&["delivery", "resend", &id(&delivered)[..13], "--yes"]).await;
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "resent 1, skipped 0"), "{}", ended.stderr);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 1).await;
    let mut by_delivery = std::collections::BTreeMap::<_, Vec<_>>::new();
    for request in app.receiver.requests() {
        by_delivery.entry(request.header("webhook-id").unwrap().to_owned()).or_default().push(request.body);
    }
    let counts: Vec<usize> = by_delivery.values().map(Vec::len).collect();
    assert!(counts == [2, 4] || counts == [4, 2], "{counts:?}");
    assert!(
        by_delivery.values().all(|bodies| bodies.iter().all(|body| *body == bodies[0])),
        "the same bytes"
    );
    assert_eq!(app.broker.hear(1).await.len(), 1, "only the webhooks are repeated");
}

#[apply(test)]
async fn resend_makes_pending_deliveries_due(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("a@x.example").webhook(&app.receiver.url("/flaky/1"))).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    let waiting = only(list(app, &["--state", "pending"]).await);
    assert_eq!((&waiting["waitsFor"], &waiting["attempts"]), (&json!("retry"), &json!(1)), "{waiting:#}");
    assert!(waiting["waitsUntil"].is_string());
    let table = app.cli(&["delivery", "list"]).await.stdout;
    assert!(table.contains("retry in 59m") || table.contains("retry in 1h"), "{table}");
    assert_eq!(app.json(&["delivery", "resend", &id(&waiting), "--yes"]).await["resent"], 1);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 1).await;
}

#[apply(test)]
async fn resend_skips_deliveries_that_cannot_be_sent(app: &TestApp) {
    app.run(&[]).await;
    let held = app.receiver.url("/held");
    let event = Event::lead("Ada").email("ada@analytical.example");
    let event = event.webhook(&app.receiver.url("/ok")).webhook("https://$nothing.example/").webhook(&held);
    app.broker.publish(&event).await;
    app.webhooks(2).await;
    app.wait_for_rows("webhook_deliveries WHERE state <> 'pending'", 2).await;
    let flying = only(list(app, &["--state", "pending"]).await);
    assert_eq!(flying["waitsFor"], "in_flight", "{flying:#}");
    let invalid = only(list(app, &["--state", "dead"]).await);
    let fine = only(list(app, &["--state", "delivered"]).await);
    let ended = app
        .cli(&["delivery", "resend", &id(&flying), &id(&invalid), &id(&fine), "--yes", "-o", "json"])
        .await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(printed, json!({"resent": 1, "skipped": 2, "reasons": {"in_flight": 1, "invalid": 1}}));
    app.receiver.release();
    app.wait_for_deliveries("delivered", 2).await;
    app.wait_for_rows("all_webhook_attempts", 4).await;
    let contact: Uuid =
        sqlx::query_scalar("SELECT contact_id FROM contacts").fetch_one(&app.pool).await.unwrap();
    app.json(&["contact", "erase", "--company", "acme", &contact.to_string(), "--yes"]).await;
    let ended = app.cli(&["delivery", "resend", &id(&fine), "--yes"]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("1 the person was erased"), "{}", ended.stdout);
}

#[apply(test)]
async fn resend_refuses_ambiguous_arguments(app: &TestApp) {
    three(app).await;
    let id = id(&list(app, &[]).await[0]);
    for arguments in [
        vec!["resend"],
        vec!["resend", "--company", "acme", "--yes"],
        vec!["resend", "--since", "1h", "--yes"],
        vec!["resend", "--state", "dead"],
        vec!["resend", &id],
        vec!["resend", &id, "--state", "dead", "--yes"],
        vec!["resend", &id, "--yes", "--rate", "0"],
        vec!["resend", "--state", "gone", "--yes"],
        vec!["list", "--limit", "0"],
    ] {
        let ended = app.cli(&[&["delivery"], arguments.as_slice()].concat()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
    }
    assert_failed(&app.cli(&["delivery", "resend", UNKNOWN, "--yes"]).await, 1, "there is no delivery");
    let nothing = app.json(&["delivery", "resend", "--state", "superseded", "--yes"]).await;
    assert_eq!(nothing["resent"], 0);
    let dry = app.cli(&["delivery", "resend", "--state", "dead", "--dry-run"]).await;
    assert!(dry.code == Some(0) && dry.stdout.contains("nothing was changed"), "{dry:?}");
    assert_eq!(app.receiver.requests().len(), 3);
}

#[apply(test)]
async fn resend_works_without_a_broker(app: &TestApp) {
    // Without the role that could take the operation from the command.
    app.run(&["upsert", "webhook"]).await;
    app.broker.publish(&Event::lead("Ada").email("a@x.example").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let id = id(&only(list(app, &[]).await));
    let broker = app.setting("amqp.url");
    app.set("amqp.url", "amqp://127.0.0.1:1");
    let ended = app.cli(&["delivery", "resend", &id, "--yes"]).await;
    assert!(ended.code == Some(0) && ended.stderr.contains("could not wake the worker"), "{ended:?}");
    app.set("amqp.url", &broker);
    // The worker polls by itself.
    app.wait_for_rows("all_webhook_attempts", 2).await;
}

#[apply(test)]
async fn resent_older_version_is_superseded_again(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let superseded = "webhook_deliveries WHERE state = 'superseded' AND finished_at IS NOT NULL";
    for (name, rows) in [("Old", "all_webhook_attempts"), ("New", superseded)] {
        app.broker.publish(&Event::lead(name).email("ada@x.example").webhook(&url)).await;
        app.wait_for_rows(rows, 1).await;
    }
    app.wait_for_deliveries("delivered", 1).await;
    let ended = app.cli(&["delivery", "resend", "--state", "superseded", "--yes"]).await;
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "resent 1, skipped 0"));
    assert!(ended.stderr.contains("1 had been superseded"), "{}", ended.stderr);
    app.wait_for_rows(superseded, 1).await;
    assert_eq!(app.receiver.requests().len(), 2);
}

#[apply(test)]
async fn show_lists_the_members_of_a_digest(app: &TestApp) {
    let url = app.receiver.url("/ok");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", digest_window = "1s" }}]"#));
    app.run(&["upsert"]).await;
    let lead = |index| Event::lead("Ada").email(&format!("ada{index}@x.example")).webhook(&url);
    app.broker.publish_all(&(0..10).map(lead).collect::<Vec<_>>()).await;
    app.wait_for_rows("webhook_pending WHERE due_at <= now()", 10).await;
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("pending", 0).await;
    let member = list(app, &["--state", "digested"]).await.pop().expect("a member");
    let digest = member["digestId"].as_str().unwrap();
    let shown = app.json(&["delivery", "show", digest]).await;
    assert!(shown["digestMembers"].as_array().unwrap().contains(&member["id"]), "{shown:#}");
    let text = app.cli(&["delivery", "show", &id(&member)]).await.stdout;
    assert!(text.contains(&format!("sent as part of {digest}")), "{text}");
    let refused = app.cli(&["delivery", "resend", &id(&member), "--yes"]).await;
    assert!(refused.code == Some(3) && refused.stdout.contains("resend that"), "{refused:?}");
}
