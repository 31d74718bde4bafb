//! What strangers, slow clients and failing requests cannot do to others.

use futures_util::future::join_all;
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use super::{get, kind, post, served};
use crate::support::{app::TestApp, event::Event, eventually, http::Ask, test};

/// More than the server has places for.
const MANY: usize = 600;

async fn stranger(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 9], 0).into()).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

#[apply(test)]
async fn probes_are_answered_while_a_stranger_holds_all_connections(app: &TestApp) {
    let process = served(app).await;
    let mut held = Vec::new();
    for _ in 0..MANY {
        held.push(stranger(process.http()).await);
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(process.ask(Ask::get(path)).await.status, 200, "{path}");
    }
    assert_eq!(process.ask(Ask::get("/api/v1/me").token("tok-v")).await.status, 200);
    assert!(process.log().contains("too many connections"), "{}", process.log());
}

#[apply(test)]
async fn open_routes_are_not_stored_and_not_guessed(app: &TestApp) {
    let process = served(app).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = process.ask(Ask::get(path)).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[apply(test)]
async fn guesses_are_logged_counted_and_slowed_but_a_long_token_works(app: &TestApp) {
    let strong = "0123456789abcdef0123456789abcdef";
    app.set("http.tokens", &format!("ada:admin:{strong},vera:viewer:tok-v"));
    let process = app.run(&[]).await;
    assert!(process.log().contains("entry 2: the token is shorter than 16 characters"), "{}", process.log());
    let guess = |number: usize| {
        let token = format!("guess-{number}");
        let process = process.clone();
        async move { process.ask(Ask::get("/api/v1/me").token(&token)).await }
    };
    let answers = join_all((0..300).map(guess)).await;
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(answers.iter().any(|answer| answer.status == 401) && !limited.is_empty());
    assert!(limited.iter().all(|answer| kind(answer) == "too-many-attempts"));
    assert!(limited.iter().all(|answer| answer.header("retry-after") == Some("5")));
    assert_eq!(process.ask(Ask::get("/api/v1/me").token(strong)).await.status, 200);
    let form = process.ask(Ask::form("/sign-in", &[("token", strong)])).await;
    assert_eq!(form.status, 303, "{form:?}");
    let log = process.log();
    assert_eq!(log.matches("a sign-in from 127.0.0.1 failed").count(), 1, "{log}");
    assert!(!log.contains("guess-"), "{log}");
    let metrics = process.ask(Ask::get("/metrics")).await;
    let counted = r#"contact_relay_sign_ins_failed_total{with="bearer"} 300"#;
    assert!(metrics.text().lines().any(|line| line == counted), "{}", metrics.text());
}

#[apply(test)]
async fn key_of_a_request_that_the_database_refused_is_free_again(app: &TestApp) {
    let process = served(app).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let endpoint = get(&process, "tok-v", "/api/v1/endpoints").await["items"][0]["id"].clone();
    let path = format!("/api/v1/endpoints/{}/pause", endpoint.as_str().unwrap());
    let pause = || Ask::post(&path, &json!({})).token("tok-o").header("idempotency-key", "one");
    sql(app, "ALTER TABLE audit_log RENAME TO audit_log_away").await;
    let failed = process.ask(pause()).await;
    assert_eq!(failed.status, 500, "{failed:?}");
    sql(app, "ALTER TABLE audit_log_away RENAME TO audit_log").await;
    let again = process.ask(pause()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, None), "{again:?}");
    assert_eq!(again.json()["changed"], true);
}

#[apply(test)]
async fn resend_that_fails_midway_says_what_became_of_each(app: &TestApp) {
    let process = served(app).await;
    let url = app.receiver.url("/ok");
    let lead = |name: &str| Event::lead(name).email(&format!("{name}@x.example")).webhook(&url);
    app.broker.publish_all(&["a", "b", "c"].map(lead)).await;
    app.wait_for_deliveries("delivered", 3).await;
    let listed = get(&process, "tok-o", "/api/v1/deliveries").await;
    let ids: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    sql(
        app,
        &format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF NEW.object = '{}' THEN RAISE 'refused'; END IF; RETURN NEW; END $$",
            ids[1].as_str().unwrap()
        ),
    )
    .await;
    sql(app, "CREATE TRIGGER refuse BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse()").await;
    let resent = post(&process, "tok-o", "/api/v1/deliveries/resend", &json!({ "ids": ids })).await;
    assert_eq!(resent.status, 200, "{resent:?}");
    let resent = resent.json();
    assert_eq!((&resent["resent"], &resent["failed"]), (&json!(2), &json!(1)), "{resent}");
    let outcomes: Vec<_> =
        resent["results"].as_array().unwrap().iter().map(|one| (&one["id"], &one["outcome"])).collect();
    let (done, failed) = (json!("resent"), json!("failed"));
    assert_eq!(outcomes, [(ids[0], &done), (ids[1], &failed), (ids[2], &done)]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 2).await;
}

/// Pages give up after 3 s.
#[apply(test)]
async fn unmerge_and_erasure_may_take_longer_than_a_page(app: &TestApp) {
    let process = served(app).await;
    let (phone, email) = ("+5511987654321", "bob@x.example");
    let ada = Event::lead("Ada").phone(phone).time("2026-01-01T00:00:00Z");
    let bob = Event::lead("Bob").email(email).time("2026-01-02T00:00:00Z");
    let both = Event::lead("Ada").phone(phone).email(email).time("2026-01-03T00:00:00Z");
    let ids = app.broker.publish_in_turn(&[ada, bob, both]).await;
    app.wait_for_rows("contacts", 1).await;
    sql(
        app,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(3.5); RETURN NEW; END $$",
    )
    .await;
    sql(app, "CREATE TRIGGER slow BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION slow()").await;
    let path = |id: &str, verb: &str| format!("/api/v1/companies/acme/contacts/{id}/{verb}");
    let unmerged = post(&process, "tok-a", &path(&ids[1], "unmerge"), &json!({})).await;
    assert_eq!(unmerged.status, 200, "{unmerged:?}");
    let erased = post(&process, "tok-a", &path(&ids[1], "erase"), &json!({})).await;
    assert_eq!(erased.status, 200, "{erased:?}");
    app.wait_for_rows("contacts", 1).await;
}

#[apply(test)]
async fn history_comes_in_pages(app: &TestApp) {
    let process = served(app).await;
    // Some at the same time, and one merge.
    let of = |number: usize| {
        let time = format!("2026-01-0{}T00:00:00.00000000{}Z", 1 + number / 4, number % 2);
        Event::lead("Ada").phone("+5511987654321").time(&time).id(&format!("e{number}"))
    };
    let other = Event::lead("Ada").email("ada@x.example").time("2026-01-01T00:00:00Z");
    let both = of(9).email("ada@x.example");
    let mut events: Vec<Event> = (0..9).map(of).collect();
    events.extend([other, both]);
    let ids = app.broker.publish_in_turn(&events).await;
    let path = format!("/api/v1/companies/acme/contacts/{}/history", ids[0]);
    let whole = get(&process, "tok-v", &path).await;
    let items = whole["items"].as_array().unwrap();
    assert_eq!((items.len(), &whole["next"]), (12, &Value::Null), "{whole:#}");
    assert_eq!(json!(items), app.json(&["contact", "history", "--company", "acme", &ids[0]]).await);
    let times: Vec<&str> = items.iter().map(|item| item["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    for limit in [1, 2, 5, 11, 12] {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&process, "tok-v", &format!("{path}?limit={limit}{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!((1..=limit).contains(&items.len()), "{limit}: {page:#}");
            paged.extend(items.iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(&paged, items, "{limit}");
    }
    let bad = process.ask(Ask::get(&format!("{path}?cursor=x")).token("tok-v")).await;
    assert_eq!((bad.status, kind(&bad).as_str()), (400, "invalid-request"));
}

/// The database chooses by state, and Rust names the state: both must mean the same.
#[apply(test)]
async fn endpoints_are_filtered_by_state_whatever_page_they_are_on(app: &TestApp) {
    let process = served(app).await;
    // Every combination of what a state depends on.
    sql(
        app,
        "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, paused_at, disabled_at, held_until,
             breaker, failures, failing_since)
         SELECT 'acme', lpad(to_hex(row_number() OVER ()), 32, '0')::uuid, 'https://x.example/' || row_number() OVER (), 1,
             paused, disabled, held, breaker, failures, CASE WHEN failures > 0 THEN now() END
         FROM unnest(ARRAY[NULL, now()]) paused, unnest(ARRAY[NULL, now()]) disabled,
             unnest(ARRAY['epoch', now() - interval '1 hour', now() + interval '1 hour']::timestamptz[]) held,
             unnest(ARRAY['closed', 'open', 'half_open', 'ramp_up']) breaker, unnest(ARRAY[0, 3]) failures
         WHERE held < now() OR breaker <> 'closed' OR failures > 0 OR paused IS NOT NULL OR disabled IS NOT NULL",
    )
    .await;
    let all = get(&process, "tok-v", "/api/v1/endpoints?limit=500").await;
    let all = all["items"].as_array().unwrap();
    let mut found = 0;
    for state in ["open", "paused", "disabled", "held", "breaker_open", "failing"] {
        let expected: Vec<&Value> = all.iter().filter(|one| one["state"] == state).collect();
        assert!(!expected.is_empty(), "{state}");
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            for company in ["", "&company=acme"] {
                let path = format!("/api/v1/endpoints?state={state}&limit=3{company}{cursor}");
                let page = get(&process, "tok-v", &path).await;
                let items = page["items"].as_array().unwrap().clone();
                assert!(!items.is_empty(), "{state}");
                if company.is_empty() {
                    paged.extend(items);
                    continue;
                }
                assert_eq!(items, paged[paged.len() - items.len()..]);
                cursor = page["next"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
            }
            if cursor.is_empty() {
                break;
            }
        }
        let ids = |rows: &[Value]| rows.iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&paged), expected.iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), "{state}");
        found += paged.len();
    }
    assert_eq!(found, all.len());
    let several = get(&process, "tok-v", "/api/v1/endpoints?state=held&state=failing&limit=500").await;
    let expected = all.iter().filter(|one| one["state"] == "held" || one["state"] == "failing").count();
    assert_eq!(several["items"].as_array().unwrap().len(), expected);
    let unknown = process.ask(Ask::get("/api/v1/endpoints?state=x").token("tok-v")).await;
    assert_eq!(unknown.status, 400);
    sql(app, "DELETE FROM webhook_endpoints").await;
}

async fn sql(app: &TestApp, statement: &str) {
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&app.pool).await.unwrap();
}

/// The lag is known although another part of the sample fails.
#[apply(test)]
async fn lag_is_reported_although_other_samples_fail(app: &TestApp) {
    app.set("health.max_lag", "1s");
    let process = app.run(&["console"]).await;
    sql(app, "ALTER TABLE dead_letters RENAME COLUMN last_seen_at TO last_seen_away").await;
    sql(
        app,
        "INSERT INTO effects (company_id, batch, kind, due_at, items, body)
         VALUES ('acme', '00000000-0000-0000-0000-000000000001', 'publish', now() - interval '1 hour', 1, '\\x90')",
    )
    .await;
    eventually("the lag is known", async || {
        let answer = process.get("/readyz").await?;
        (answer.starts_with("HTTP/1.1 503 ") && answer.contains("publish has waited")).then_some(())
    })
    .await;
    sql(app, "DELETE FROM effects").await;
    sql(app, "ALTER TABLE dead_letters RENAME COLUMN last_seen_away TO last_seen_at").await;
}

#[apply(test)]
async fn identity_in_a_message_is_shown_only_to_an_admin_who_asks(app: &TestApp) {
    let process = served(app).await;
    let document = "529.982.247-25";
    let bad = Event::lead("Ada").email("no address").argument("identity", document).id("e");
    app.broker.publish(&bad).await;
    app.broker
        .publish_bytes("trigger.fired", b"{\"identity\": \"529.982.247-25\"", Event::lead("x").properties())
        .await;
    app.wait_for_rows("dead_letters", 2).await;
    let listed = get(&process, "tok-o", "/api/v1/dead-letters?reason=identifier_invalid").await;
    let path = format!("/api/v1/dead-letters/{}", listed["items"][0]["id"].as_str().unwrap());
    for token in ["tok-o", "tok-e", "tok-a"] {
        let shown = get(&process, token, &path).await;
        let body = shown["body"].as_str().unwrap();
        assert!(!shown.to_string().contains("529.982") && body.contains("***-25"), "{body}");
        assert!(body.contains("Ada"), "{body}");
    }
    let listed = get(&process, "tok-o", "/api/v1/dead-letters?reason=undecodable").await;
    let unreadable = format!("/api/v1/dead-letters/{}", listed["items"][0]["id"].as_str().unwrap());
    let shown = get(&process, "tok-a", &unreadable).await;
    assert_eq!((shown.get("body"), &shown["bodyWithheld"]), (None, &json!(true)), "{shown}");
    let reveal = |path: &str| format!("{path}/reveal");
    assert_eq!(post(&process, "tok-e", &reveal(&path), &json!({})).await.status, 403);
    for path in [&path, &unreadable] {
        let revealed = post(&process, "tok-a", &reveal(path), &json!({ "reason": "asked by her" })).await;
        assert!(revealed.status == 200 && revealed.json()["body"].as_str().unwrap().contains(document));
    }
    let audit = get(&process, "tok-v", "/api/v1/audit?action=dead_letter.reveal").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&audit["items"][1]["operator"], &audit["items"][1]["reason"]),
        (&json!("ada"), &json!("asked by her"))
    );
    // An editor corrects the rest, and what is masked stays as it is.
    let shown = get(&process, "tok-e", &path).await;
    let edited = shown["body"].as_str().unwrap().replace("no address", "ada@x.example");
    let sent = post(&process, "tok-e", &format!("{path}/edit"), &json!({ "body": edited })).await;
    assert_eq!((sent.status, &sent.json()["sent"]), (200, &json!(true)), "{sent:?}");
    app.wait_for_rows("contacts WHERE identity = '529.982.247-25'", 1).await;
    let path = format!("/api/v1/dead-letters/{}", sent.json()["id"].as_str().unwrap());
    assert!(!get(&process, "tok-o", &path).await.to_string().contains("529.982"));
}

/// The request of a webhook, and what the receiver makes of it, have the document in notations of their own.
#[apply(test)]
async fn identity_in_a_delivery_is_shown_only_to_an_admin_who_asks(app: &TestApp) {
    app.set("events.include_identity", "true");
    app.set("contacts.default_region", "BR");
    let process = served(app).await;
    let url = app.receiver.url("/ok/$identity");
    let lead = Event::lead("Ada").email("ada@x.example").argument("identity", "52998224725");
    let lead = lead.action(json!({
        "type": "WEBHOOK", "url": url, "method": "POST", "headers": [{ "key": "x-document", "value": "$identity" }],
        "body": { "name": "$name", "cpf": "$identity", "known": "$contact.identity", "text": "CPF $identity of $name" },
    }));
    app.broker.publish(&lead).await;
    app.wait_for_deliveries("delivered", 1).await;
    let listed = get(&process, "tok-o", "/api/v1/deliveries").await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    let (path, endpoint) =
        (format!("/api/v1/deliveries/{id}"), listed["items"][0]["endpointId"].as_str().unwrap().to_owned());
    let leaks =
        |text: &str| ["529.982", "52998224725", "982.247"].into_iter().any(|part| text.contains(part));
    for token in ["tok-v", "tok-o", "tok-e", "tok-a"] {
        for path in [&path, "/api/v1/deliveries", &format!("/api/v1/endpoints/{endpoint}")] {
            let shown = get(&process, token, path).await.to_string();
            assert!(!leaks(&shown), "{path} as {token}: {shown}");
        }
    }
    let shown = get(&process, "tok-o", &path).await.to_string();
    assert!(shown.contains("***-25") && shown.contains("CPF ***725 of Ada"), "{shown}");
    for format in ["table", "json"] {
        let shown = app.cli(&["delivery", "show", id, "-o", format]).await;
        assert!(shown.code == Some(0) && !leaks(&shown.stdout), "{shown:?}");
    }
    let reveal = format!("{path}/reveal");
    assert_eq!(post(&process, "tok-e", &reveal, &json!({})).await.status, 403);
    let revealed = post(&process, "tok-a", &reveal, &json!({ "reason": "asked by her" })).await;
    let request = revealed.json()["request"].clone();
    assert!(request["body"].as_str().unwrap().contains("CPF 52998224725 of Ada"), "{revealed:?}");
    assert!(request["url"].as_str().unwrap().ends_with("52998224725"), "{request}");
    let by_command =
        app.cli(&["delivery", "show", id, "--reveal", "--operator", "grace", "-o", "json"]).await;
    let by_command: Value = serde_json::from_str(&by_command.stdout).unwrap();
    assert_eq!(by_command, revealed.json());
    assert_eq!(app.rows("audit_log WHERE action = 'delivery.reveal' AND operator = 'grace'").await, 1);
    let audit = get(&process, "tok-v", "/api/v1/audit?action=delivery.reveal&operator=ada").await;
    let audit = &audit["items"];
    assert_eq!((audit.as_array().unwrap().len(), &audit[0]["object"]), (1, &json!(id)));
    assert_eq!((&audit[0]["operator"], &audit[0]["reason"]), (&json!("ada"), &json!("asked by her")));
}
