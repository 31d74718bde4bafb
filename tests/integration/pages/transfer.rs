//! Dead letters are downloaded and put back on pages, and deliveries are resent.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{
    browser::{Browser, let_in},
    operations::run,
    with_dead_letters,
};
use crate::support::{app::TestApp, event::Event, only, test};

async fn forget(app: &TestApp) {
    for table in ["dead_letters", "applied_events"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&app.pool).await.unwrap();
    }
}

#[apply(test)]
async fn dead_letters_are_downloaded_looked_at_and_put_back(app: &TestApp) {
    let process = with_dead_letters(app, 55).await;
    let operator = Browser::sign_in(&process, "operate").await;
    assert!(!operator.open("/dead-letters").await.html.contains("/dead-letters/export"));
    let browser = Browser::sign_in(&process, "administer").await;
    let page = browser.open("/dead-letters?company=acme").await;
    assert!(page.html.contains("formaction=\"/dead-letters/export\"") && page.text.contains("Import"));
    let fields = [("csrf", browser.csrf.as_str()), ("company", "acme"), ("matching", "export")];
    let file = browser.send("/dead-letters/export", &fields).await;
    let disposition = file.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.contains("dead-letters.ndjson"), "{disposition}");
    let file = file.text().await.unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 55);
    assert_eq!(app.rows("audit_log WHERE action = 'dead_letter.export' AND via = 'console'").await, 2);
    let before = app.dead_letters().await;
    forget(app).await;
    let text = format!("{file}{{\n");
    let preview =
        browser.submit("/dead-letters/import", &[("lines", &text), ("reason", ""), ("preview", "yes")]).await;
    assert!(preview.text.contains("55can be imported"), "{}", preview.text);
    assert!(preview.text.contains("Line 56 is not as an export writes it"), "{}", preview.text);
    assert!(preview.text.contains("Import 55") && preview.text.contains("Nothing was changed"));
    assert_eq!(app.rows("dead_letters").await, 0);
    let fields = [("lines", text.as_str()), ("reason", "lost"), ("import", "yes")];
    let done = browser.submit("/dead-letters/import", &fields).await;
    assert!(done.text.contains("55imported"), "{}", done.text);
    assert_eq!(app.dead_letters().await, before);
    let imported = "audit_log WHERE action = 'dead_letter.import' AND via = 'console' AND reason = 'lost'";
    assert_eq!(app.rows(imported).await, 55);
    // Only what a form of ours sends is understood.
    for fields in
        [vec![("matching", "replay")], vec![("action", "export")], vec![("matching", "export"), ("x", "1")]]
    {
        let refused = browser.submit("/dead-letters/export", &fields).await;
        assert_eq!(refused.status, 400, "{fields:?}");
    }
}

#[apply(test)]
async fn file_of_dead_letters_is_uploaded(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let browser = Browser::sign_in(&process, "administer").await;
    let fields = [("csrf", browser.csrf.as_str()), ("matching", "export"), ("company", "acme")];
    let file = browser.send("/dead-letters/export", &fields).await.text().await.unwrap();
    let before = app.dead_letters().await;
    forget(app).await;
    // More than a field of a form may have.
    let file = format!("{file}{}\nlast", "x".repeat(3 << 20));
    let (path, csrf) = ("/dead-letters/import/file", [("csrf", browser.csrf.as_str())]);
    let preview = browser.upload(&format!("{path}?preview=yes"), &csrf, &file).await;
    for says in [
        "Nothing was changed yet",
        "3can be imported",
        "Line 4 is not",
        "Line 5 is not",
        "Choose the file again",
    ] {
        assert!(preview.text.contains(says), "{says}: {}", preview.text);
    }
    assert_eq!(app.rows("dead_letters").await, 0);
    let fields = [("csrf", browser.csrf.as_str()), ("reason", "lost")];
    let done = browser.upload(path, &fields, &file).await;
    assert!(done.text.contains("3imported"), "{}", done.text);
    assert_eq!(app.dead_letters().await, before);
    let imported = "audit_log WHERE action = 'dead_letter.import' AND via = 'console' AND reason = 'lost'";
    assert_eq!(app.rows(imported).await, 3);
    for (fields, status) in [
        (&[][..], 403),
        (&[("csrf", "x")], 403),
        (&[csrf[0], csrf[0]], 400),
        (&[csrf[0], ("what", "1")], 400),
        (&[csrf[0], ("reason", &"x".repeat(20_000))], 413),
    ] {
        let refused = browser.upload(path, fields, "x").await;
        assert_eq!(refused.status, status, "{fields:.100?}: {}", refused.text);
    }
    let operator = Browser::sign_in(&process, "operate").await;
    assert_eq!(operator.upload(path, &[("csrf", operator.csrf.as_str())], "x").await.status, 403);
    let elsewhere = browser.upload("/failures/note", &csrf, "x").await;
    assert_eq!(elsewhere.status, 415, "{}", elsewhere.text);
}

#[apply(test)]
async fn all_deliveries_that_match_are_counted_and_then_resent(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let lead = |n: usize, path: &str| {
        Event::lead("Ada").email(&format!("ada{n}@lovelace.dev")).webhook(&app.receiver.url(path))
    };
    app.broker.publish_all(&(0..55).map(|n| lead(n, "/status/404")).collect::<Vec<_>>()).await;
    app.broker.publish(&lead(99, "/ok")).await;
    app.wait_for_deliveries("dead", 55).await;
    app.wait_for_deliveries("delivered", 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let page = browser.open("/deliveries").await;
    assert!(page.text.contains("Resend selected") && !page.text.contains("Resend all that match…"));
    let page = browser.open("/deliveries?state=dead&company=acme").await;
    assert!(page.text.contains("Resend all that match…"), "{}", page.text);
    let since = page.value_of("since").unwrap();
    let ticked = page.value_of("id").unwrap();
    let fields = [
        ("state", "dead"),
        ("company", "acme"),
        ("since", since.as_str()),
        ("id", &ticked),
        ("matching", "resend"),
    ];
    let planned = browser.submit("/deliveries/resend/plan", &fields).await;
    assert!(planned.text.contains("Resend 55 deliveries?"), "{}", planned.text);
    assert!(planned.html.contains("name=\"canary\""));
    let done = run(&browser, &planned, &[("rate", ""), ("reason", "receiver is back")], "done").await;
    assert!(done.text.contains("55done"), "{}", done.text);
    assert_eq!(done.links("/deliveries/").len(), 50);
    app.wait_for_rows("webhook_deliveries WHERE state = 'dead' AND attempts = 2", 55).await;
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 1").await, 1);
    let audited =
        "audit_log WHERE via = 'console' AND reason = 'receiver is back' AND action = 'delivery.resend'";
    assert_eq!(app.rows(audited).await, 55);
    let one =
        browser.submit("/deliveries/resend/plan", &[("id", ticked.as_str()), ("action", "resend")]).await;
    assert!(one.text.contains("Resend 1 delivery?"), "{}", one.text);
    for (fields, says) in [
        (&[("action", "resend")][..], "select at least one"),
        (&[("matching", "resend")], "choose a state first"),
        (&[("matching", "replay"), ("state", "dead")], "expected resend"),
        (&[("matching", "resend"), ("state", "open")], "one of the list"),
    ] {
        let refused = browser.submit("/deliveries/resend/plan", fields).await;
        assert!(refused.status == 400 && refused.text.contains(says), "{says}: {}", refused.text);
    }
}

#[apply(test)]
async fn identity_in_a_request_is_shown_to_an_admin_who_asks(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let lead = Event::lead("Ada").email("ada@lovelace.dev").argument("identity", "529.982.247-25");
    let body = json!({ "cpf": "$identity" });
    let url = app.receiver.url("/ok");
    app.broker
        .publish(&lead.action(json!({ "type": "WEBHOOK", "url": url, "method": "POST", "body": body })))
        .await;
    app.wait_for_deliveries("delivered", 1).await;
    let operator = Browser::sign_in(&process, "operate").await;
    let link = only(operator.open("/deliveries").await.links("/deliveries/"));
    let page = operator.open(&link).await;
    assert!(page.text.contains("***-25") && !page.html.contains("529.982"), "{}", page.text);
    assert!(!page.actions().iter().any(|action| action.contains("/reveal?")));
    let admin = Browser::sign_in(&process, "administer").await;
    let page = admin.open(&link).await;
    assert!(!page.html.contains("529.982"), "{}", page.text);
    let reveal = only(page.actions().into_iter().filter(|action| action.contains("/reveal?")));
    let revealed = admin.submit(&reveal, &[]).await;
    assert!(revealed.text.contains("529.982.247-25"), "{}", revealed.text);
    assert_eq!(app.rows("audit_log WHERE action = 'delivery.reveal' AND via = 'console'").await, 1);
}
