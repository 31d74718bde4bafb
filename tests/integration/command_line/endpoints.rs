//! `endpoint list|show|pause|resume|enable|test`, and their effect on pending deliveries.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::assert_failed;
use crate::support::{app::TestApp, event::Event, only, test};

async fn list(app: &TestApp, filters: &[&str]) -> Vec<Value> {
    let rows = app.json(&[&["endpoint", "list"], filters].concat()).await;
    rows.as_array().expect("a list").clone()
}

async fn change(app: &TestApp, statement: &'static str) {
    assert_eq!(sqlx::query(statement).execute(&app.pool).await.unwrap().rows_affected(), 1, "{statement}");
}

/// Endpoints `/ok` of companies acme and b, each with a delivered delivery.
async fn two(app: &TestApp) -> String {
    app.run(&[]).await;
    let url = app.receiver.url("/ok");
    app.broker
        .publish(&Event::lead("Ada").email("ada@x.example").webhook(&format!("{url}?name=$name")))
        .await;
    app.broker.publish(&Event::lead("Bob").email("bob@x.example").company("b").webhook(&url)).await;
    app.wait_for_deliveries("delivered", 2).await;
    url
}

#[apply(test)]
async fn list_and_show_print_endpoints(app: &TestApp) {
    let url = two(app).await;
    let rows = list(app, &[]).await;
    assert_eq!(rows.iter().map(|row| row["company"].as_str().unwrap()).collect::<Vec<_>>(), ["acme", "b"]);
    assert!(rows.iter().all(|row| row["url"] == json!(url) && row["state"] == "open" && row["waiting"] == 0));
    let acme = only(list(app, &["--company", "acme"]).await);
    let id = acme["id"].as_str().unwrap();
    for (name, company) in [(id, None), (&id[..4], Some("acme")), (&id[..8], None), (&url[..], Some("acme"))]
    {
        let company = company.map(|company| vec!["--company", company]).unwrap_or_default();
        let shown = app.json(&[&["endpoint", "show", name], company.as_slice()].concat()).await;
        assert_eq!((&shown["id"], &shown["deliveriesOfTheDay"]), (&acme["id"], &json!({"delivered": 1})));
        let attempt = only(shown["lastAttempts"].as_array().unwrap());
        assert_eq!((&attempt["class"], &attempt["status"]), (&json!("delivered"), &json!(200)));
        let settings = &shown["settings"];
        assert_eq!((&settings["profile"], &settings["signing"]), (&json!("plain"), &json!([])));
        assert_eq!(settings["retryScheduleMs"], json!([100, 200]));
    }
    for format in ["table", "json", "ndjson"] {
        for arguments in [vec!["list"], vec!["show", id]] {
            let arguments = [&["endpoint"], arguments.as_slice(), &["-o", format]].concat();
            let ended = app.cli(&arguments).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        }
    }
    assert_eq!(app.cli(&["endpoint", "list", "-o", "ndjson"]).await.stdout.lines().count(), 2);
    for command in ["show", "pause", "resume", "enable"] {
        let ended = |arguments: Vec<&'static str>| async move {
            app.cli(&[&["endpoint", command], arguments.as_slice()].concat()).await
        };
        assert_failed(&ended(vec!["https://nobody.example/"]).await, 1, "there is no such endpoint");
        assert_failed(&ended(vec!["00000000"]).await, 1, "there is no such endpoint");
        assert_failed(&ended(vec!["abc"]).await, 2, "no endpoint matches");
        assert_failed(&app.cli(&["endpoint", command, &url]).await, 1, "matches several endpoints");
        let other = app.cli(&["endpoint", command, id, "--company", "b"]).await;
        assert_failed(&other, 1, "there is no such endpoint");
    }
    assert_eq!(app.cli(&["endpoint", "list", "--state", "closed"]).await.code, Some(2));
}

#[apply(test)]
async fn list_shows_the_state_in_one_word(app: &TestApp) {
    two(app).await;
    for (statement, state) in [
        ("UPDATE webhook_endpoints SET failures = 1 WHERE company_id = 'b'", "failing"),
        (
            "UPDATE webhook_endpoints SET held_until = now() + interval '1 hour' WHERE company_id = 'b'",
            "held",
        ),
        (
            "UPDATE webhook_endpoints SET breaker = 'open', held_until = 'epoch' WHERE company_id = 'b'",
            "breaker_open",
        ),
        ("UPDATE webhook_endpoints SET disabled_at = now() WHERE company_id = 'b'", "disabled"),
        ("UPDATE webhook_endpoints SET paused_at = now() WHERE company_id = 'b'", "paused"),
    ] {
        change(app, statement).await;
        let rows = list(app, &["--state", state]).await;
        assert_eq!(only(rows)["company"], "b", "{state}");
        assert_eq!(only(list(app, &["--state", "open"]).await)["company"], "acme");
    }
    assert_eq!(list(app, &["--state", "open", "--state", "paused"]).await.len(), 2);
}

#[apply(test)]
async fn pause_resume_and_enable_change_the_lane(app: &TestApp) {
    let url = two(app).await;
    let one = ["--company", "b"];
    let run = async |command: &str, options: &[&str]| {
        let arguments = [&["endpoint", command, &url], one.as_slice(), options].concat();
        app.json(&arguments).await
    };
    let paused = run("pause", &["--operator", "ada"]).await;
    assert_eq!(
        (&paused["changed"], &paused["state"], &paused["pausedBy"]),
        (&json!(true), &json!("paused"), &json!("ada"))
    );
    let again = run("pause", &["--operator", "bob"]).await;
    assert_eq!((&again["changed"], &again["pausedBy"]), (&json!(false), &json!("ada")), "still hers");
    let text = app.cli(&["endpoint", "pause", &url, "--company", "b"]).await.stdout;
    assert!(text.contains("has been paused since") && text.contains("by ada"), "{text}");
    let enabled = run("enable", &[]).await;
    assert_eq!((&enabled["changed"], &enabled["state"]), (&json!(false), &json!("paused")));
    change(
        app,
        "UPDATE webhook_endpoints SET disabled_at = now(), disabled_because = 'the receiver answered 410',
             breaker = 'open', breaker_until = now() + interval '1 hour', openings = 3, failures = 12,
             failing_since = now(), held_until = now() + interval '1 hour' WHERE company_id = 'b'",
    )
    .await;
    let resumed = run("resume", &[]).await;
    let because = json!("the receiver answered 410");
    assert_eq!(
        (&resumed["changed"], &resumed["state"], &resumed["disabledBecause"]),
        (&json!(true), &json!("disabled"), &because)
    );
    assert_eq!(run("resume", &[]).await["changed"], false);
    let enabled = run("enable", &[]).await;
    assert_eq!((&enabled["changed"], &enabled["state"]), (&json!(true), &json!("open")), "{enabled:#}");
    assert_eq!((&enabled["failures"], &enabled["breaker"]), (&json!(0), &json!("closed")));
    let untouched = "webhook_endpoints WHERE company_id = 'b' AND openings = 0
        AND paused_by IS NULL AND disabled_because IS NULL AND breaker_until = 'epoch'";
    assert_eq!(app.rows(untouched).await, 1);
    for operator in ["", "a\nb"] {
        let refused = app.cli(&["endpoint", "pause", &url, "--company", "b", "--operator", operator]).await;
        assert_failed(&refused, 2, "--operator");
    }
    assert_eq!(list(app, &["--state", "open"]).await.len(), 2);
}

#[apply(test)]
async fn show_prints_the_settings_of_the_endpoint(app: &TestApp) {
    let shared = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (seed, public) = (
        "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
        "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    );
    let (next_seed, next_public) = (
        "whsk_TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=",
        "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
    );
    let rules = json!([{
        "url": app.receiver.url("/ok"), "company": "b", "rate": "30/m", "timeout": "5s", "retry_schedule": ["1m", "90s"],
        "signing_secrets": [seed, shared, next_seed], "newest_only": true, "max_in_flight": 3,
    }]);
    // A list of inline tables, as TOML writes it.
    let rules = rules.to_string().replace("\":", "\" = ");
    app.set("webhook.endpoints", &rules);
    let url = two(app).await;
    let shown = app.json(&["endpoint", "show", &url, "--company", "b"]).await;
    let expected = json!({
        "profile": "plain", "maxInFlight": 3, "sendIntervalMs": 2000, "timeoutMs": 5000,
        "retryScheduleMs": [60_000, 90_000], "retryStatuses": [], "deadStatuses": [],
        "signing": [
            { "version": "v1a", "publicKey": public },
            { "version": "v1", "publicKey": null },
            { "version": "v1a", "publicKey": next_public },
        ],
        "newestOnly": true, "digestWindowMs": null, "caFile": null, "clientCertificateFile": null,
    });
    assert_eq!(shown["settings"], expected);
    let text = app.cli(&["endpoint", "show", &url, "--company", "b"]).await.stdout;
    assert!(text.contains("one in 2s") && text.contains("1m, 1m 30s"), "{text}");
    let line = |text: &str| format!("{:<15}{text}", "signing");
    let [first, then, last] = [&format!("v1a {public}"), "v1", &format!("v1a {next_public}")].map(line);
    assert!(text.contains(&format!("\n{first}\n{then}\n{last}\n")), "{text}");
    for text in [&text, &shown.to_string()] {
        for secret in [shared, seed, next_seed] {
            assert!(!text.contains(secret.split_once('_').unwrap().1), "{text}");
        }
    }
    let other = app.cli(&["endpoint", "show", &url, "--company", "acme"]).await.stdout;
    assert!(other.contains(&line("none")), "{other}");
}

#[apply(test)]
async fn paused_endpoint_receives_nothing(app: &TestApp) {
    let url = two(app).await;
    app.json(&["endpoint", "pause", &url, "--company", "acme", "--operator", "ada"]).await;
    for name in ["Grace", "Edsger"] {
        app.broker.publish(&Event::lead(name).email("ada@x.example").webhook(&url)).await;
        // The same URL in another company is another endpoint.
        app.broker.publish(&Event::lead(name).email("ada@x.example").company("b").webhook(&url)).await;
    }
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND company_id = 'b'", 3).await;
    app.wait_for_rows("webhook_deliveries WHERE state = 'pending' AND company_id = 'acme'", 2).await;
    let acme = only(list(app, &["--state", "paused"]).await);
    assert_eq!((&acme["waiting"], &acme["due"], &acme["pausedBy"]), (&json!(2), &json!(2), &json!("ada")));
    assert!(acme["oldestDueAt"].is_string() && acme["since"].is_string());
    let waiting = app.json(&["delivery", "list", "--state", "pending"]).await;
    assert!(
        waiting.as_array().unwrap().iter().all(|row| row["waitsFor"] == "endpoint_paused"),
        "{waiting:#}"
    );
    // Due at once, but behind a closed lane.
    let resent = app.json(&["delivery", "resend", "--state", "pending", "--yes"]).await;
    assert_eq!(resent["resent"], 2);
    app.queues_are_empty().await;
    assert_eq!(app.receiver.requests().len(), 4);
    let resumed = app.cli(&["endpoint", "resume", &url, "--company", "acme"]).await;
    assert!(resumed.stdout.contains("sending 2 deliveries"), "{resumed:?}");
    app.webhooks(6).await;
    app.wait_for_deliveries("delivered", 6).await;
}

#[apply(test)]
async fn enable_resumes_an_endpoint_that_was_gone(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/status/410");
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&url)).await;
    app.wait_for_rows("webhook_endpoints WHERE disabled_at IS NOT NULL", 1).await;
    let gone = only(list(app, &["--state", "disabled"]).await);
    assert!(gone["disabledBecause"].as_str().unwrap().contains("410"), "{gone:#}");
    assert!(gone["lastSuccessAt"].is_null() && gone["lastFailureAt"].is_string(), "{gone:#}");
    app.broker.publish(&Event::lead("Bob").email("bob@x.example").webhook(&url)).await;
    app.wait_for_rows("webhook_deliveries WHERE created_at > now() - interval '1 day'", 2).await;
    let before = app.receiver.requests().len();
    let parked = app.json(&["delivery", "list", "--state", "pending"]).await;
    assert!(!parked.as_array().unwrap().is_empty());
    assert!(
        parked.as_array().unwrap().iter().all(|row| row["waitsFor"] == "endpoint_disabled"),
        "{parked:#}"
    );
    let enabled = app.json(&["endpoint", "enable", &url]).await;
    assert_eq!((&enabled["changed"], &enabled["state"]), (&json!(true), &json!("open")));
    // It gets another request and is still gone.
    app.webhooks(before + 1).await;
    app.wait_for_rows("webhook_endpoints WHERE disabled_at IS NOT NULL", 1).await;
}

#[apply(test)]
async fn test_sends_a_request_and_records_nothing(app: &TestApp) {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    app.set("webhook.signing_secrets", secret);
    let url = two(app).await;
    app.json(&["endpoint", "pause", &url, "--company", "acme"]).await;
    let tested = app.json(&["endpoint", "test", &url, "--company", "acme"]).await;
    let attempt = &tested["attempt"];
    assert_eq!(
        (&attempt["class"], &attempt["status"], &attempt["responseBody"]),
        (&json!("delivered"), &json!(200), &json!("received"))
    );
    let sent = app.webhooks(3).await.pop().unwrap();
    let event = sent.json().unwrap();
    assert_eq!(
        (&event["type"], &event["data"]["company"]["id"]),
        (&json!("contact-relay.test"), &json!("acme"))
    );
    assert_eq!(sent.header("webhook-id"), event["id"].as_str());
    assert!(sent.header("webhook-signature").is_some_and(|signature| signature.starts_with("v1,")));
    let failed = app.cli(&["endpoint", "test", &app.receiver.url("/status/503?a=b"), "-o", "json"]).await;
    let printed: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!((failed.code, &printed["attempt"]["status"]), (Some(1), &json!(503)), "{}", failed.stderr);
    assert!(!failed.stdout.contains(secret));
    let text = app.cli(&["endpoint", "test", &app.receiver.url("/new")]).await;
    assert!(text.code == Some(0) && text.stdout.contains("delivered 200"), "{text:?}");
    assert_failed(&app.cli(&["endpoint", "test", "https://x.example/$name"]).await, 2, "variables");
    assert_failed(&app.cli(&["endpoint", "test", "00000000"]).await, 1, "there is no such endpoint");
    assert_failed(&app.cli(&["endpoint", "test", &url]).await, 1, "matches several endpoints");
    app.set("webhook.allowed_networks", "");
    let blocked = app.cli(&["endpoint", "test", &url, "--company", "b", "-o", "json"]).await;
    let printed: Value = serde_json::from_str(&blocked.stdout).unwrap();
    assert_eq!((blocked.code, &printed["attempt"]["class"]), (Some(1), &json!("blocked")), "{printed:#}");
    assert_eq!(app.receiver.requests().len(), 5);
    assert_eq!(app.rows("all_webhook_attempts").await, 2);
    assert_eq!(app.rows("webhook_endpoints").await, 2);
}
