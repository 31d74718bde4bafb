//! What operators change on pages: dead letters, deliveries and endpoints.

use macro_rules_attribute::apply;

use super::{
    broken,
    browser::{Browser, Page, let_in},
    operations::{plan_ticked, run},
    with_dead_letters,
};
use crate::support::{app::TestApp, event::Event, only, test};

async fn states(app: &TestApp) -> Vec<String> {
    let states = sqlx::query_scalar("SELECT state FROM dead_letters ORDER BY state");
    states.fetch_all(&app.pool).await.unwrap()
}

#[apply(test)]
async fn selected_dead_letters_are_counted_before_anything_happens(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let page = browser.open("/dead-letters").await;
    let planned = plan_ticked(&browser, &page, "discard").await;
    assert!(planned.text.contains("Discard 3 dead letters?"), "{}", planned.text);
    assert_eq!(states(app).await, ["open"; 3]);
    let done = run(&browser, &planned, &[("reason", "as agreed")], "done").await;
    assert!(done.text.contains("3done"), "{}", done.text);
    assert_eq!(states(app).await, ["discarded"; 3]);
    // Their page was loaded before somebody discarded them.
    let late = plan_ticked(&browser, &page, "replay").await;
    let skipped = run(&browser, &late, &[], "done").await;
    assert!(skipped.text.contains("3skipped") && skipped.text.contains("Its state did not allow it"));
    assert_eq!(states(app).await, ["discarded"; 3]);
    let audit = browser.open("/audit?action=dead_letter.discard").await;
    assert_eq!(audit.links("/dead-letters/").len(), 3);
    assert!(
        audit.text.contains("olga")
            && audit.text.contains("as agreed")
            && audit.text.contains("state discarded")
    );
}

#[apply(test)]
async fn cause_has_a_note(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let signature = browser.open("/failures").await.value_of("signature").unwrap();
    let noted =
        browser.submit("/failures/note", &[("signature", &signature), ("text", "Ask Bob\r\nfirst")]).await;
    assert!(
        noted.text.contains("The note was saved.") && noted.text.contains("Ask Bob\nfirst (olga)"),
        "{}",
        noted.text
    );
    let letter = only(browser.open("/dead-letters").await.links("/dead-letters/"));
    assert!(browser.open(&letter).await.text.contains("Ask Bob\nfirst by olga"));
    let removed = browser.submit("/failures/note", &[("signature", &signature), ("text", "")]).await;
    assert!(!removed.text.contains("Ask Bob"), "{}", removed.text);
}

#[apply(test)]
async fn edited_message_is_checked_before_it_is_sent(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let event = broken("Ada");
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters", 1).await;
    let browser = Browser::sign_in(&process, "edit").await;
    let link = only(browser.open("/dead-letters").await.links("/dead-letters/"));
    let page = browser.open(&link).await;
    assert!(page.text.contains("\"phone\": \"12\"") && page.text.contains("As it arrived"));
    let action = only(page.actions().into_iter().filter(|action| action.contains("/edit?")));
    for (body, says) in [
        ("{", "not a JSON object"),
        (std::str::from_utf8(&event.bytes()).unwrap(), "says the same as the original"),
        (&String::from_utf8(event.clone().argument("phone", "13").bytes()).unwrap(), "would fail again"),
        (
            &String::from_utf8(event.clone().company("other").phone("+5511987654321").bytes()).unwrap(),
            "another company",
        ),
    ] {
        let refused = browser.submit(&action, &[("body", body)]).await;
        assert!(refused.text.contains(says), "{says}: {}", refused.text);
        // What was typed is still there.
        assert!(refused.text.contains(body), "{says}");
    }
    let fixed = String::from_utf8(event.phone("+5511987654321").bytes()).unwrap();
    let sent = browser.submit(&action, &[("body", &fixed)]).await;
    assert!(sent.text.contains("was sent as a new event"), "{}", sent.text);
    app.wait_for_rows("contacts", 1).await;
    app.count_becomes("SELECT count(*) FROM dead_letters WHERE state = 'resolved'", 2).await;
    // The child names its parent.
    let child = browser.open(&sent.at).await;
    assert!(child.text.contains("Edited from") && child.text.contains("What the edit changed"));
}

#[apply(test)]
async fn endpoint_is_paused_resumed_and_tested(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    app.broker
        .publish(&Event::lead("Ada").email("ada@lovelace.dev").webhook(&app.receiver.url("/ok/hook")))
        .await;
    app.wait_for_deliveries("delivered", 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let link = only(browser.open("/endpoints").await.links("/endpoints/"));
    let page = browser.open(&link).await;
    assert!(page.text.contains("Webhooks are sent as they come."), "{}", page.text);
    let action = |page: &Page, verb: &str| {
        only(page.actions().into_iter().filter(|action| action.contains(&format!("/{verb}?"))))
    };
    let paused = browser.submit(&action(&page, "pause"), &[]).await;
    assert!(
        paused.text.contains("The endpoint is paused.") && paused.text.contains("Paused by"),
        "{}",
        paused.text
    );
    let overview = browser.open("/").await;
    assert!(overview.text.contains("paused"), "{}", overview.text);
    app.broker
        .publish(&Event::lead("Bob").email("bob@lovelace.dev").webhook(&app.receiver.url("/ok/hook")))
        .await;
    app.wait_for_deliveries("pending", 1).await;
    assert!(browser.open("/deliveries?state=pending").await.text.contains("the endpoint is paused"));
    let resumed = browser.submit(&action(&paused, "resume"), &[]).await;
    assert!(resumed.text.contains("no longer paused"), "{}", resumed.text);
    app.wait_for_deliveries("delivered", 2).await;
    let tested = browser.submit(&action(&resumed, "test"), &[]).await;
    assert!(tested.text.contains("Test request") && tested.text.contains("HTTP 200"), "{}", tested.text);
    let audit = browser.open("/audit").await;
    for action in ["endpoint: pause", "endpoint: resume", "endpoint: test"] {
        assert!(audit.text.contains(action), "{}", audit.text);
    }
}

#[apply(test)]
async fn delivery_shows_its_attempts_and_is_sent_again(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    app.broker
        .publish(&Event::lead("Ada").email("ada@lovelace.dev").webhook(&app.receiver.url("/status/404")))
        .await;
    app.wait_for_deliveries("dead", 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let link = only(browser.open("/deliveries").await.links("/deliveries/"));
    let page = browser.open(&link).await;
    for text in ["Attempt 1", "HTTP 404", "ada@lovelace.dev", "/status/404", "Dead letter", "Send again"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let dead = browser.open(&only(page.links("/dead-letters/"))).await;
    assert_eq!(dead.links("/deliveries/"), [link.as_str()]);
    assert!(!browser.open(&only(page.links("/contacts/"))).await.text.contains("without a name"));
    let viewer = Browser::sign_in(&process, "view").await;
    let masked = viewer.open(&link).await;
    assert!(
        !masked.html.contains("ada@lovelace.dev") && !masked.html.contains("/status/404"),
        "{}",
        masked.text
    );
    assert_eq!(masked.actions(), ["/sign-out"]);
    let action = only(page.actions().into_iter().filter(|action| action.contains("/resend?")));
    let sent = browser.submit(&action, &[]).await;
    assert!(sent.text.contains("The delivery is due now."), "{}", sent.text);
    app.count_becomes("SELECT count(*) FROM webhook_deliveries WHERE state = 'dead' AND attempts = 2", 1)
        .await;
}
