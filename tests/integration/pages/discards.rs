//! Deliveries that wait are given up on pages.

use macro_rules_attribute::apply;

use super::{
    browser::{Browser, let_in},
    operations::run,
};
use crate::support::{app::TestApp, event::Event, only, process::Process, test};

const PLAN: &str = "/deliveries/discard/plan";

/// The service with so many deliveries behind a paused endpoint.
async fn behind_a_paused_endpoint(app: &TestApp, count: usize) -> Process {
    let_in(app);
    let process = app.run(&[]).await;
    let url = app.receiver.url("/ok");
    let lead = |n: usize| Event::lead("Ada").email(&format!("ada{n}@lovelace.dev")).webhook(&url);
    app.broker.publish(&lead(0)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let paused = app.cli(&["endpoint", "pause", &url]).await;
    assert_eq!(paused.code, Some(0), "{}", paused.stderr);
    app.broker.publish_all(&(1..=count).map(lead).collect::<Vec<_>>()).await;
    app.wait_for_rows("webhook_pending", i64::try_from(count).unwrap()).await;
    app.wait_for_rows("webhook_endpoints WHERE owner IS NOT NULL", 0).await;
    process
}

#[apply(test)]
async fn what_waits_for_a_paused_endpoint_is_counted_and_then_discarded(app: &TestApp) {
    let process = behind_a_paused_endpoint(app, 3).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let link = only(browser.open("/endpoints").await.links("/endpoints/"));
    let viewer = Browser::sign_in(&process, "view").await;
    assert!(!viewer.open(&link).await.text.contains("Discard what waits"));
    let page = browser.open(&link).await;
    assert!(page.text.contains("Discard what waits…") && page.actions().contains(&PLAN.to_owned()));
    let fields = ["state", "company", "endpoint"].map(|name| (name, page.value_of(name).unwrap()));
    let mut fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fields.push(("matching", "discard_deliveries"));
    let planned = browser.submit(PLAN, &fields).await;
    assert!(planned.text.contains("Discard 3 deliveries?"), "{}", planned.text);
    assert!(
        planned.text.contains("end without another attempt") && !planned.html.contains("name=\"canary\"")
    );
    assert_eq!(app.deliveries("pending").await, 3);
    let done = run(&browser, &planned, &[("rate", ""), ("reason", "closed")], "done").await;
    assert!(done.text.contains("3done"), "{}", done.text);
    assert_eq!(app.deliveries("discarded").await, 3);
    let audited = "audit_log WHERE via = 'console' AND reason = 'closed' AND action = 'delivery.discard' AND operator = 'olga'";
    assert_eq!(app.rows(audited).await, 3);
    // Nothing is left to discard.
    assert!(!browser.open(&link).await.text.contains("Discard what waits"));
    let audit = browser.open("/audit?action=delivery.discard").await;
    assert_eq!(audit.links("/deliveries/").len(), 3);
}

#[apply(test)]
async fn deliveries_that_wait_are_discarded_from_their_listing(app: &TestApp) {
    let process = behind_a_paused_endpoint(app, 3).await;
    let browser = Browser::sign_in(&process, "operate").await;
    assert!(!browser.open("/deliveries").await.text.contains("Discard"));
    assert!(!browser.open("/deliveries?state=delivered").await.text.contains("Discard"));
    let page = browser.open("/deliveries?state=pending&company=acme").await;
    assert!(page.text.contains("Discard selected…") && page.text.contains("Discard all that match…"));
    let ticked = page.value_of("id").unwrap();
    // Its own page offers the same.
    let delivery = browser.open(&page.links("/deliveries/")[0]).await;
    assert!(delivery.actions().contains(&PLAN.to_owned()), "{:?}", delivery.actions());
    assert_eq!(delivery.value_of("id").as_ref(), Some(&ticked));
    let one = browser.submit(PLAN, &[("id", ticked.as_str()), ("action", "discard_deliveries")]).await;
    assert!(one.text.contains("Discard 1 delivery?"), "{}", one.text);
    run(&browser, &one, &[], "done").await;
    assert_eq!((app.deliveries("discarded").await, app.deliveries("pending").await), (1, 2));
    let delivery = browser.open(&page.links("/deliveries/")[0]).await;
    assert!(delivery.text.contains("discarded") && !delivery.text.contains("Discard…"), "{}", delivery.text);
    let matching = [("state", "pending"), ("company", "acme"), ("matching", "discard_deliveries")];
    let rest = browser.submit(PLAN, &matching).await;
    assert!(rest.text.contains("Discard 2 deliveries?"), "{}", rest.text);
    for (fields, says) in [
        (&[("action", "discard_deliveries")][..], "select at least one"),
        (&[("matching", "discard_deliveries")], "choose pending"),
        (&[("matching", "discard_deliveries"), ("state", "dead")], "choose pending"),
        (&[("matching", "resend"), ("state", "pending")], "expected discard_deliveries"),
    ] {
        let refused = browser.submit(PLAN, fields).await;
        assert!(refused.status == 400 && refused.text.contains(says), "{says}: {}", refused.text);
    }
    let elsewhere = browser.submit("/operations/plan", &[("matching", "discard_deliveries")]).await;
    assert_eq!(elsewhere.status, 400);
}
