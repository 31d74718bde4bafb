//! Who changes something on a page can say why, and the audit keeps it.

use macro_rules_attribute::apply;
use serde_json::json;

use super::{
    broken,
    browser::{Browser, Page, let_in},
};
use crate::support::{app::TestApp, event::Event, only, test};

const DOCUMENT: &str = "529.982.247-25";

fn action(page: &Page, verb: &str) -> String {
    only(page.actions().into_iter().filter(|action| action.contains(verb)))
}

async fn recorded(app: &TestApp, action: &str) -> i64 {
    let rows = format!("audit_log WHERE via = 'console' AND action = '{action}' AND reason = 'for {action}'");
    app.rows(&rows).await
}

#[apply(test)]
async fn every_change_on_a_page_has_a_reason(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let webhook = json!({ "type": "WEBHOOK", "url": app.receiver.url("/status/404"), "method": "POST",
        "body": { "document": "$identity" } });
    let lead = Event::lead("Ada").email("ada@lovelace.dev").argument("identity", DOCUMENT);
    app.broker.publish(&lead.action(webhook)).await;
    app.wait_for_deliveries("dead", 1).await;
    app.broker.publish(&broken("Nobody").argument("identity", DOCUMENT)).await;
    app.wait_for_rows("dead_letters", 2).await;
    let browser = Browser::sign_in(&process, "administer").await;
    let letter = only(browser.open("/dead-letters?reason=identifier_invalid").await.links("/dead-letters/0"));
    let delivery = only(browser.open("/deliveries").await.links("/deliveries/"));
    let endpoint = only(browser.open("/endpoints").await.links("/endpoints/"));
    let found = browser.submit("/contacts", &[("company", "acme"), ("email", "ada@lovelace.dev")]).await;
    let contact = only(found.links("/contacts/"));
    for (path, verb, name) in [
        (&letter, "/reveal?", "dead_letter.reveal"),
        (&delivery, "/reveal?", "delivery.reveal"),
        (&contact, "/reveal?", "contact.reveal"),
        (&endpoint, "/pause?", "endpoint.pause"),
        (&endpoint, "/resume?", "endpoint.resume"),
        (&endpoint, "/test?", "endpoint.test"),
        (&delivery, "/resend?", "delivery.resend"),
    ] {
        let page = browser.open(path).await;
        let action = action(&page, verb);
        assert!(page.fields_of(&action).contains(&"reason".to_owned()), "{path}: {action}");
        let long = "x".repeat(501);
        assert_eq!(browser.submit(&action, &[("reason", &long)]).await.status, 400, "{action}");
        assert_eq!(recorded(app, name).await, 0);
        browser.submit(&action, &[("reason", &format!("for {name}"))]).await;
        assert_eq!(recorded(app, name).await, 1, "{action}");
    }
    let page = browser.open("/dead-letters").await;
    let export = "/dead-letters/export";
    // `reason` is one of its filters.
    assert!(page.fields_of(export).contains(&"because".to_owned()));
    let fields =
        [("csrf", browser.csrf.as_str()), ("matching", "export"), ("because", "for dead_letter.export")];
    let file = browser.send(export, &fields).await.text().await.unwrap();
    assert!(file.contains("identifier_invalid"), "{file}");
    assert!(recorded(app, "dead_letter.export").await > 0);
    let planned = browser.submit("/operations/plan", &[("matching", "discard")]).await;
    let cancel = action(&planned, "/cancel");
    assert!(planned.fields_of(&cancel).contains(&"reason".to_owned()));
    browser.submit(&cancel, &[("reason", "for operation.cancel")]).await;
    assert_eq!(recorded(app, "operation.cancel").await, 1);
}

/// An endpoint that is both is enabled without being resumed.
#[apply(test)]
async fn paused_endpoint_that_is_gone_can_be_enabled(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let lead = Event::lead("Ada").email("ada@lovelace.dev").webhook(&app.receiver.url("/status/410"));
    app.broker.publish(&lead).await;
    app.wait_for_rows("webhook_endpoints WHERE disabled_at IS NOT NULL", 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let endpoint = only(browser.open("/endpoints?state=trouble").await.links("/endpoints/"));
    let page = browser.open(&endpoint).await;
    let paused = browser.submit(&action(&page, "/pause?"), &[]).await;
    assert!(paused.text.contains("Paused by") && paused.text.contains("Enable"), "{}", paused.text);
    let enabled = browser.submit(&action(&paused, "/enable?"), &[]).await;
    assert!(enabled.text.contains("The endpoint is enabled"), "{}", enabled.text);
    app.wait_for_rows("webhook_endpoints WHERE disabled_at IS NULL AND paused_at IS NOT NULL", 1).await;
}

/// A refused form leads back to where it was.
#[apply(test)]
async fn refused_form_has_the_frame_and_a_way_back(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let refused = browser.submit("/operations/plan", &[("action", "purge")]).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("Nothing was changed.") && refused.text.contains("Signed in as"));
    assert!(refused.links("/dead-letters?state=open").len() == 1, "{}", refused.html);
    let forbidden = browser.get("/dead-letters/import").await;
    assert_eq!(forbidden.status, 403);
    assert!(forbidden.text.contains("Signed in as") && !forbidden.text.contains("Nothing was changed."));
    let stranger = Browser::stranger(&process).get("/nowhere").await;
    assert!(stranger.status == 404 && !stranger.text.contains("Signed in as"), "{}", stranger.html);
}
