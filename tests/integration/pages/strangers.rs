//! What strangers may try: texts that are markup, forms of other sites, and changes without a right.

use macro_rules_attribute::apply;

use super::{
    PAGES,
    browser::{Browser, let_in},
};
use crate::support::{app::TestApp, event::Event, process::Process, test};

/// Markup that would run if a page did not show it as text.
pub(super) const CORPUS: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</pre><svg onload=alert(1)>",
    "<!--<script>alert(1)//-->",
    "javascript:alert(1)//",
    "\" onmouseover=\"alert(1)",
    "' autofocus onfocus='alert(1)",
    "{{7*7}}<%= 7*7 %>${7*7}",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><base href=//evil.example>",
];

/// The service, with each text of the corpus wherever a stranger can put one.
pub(super) async fn with_corpus(app: &TestApp) -> Process {
    let_in(app);
    let process = app.run(&[]).await;
    for (number, hostile) in CORPUS.into_iter().enumerate() {
        // As names and ids of an event that is applied, and its webhook is refused.
        let url = format!("{}?q=1", app.receiver.url("/status/404"));
        let applied = Event::lead("Ada")
            .email(&format!("ada{number}@lovelace.dev"))
            .argument("city", hostile)
            .argument("position", hostile)
            .argument("company", hostile)
            .id(&format!("{hostile}{number}"))
            .with("/source", hostile.into())
            .with("/data/trigger/name", hostile.into())
            .action(serde_json::json!({"type": "WEBHOOK", "url": url, "method": "POST",
                "headers": [{"key": "x-note", "value": hostile}], "body": {"text": hostile, "city": "$city"}}));
        app.broker.publish(&applied).await;
        // And of one that is refused.
        let refused =
            Event::lead(hostile).phone("12").company(hostile).with("/data/trigger/name", hostile.into());
        app.broker.publish(&refused.with("/source", hostile.into())).await;
    }
    app.wait_for_rows("contacts", 12).await;
    app.wait_for_rows("dead_letters", 24).await;
    process
}

#[apply(test)]
async fn texts_of_strangers_are_only_text(app: &TestApp) {
    let process = with_corpus(app).await;
    let browser = Browser::sign_in(&process, "administer").await;
    for hostile in CORPUS {
        browser.submit("/operations/plan", &[("matching", "replay"), ("company", hostile)]).await;
    }
    let mut seen = String::new();
    for path in PAGES {
        let page = browser.open(path).await;
        let details = ["/dead-letters/", "/operations/", "/deliveries/", "/endpoints/", "/contacts/"];
        for link in details.iter().flat_map(|kind| page.links(kind)) {
            seen.push_str(&browser.open(&link).await.text);
        }
    }
    for number in 0..CORPUS.len() {
        let email = format!("ada{number}@lovelace.dev");
        let found = browser.submit("/contacts", &[("company", "acme"), ("email", &email)]).await;
        for link in found.links("/contacts/") {
            seen.push_str(&browser.open(&link).await.text);
        }
    }
    for hostile in CORPUS {
        assert!(seen.contains(hostile), "{hostile} is not shown");
    }
}

#[apply(test)]
async fn texts_of_links_are_only_text(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let browser = Browser::sign_in(&process, "administer").await;
    for hostile in CORPUS {
        let escaped: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
        for path in [
            format!("/dead-letters?company={escaped}&text={escaped}&trigger={escaped}&event={escaped}"),
            format!("/dead-letters?endpoint={escaped}&since={escaped}&signature={escaped}&cursor={escaped}"),
            format!("/failures?company={escaped}&trigger={escaped}&done={escaped}"),
            format!("/operations?cursor={escaped}"),
            format!("/deliveries?company={escaped}&event={escaped}&done={escaped}"),
            format!("/endpoints?company={escaped}&state={escaped}"),
            format!("/contacts?company={escaped}"),
            format!("/audit?operator={escaped}&object={escaped}&action={escaped}"),
        ] {
            browser.open(&path).await;
        }
        for path in
            [format!("/{escaped}"), format!("/?{escaped}=1"), format!("/contacts/{escaped}?company=acme")]
        {
            browser.get(&path).await.assert_harmless();
        }
        let fields =
            [("definition", hostile), ("arguments", hostile), ("client_data", hostile), ("company", hostile)];
        browser.submit("/playground", &fields).await;
        browser.submit("/contacts", &[("company", hostile), ("phone", hostile), ("email", hostile)]).await;
    }
}

/// Every form that changes something, by the least role that may send it.
const FORMS: [(&str, &str); 22] = [
    ("/failures/note", "operator"),
    ("/operations/plan", "operator"),
    ("/operations/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/run", "operator"),
    ("/operations/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/pause", "operator"),
    ("/operations/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/resume", "operator"),
    ("/operations/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/cancel", "operator"),
    ("/dead-letters/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/edit?company=acme", "editor"),
    ("/deliveries/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/resend?company=acme", "operator"),
    ("/deliveries/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/reveal?company=acme", "admin"),
    ("/deliveries/resend/plan", "operator"),
    ("/deliveries/discard/plan", "operator"),
    ("/dead-letters/export", "admin"),
    ("/dead-letters/import", "admin"),
    ("/dead-letters/import/file", "admin"),
    ("/endpoints/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/pause?company=acme", "operator"),
    ("/endpoints/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/resume?company=acme", "operator"),
    ("/endpoints/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/enable?company=acme", "operator"),
    ("/endpoints/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/test?company=acme", "operator"),
    ("/contacts/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/unmerge?company=acme", "editor"),
    ("/contacts/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/erase?company=acme", "admin"),
    ("/contacts/0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11/reveal?company=acme", "admin"),
    ("/sign-out", "viewer"),
];

#[apply(test)]
async fn forms_need_the_role_and_the_token_of_the_session(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let roles = ["viewer", "operator", "editor", "admin"];
    for (role, token) in roles.into_iter().zip(["view", "operate", "edit", "administer"]) {
        let browser = Browser::sign_in(&process, token).await;
        for (path, least) in FORMS {
            let rank = |role| roles.iter().position(|known| *known == role);
            let is_refused = browser.send(path, &[("csrf", &browser.csrf)]).await.status().as_u16() == 403;
            assert_eq!(is_refused, rank(role) < rank(least), "{path} as {role}");
        }
    }
    let browser = Browser::sign_in(&process, "administer").await;
    let other = Browser::sign_in(&process, "edit").await;
    for (path, _) in FORMS {
        for fields in [vec![], vec![("csrf", "")], vec![("csrf", "x")], vec![("csrf", other.csrf.as_str())]] {
            assert_eq!(browser.send(path, &fields).await.status().as_u16(), 403, "{path} with {fields:?}");
        }
        let fields = [("csrf", browser.csrf.as_str())];
        let foreign = browser.send_from(path, &fields, "https://evil.example").await;
        assert_eq!(foreign.status().as_u16(), 403, "{path}");
        let stranger = Browser::stranger(&process).send(path, &fields).await;
        assert!(matches!(stranger.status().as_u16(), 303 | 401 | 403), "{path}: {}", stranger.status());
    }
    app.wait_for_rows("audit_log", 0).await;
}
