//! Erasure removes everything about a contact and nothing about others, and late events do not restore it.

mod awaited;
mod flood;
mod late;
mod many;
mod notations;
mod queued;
mod resumed;
mod terminal;
mod unpublished;

use contact_relay::domain::event::{EventRef, meaning};
use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{app::TestApp, event::Event, eventually, only, test};

const PHONE: &str = "+5511987654321";
const OTHER_PHONE: &str = "+5585999990001";
const OLD_EMAIL: &str = "ada.byron@old.example";
const EMAIL: &str = "ada.lovelace@analytical.example";
const CPF: &str = "529.982.247-25";

/// Parts of every spelling of the erased identifiers. No other data contains them.
const TRACES: [&str; 8] = [
    "11987654321",
    "987654321",
    "98765-4321",
    "85999990001",
    "ada.byron",
    "ada.lovelace",
    "529.982.247-25",
    "52998224725",
];

/// All but the running processes, whose rows change all the time.
const TABLES: &str = "SELECT tablename::text FROM pg_tables
    WHERE schemaname = 'public' AND tablename NOT IN ('processes', 'rates') ORDER BY 1";

/// Every row of every table as text, those of `globex` separately. Bytes are decoded as well.
async fn dump(app: &TestApp) -> (Vec<String>, Vec<String>) {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&app.pool).await.unwrap();
    let (mut rows, mut of_globex) = (Vec::new(), Vec::new());
    for table in tables {
        let query = format!("SELECT '{table} ' || t::text FROM \"{table}\" t ORDER BY t::text");
        let all: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&app.pool).await.unwrap();
        let (theirs, ours): (Vec<String>, Vec<String>) =
            all.into_iter().partition(|row| row.starts_with(&format!("{table} (globex,")));
        rows.extend(ours.into_iter().map(|row| format!("{}\n{row}", without_hex(&row))));
        of_globex.extend(theirs);
    }
    (rows, of_globex)
}

/// The row with each `\x6162` decoded to text.
fn without_hex(row: &str) -> String {
    let mut parts = row.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        let (hex, rest) = part.split_at(end);
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        text.push_str(&String::from_utf8_lossy(&bytes));
        text.push_str(rest);
    }
    text
}

fn traces(rows: &[String]) -> Vec<&String> {
    let hex = |text: &str| -> String {
        text.bytes()
            .flat_map(|byte| [byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap()))
            .collect()
    };
    let is_trace = |row: &&String| {
        let row = row.to_lowercase();
        TRACES.iter().any(|trace| row.contains(trace) || row.contains(&hex(trace)))
            || row.contains("ada\\u002ebyron")
    };
    rows.iter().filter(is_trace).collect()
}

fn assert_no_trace(rows: &[String]) {
    let traces = traces(rows);
    assert!(traces.is_empty(), "{traces:#?}");
}

/// The id of the contact with this email.
async fn contact_id(app: &TestApp, company: &str, email: &str) -> String {
    eventually("the contact is there", async || {
        let found = app.cli(&["contact", "find", "--company", company, "--email", email, "-o", "json"]).await;
        let found: Value = serde_json::from_str(&found.stdout).ok()?;
        found[0]["id"].as_str().map(str::to_owned)
    })
    .await
}

async fn erase(app: &TestApp, id: &str) -> Value {
    app.json(&["contact", "erase", "--company", "acme", id, "--yes", "--operator", "grace"]).await
}

/// Events of one company about Ada, with every possible outcome, and about Grace.
fn history(app: &TestApp, company: &str) -> Vec<Event> {
    let webhook = |path: &str| app.receiver.url(path);
    let ada = || Event::lead("Ada").company(company);
    let source = format!("/companies/{company}/wa-5511987654321");
    let bare = |url: &str| Event::bare().company(company).email(OLD_EMAIL).webhook(url);
    vec![
        ada()
            .with("/source", source.into())
            .with("/data/session/id", "session of +55 11 98765-4321".into())
            .phone("(11) 98765-4321")
            .email(OLD_EMAIL)
            .argument("identity", CPF)
            .time("2026-01-01T00:00:00Z")
            .webhook(&webhook("/ok")),
        ada().id("5585999990001-1").phone(OTHER_PHONE).time("2026-01-02T00:00:00Z"),
        // This one has a result.
        ada()
            .with("/data/trigger/interpretResponse", true.into())
            .with("/data/session/id", "session of +55 11 98765-4321".into())
            .phone(PHONE)
            .email(EMAIL)
            .time("2026-01-03T00:00:00Z")
            .webhook(&webhook("/status/503")),
        ada().phone(OTHER_PHONE).email(EMAIL).time("2026-01-04T00:00:00Z").webhook(&webhook("/status/404")),
        // Without a contact, because it has no CRM step.
        bare(&webhook("/ok?email=$email")).id("5511987654321 said").phone(PHONE),
        bare(&webhook("/ok?email=$email")).email("grace@navy.example"),
        // Dead letters.
        ada().email(&OLD_EMAIL.to_uppercase()).with("/data/trigger/parameters/required", json!(["interest"])),
        ada().email("grace@navy.example").with("/data/trigger/parameters/required", json!(["interest"])),
        Event::lead("Grace").company(company).email("grace@navy.example").webhook(&webhook("/ok")),
    ]
}

/// Publishes events one at a time, in the order in which they must be applied.
async fn publish_in_turn(app: &TestApp, events: &[Event]) {
    for event in events {
        app.broker.publish(event).await;
        let (company, id) = (event.text("/data/company/id"), event.event_id());
        let key = EventRef::new(event.text("/source"), id).unwrap().key();
        eventually("the event is done", async || {
            let query =
                "SELECT (SELECT count(*) FROM applied_events WHERE company_id = $1 AND event_key = $3)
                 + (SELECT count(*) FROM dead_letters WHERE company_id = $1 AND event_id = $2)";
            let done: i64 = sqlx::query_scalar(query)
                .bind(company)
                .bind(id)
                .bind(key)
                .fetch_one(&app.pool)
                .await
                .unwrap();
            (done > 0).then_some(())
        })
        .await;
    }
}

#[apply(test)]
async fn erasure_leaves_no_trace(app: &TestApp) {
    // After one failure, a delivery stays pending to the end of the test.
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    for company in ["acme", "globex"] {
        publish_in_turn(app, &history(app, company)).await;
    }
    let escaped = br#"{"x": "ada\u002ebyron\u0040old.example""#;
    app.broker.publish_bytes("trigger.fired", escaped, BasicProperties::default()).await;
    app.broker.publish_bytes("trigger.fired", b"Grace {", BasicProperties::default()).await;
    // In each company: three webhooks of Ada, hers without a contact, and two of Grace.
    app.wait_for_rows("all_webhook_attempts", 12).await;
    app.wait_for_rows("dead_letters", 8).await;
    app.queues_are_empty().await;
    app.wait_for_unpublished(0).await;
    let id = contact_id(app, "acme", EMAIL).await;
    let loser: Uuid = sqlx::query_scalar("SELECT alias_id FROM contact_aliases WHERE company_id = 'acme'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let link =
        "INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, source, event_id, step)
         SELECT company_id, gen_random_uuid(), 'merged', contact_id, alias_id, '/s', 'wa-5511987654321', 1
         FROM contact_aliases";
    sqlx::query(link).execute(&app.pool).await.unwrap();
    // An event may name an identifier of another contact, which keeps it.
    let named = r#"UPDATE trigger_events SET fields = fields::jsonb || '{"email": "grace@navy.example"}'
        WHERE company_id = 'acme' AND event_id = '5585999990001-1'"#;
    sqlx::query(named).execute(&app.pool).await.unwrap();
    let before = dump(app).await;
    assert!(traces(&before.0).len() > 10, "{:#?}", before.0);

    let dry = ["contact", "erase", "--company", "acme", &loser.to_string(), "--dry-run"];
    let planned = app.json(&dry).await;
    assert_eq!(dump(app).await, before, "a dry run changes nothing");
    let report = erase(app, &loser.to_string()).await;
    let removed = json!({
        "contacts": 1, "identifiers": 4, "aliases": 1, "ledgerEvents": 4, "deliveries": 4, "attempts": 4,
        "outboxMessages": 0, "deadLetters": 3, "suppressedKeys": 4,
    });
    assert_eq!((&report["removed"], &planned["removed"]), (&removed, &removed));
    assert_eq!((&report["contactId"], &report["mergedContactIds"]), (&json!(id), &json!([loser])));
    assert_eq!((&report["dryRun"], &planned["dryRun"]), (&json!(false), &json!(true)));

    let (rows, of_globex) = dump(app).await;
    assert_no_trace(&rows);
    assert_eq!(of_globex, before.1, "another company's same person is untouched");
    assert_others_and_proofs_stay(app).await;
    assert_published_once(app, &id, &loser).await;
    for id in [id, loser.to_string()] {
        let again = erase(app, &id).await;
        assert_eq!((&again["alreadyErased"], &again["removed"]["contacts"]), (&json!(true), &json!(0)));
        assert_eq!(again["erasedAt"], report["erasedAt"]);
    }
    app.assert_settled().await;
    assert_no_trace(&dump(app).await.0);
}

async fn assert_others_and_proofs_stay(app: &TestApp) {
    for (rows, expected) in [
        ("contacts WHERE company_id = 'acme' AND email = 'grace@navy.example'", 1),
        ("dead_letters WHERE company_id IN ('acme', '')", 2),
        ("webhook_deliveries WHERE company_id = 'acme' AND url <> ''", 2),
        ("all_webhook_attempts WHERE company_id = 'acme'", 2),
        ("applied_events WHERE company_id = 'acme' AND meaning IS NOT NULL", 7),
        ("applied_events WHERE company_id = 'acme' AND meaning IS NULL", 1),
        ("applied_events WHERE company_id = 'acme' AND erased", 4),
        ("trigger_events WHERE company_id = 'acme'", 1),
        ("webhook_deliveries WHERE company_id = 'acme' AND url = '' AND body IS NULL", 4),
        ("webhook_deliveries WHERE company_id = 'acme' AND state = 'discarded'", 2),
        ("webhook_deliveries WHERE company_id = 'acme' AND state = 'pending'", 0),
        ("contact_erasures WHERE company_id = 'acme' AND operator = 'grace'", 2),
        ("suppressions WHERE company_id <> 'acme'", 0),
        ("contact_identifiers WHERE company_id = 'acme'", 1),
    ] {
        assert_eq!(app.rows(rows).await, expected, "{rows}");
    }
}

async fn assert_published_once(app: &TestApp, id: &str, loser: &Uuid) {
    let heard = eventually("contact.erased is heard", async || {
        let heard = app.broker.heard().await;
        let heard: Vec<_> = heard.into_iter().filter(|heard| heard.at("/type") == "contact.erased").collect();
        (!heard.is_empty()).then_some(heard)
    })
    .await;
    let erased = only(heard);
    assert_eq!((erased.routing_key.as_str(), erased.at("/subject")), ("contact.erased", &json!(id)));
    let data = erased.at("/data");
    assert_eq!(data["contact"], json!({"id": id, "companyId": "acme"}));
    assert_eq!(data["mergedContactIds"], json!([loser]));
    assert_eq!(data.as_object().unwrap().len(), 3, "{data}");
    assert_eq!(data["erasedAt"], *erased.at("/time"));
    assert_no_trace(&[erased.body.to_string()]);
}

/// Events of Grace that also named Ada: one while the policy kept the two apart, and two that an unmerge assigned to
/// Grace. Their webhooks were sent with both identifiers.
#[apply(test)]
async fn erasure_removes_mentions_in_other_events(app: &TestApp) {
    app.set("contacts.on_conflict", "prefer_phone");
    let service = app.run(&[]).await;
    let grace = || Event::lead("Grace").phone("+5511900000001");
    let both = || grace().email(EMAIL).webhook(&app.receiver.url("/ok?email=$email"));
    let ids = app.broker.publish_in_turn(&[grace(), Event::lead("Ada").email(EMAIL), both()]).await;
    service.sigterm();
    assert!(service.ended().await.success());
    app.set("contacts.on_conflict", "merge");
    app.run(&[]).await;
    app.broker.publish_in_turn(&[both(), both()]).await;
    app.wait_for_rows("all_webhook_attempts", 3).await;
    app.wait_for_unpublished(0).await;
    app.json(&["contact", "unmerge", "--company", "acme", &ids[1], "--operator", "grace"]).await;
    app.wait_for_unpublished(0).await;
    let report = erase(app, &ids[1]).await;
    assert_eq!(report["removed"]["deliveries"], 3);
    assert_no_trace(&dump(app).await.0);
    assert_eq!(app.rows("contacts WHERE name = 'Grace'").await, 1);
}

/// A request cannot be recalled, but its answer is not stored, and it is not sent again.
#[apply(test)]
async fn webhook_in_flight_is_not_recorded(app: &TestApp) {
    let service = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL).webhook(&app.receiver.url("/held"))).await;
    app.webhooks(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    let report = erase(app, &id).await;
    assert_eq!((&report["removed"]["deliveries"], &report["removed"]["attempts"]), (&json!(1), &json!(0)));
    app.receiver.release();
    let is_late = async || service.log().contains("changed while it was sent").then_some(());
    eventually("the answer comes too late", is_late).await;
    assert_eq!(app.rows("webhook_deliveries").await, 0);
    assert_eq!(app.rows("all_webhook_attempts").await, 0);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_no_trace(&dump(app).await.0);
    assert_eq!(app.receiver.requests().len(), 1);
}

#[apply(test)]
async fn erase_refuses_unknown_contacts(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    let unknown = Uuid::now_v7().to_string();
    for (company, id, more, code, why) in [
        ("acme", id.as_str(), ["--operator", ""].as_slice(), 2, "--operator must be a name"),
        ("acme", &unknown, &["--yes", "--operator", "grace"], 1, "there is no such contact"),
        ("acme", &unknown, &["--dry-run"], 1, "there is no such contact"),
        ("globex", &id, &["--yes", "--operator", "grace"], 1, "there is no such contact"),
    ] {
        let ended = app.cli(&[&["contact", "erase", "--company", company, id], more].concat()).await;
        assert_eq!(ended.code, Some(code), "{more:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(why), "{more:?}: {}", ended.stderr);
    }
    assert_eq!(app.rows("contacts").await, 1);
    // Without a terminal there is no confirmation.
    let table = app.cli(&["contact", "erase", "--company", "acme", &id]).await;
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    assert!(table.stdout.contains("suppressed keys") && !table.stdout.contains("ada."), "{}", table.stdout);
}

/// Stores a message as a dead letter of this company, as if no search had found it.
async fn insert_dead_letter(app: &TestApp, company: &str, body: &[u8]) {
    let letter = "INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key,
            properties, signature)
        VALUES ($1, gen_random_uuid(), 'upsert', '', '', $2, $3, '', '{}', '')";
    let letter = sqlx::query(letter).bind(company).bind(meaning(body)).bind(body);
    letter.execute(&app.pool).await.unwrap();
}

/// Erases a contact, and cancels the statement with which that waits for a lock.
async fn interrupt_erasure(app: &TestApp, id: &str) {
    app.set("postgres.statement_timeout", "1h");
    let cancel = async {
        app.wait_for_blocked_sessions(1).await;
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query(cancel).execute(&app.pool).await.unwrap();
    };
    let erase_it = ["contact", "erase", "--company", "acme", id, "--yes", "--operator", "grace"];
    let (ended, ()) = tokio::join!(app.cli(&erase_it), cancel);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("erase it again to finish"), "{}", ended.stderr);
}

/// Dependent rows are removed first, while the contact still has the identifiers to search for.
#[apply(test)]
async fn interrupted_erasure_is_finished(app: &TestApp) {
    app.run(&[]).await;
    let bad = Event::lead("Ada").email(EMAIL).with("/data/trigger/parameters/required", json!(["interest"]));
    app.broker.publish_all(&[bad, Event::lead("Ada").email(EMAIL)]).await;
    app.broker.hear(1).await;
    app.wait_for_rows("dead_letters", 1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    // The transaction that removes the contact waits for this one and is canceled.
    let mut transaction = app.pool.begin().await.unwrap();
    let key = "INSERT INTO suppression_keys (company_id, key, last_erased_at) VALUES ('acme', 'key', now())";
    sqlx::query(key).execute(&mut *transaction).await.unwrap();
    interrupt_erasure(app, &id).await;
    transaction.rollback().await.unwrap();
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(app.rows("contacts").await, 1);
    let report = erase(app, &id).await;
    assert_eq!((&report["removed"]["contacts"], &report["removed"]["deadLetters"]), (&json!(1), &json!(0)));
    assert_no_trace(&dump(app).await.0);
}
