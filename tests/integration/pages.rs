//! The console's pages, as a browser without script sees them.

mod browser;
mod changes;
mod chromium;
mod discards;
mod filters;
mod in_chromium;
mod operations;
mod people;
mod reasons;
mod strangers;
mod transfer;

use macro_rules_attribute::apply;

use self::browser::{Browser, let_in};
use crate::support::{app::TestApp, event::Event, eventually, only, test};

/// The pages of the navigation.
const PAGES: [&str; 9] = [
    "/",
    "/failures",
    "/dead-letters",
    "/operations",
    "/deliveries",
    "/endpoints",
    "/contacts",
    "/playground",
    "/audit",
];

/// An event that becomes a dead letter.
fn broken(name: &str) -> Event {
    Event::lead(name).phone("12")
}

/// The service with tokens, and these events, which all become dead letters.
async fn with_dead_letters(app: &TestApp, count: usize) -> crate::support::process::Process {
    let_in(app);
    let process = app.run(&[]).await;
    for number in 0..count {
        app.broker.publish(&broken(&format!("Nobody {number}"))).await;
    }
    app.wait_for_rows("dead_letters", i64::try_from(count).unwrap()).await;
    process
}

#[apply(test)]
async fn every_page_says_what_healthy_looks_like(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let browser = Browser::sign_in(&process, "view").await;
    for (path, text) in [
        ("/", "Nothing has failed."),
        ("/", "All endpoints take webhooks."),
        ("/failures", "Nothing has failed."),
        ("/dead-letters", "There are no open dead letters."),
        ("/operations", "There are no operations."),
        ("/deliveries", "No webhooks in this time."),
        ("/endpoints", "There are no endpoints yet."),
        ("/contacts", "Find a person of a company"),
        ("/playground", "Nothing is stored or sent."),
        ("/audit", "No change has been recorded."),
    ] {
        let page = browser.open(path).await;
        assert!(page.text.contains(text), "{path}: {}", page.text);
        let links = page.links("/");
        assert!(PAGES.iter().all(|page| links.iter().any(|link| link == page)), "{path}: {links:?}");
    }
}

#[apply(test)]
async fn pages_need_a_session(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let stranger = Browser::stranger(&process);
    for path in PAGES {
        let page = stranger.get(path).await;
        assert_eq!(page.status, 303, "{path}");
    }
    let page = stranger.open("/sign-in").await;
    assert_eq!(page.actions(), ["/sign-in"]);
    for asset in page.html.split('"').filter(|part| part.starts_with("/assets/")) {
        let file = stranger.get(asset).await;
        assert!(file.status == 200 && !file.html.is_empty(), "{asset}");
    }
    let refused = stranger.send("/sign-in", &[("token", "guess")]).await;
    assert_eq!(refused.status().as_u16(), 401);
    assert!(refused.text().await.unwrap().contains("This token is not valid"));
    let browser = Browser::sign_in(&process, "view").await;
    let missing = browser.get("/nowhere").await;
    assert!(missing.status == 404 && missing.html.starts_with("<!doctype html>"), "{}", missing.html);
    missing.assert_harmless();
}

#[apply(test)]
async fn overview_shows_what_was_done_in_the_last_hour(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    for number in 0..3 {
        let event = Event::lead("Ada").email(&format!("ada{number}@lovelace.dev"));
        app.broker.publish(&event.webhook(&app.receiver.url("/ok"))).await;
    }
    app.wait_for_deliveries("delivered", 3).await;
    for (what, count) in [("events", 3), ("deliveries", 3), ("dead_letters", 2)] {
        app.count_becomes(&format!("SELECT coalesce(sum({what}), 0)::bigint FROM rates"), count).await;
    }
    let overview = Browser::sign_in(&process, "view").await.open("/").await;
    for title in [
        "3 events were applied in the last hour",
        "3 webhooks were delivered in the last hour",
        "2 messages and webhooks failed in the last hour",
    ] {
        assert!(overview.html.contains(title), "{title}: {}", overview.html);
    }
    // Of all that ended, and only what failed since then.
    assert!(overview.text.contains("25.0 %2 of 8"), "{}", overview.text);
    // The next process adds to it.
    app.stop().await;
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Bob").email("bob@lovelace.dev")).await;
    app.count_becomes("SELECT sum(events)::bigint FROM rates", 4).await;
}

#[apply(test)]
async fn overview_shows_what_waits_at_the_broker(app: &TestApp) {
    let_in(app);
    let console = app.run(&["console"]).await;
    let browser = Browser::sign_in(&console, "view").await;
    let shows = async |text: &str| {
        eventually(&format!("the overview shows {text}"), async || {
            browser.open("/").await.text.contains(text).then_some(())
        })
        .await;
    };
    shows("trigger-fired0 messages, 0 consumers not consumed").await;
    for number in 0..2 {
        let event = Event::lead("Ada").email(&format!("ada{number}@lovelace.dev"));
        app.broker.publish(&event).await;
    }
    shows("trigger-fired2 messages, 0 consumers not consumed").await;
    app.run(&["upsert", "webhook"]).await;
    shows("trigger-fired0 messages, 1 consumer").await;
}

#[apply(test)]
async fn listing_has_pages_and_keeps_its_filters(app: &TestApp) {
    let process = with_dead_letters(app, 60).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let first = browser.open("/dead-letters?reason=identifier_invalid&company=acme").await;
    assert_eq!(first.values_of("id").len(), 50);
    let next = only(first.links("/dead-letters?").into_iter().filter(|link| link.contains("cursor=")));
    assert!(next.contains("reason=identifier_invalid") && next.contains("company=acme"), "{next}");
    let second = browser.open(&next).await;
    let rest = second.values_of("id");
    assert_eq!(rest.len(), 10);
    assert!(rest.iter().all(|id| !first.values_of("id").contains(id)));
    let overview = browser.open("/").await;
    assert!(overview.text.contains("60") && overview.text.contains("identifier invalid"));
    let failures = browser.open("/failures").await;
    let group = only(failures.links("/dead-letters?signature="));
    assert_eq!(browser.open(&group).await.values_of("id").len(), 50);
    let nothing = browser.open("/dead-letters?company=other").await;
    assert!(nothing.text.contains("Nothing matches these filters."));
    // A row leads to what else there is of its company and its trigger, from the first page on.
    let of_company = &first.links("/dead-letters?reason=identifier_invalid&company=acme")[0];
    assert!(!second.links(of_company).is_empty() && !of_company.contains("cursor"), "{of_company}");
    assert_eq!(browser.open(of_company).await.values_of("id").len(), 50);
}

/// An empty page or a bad link is not a service in which nothing failed.
#[apply(test)]
async fn only_a_whole_listing_says_that_there_is_nothing(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let claims = [
        ("/failures", "Nothing has failed."),
        ("/dead-letters", "There are no open dead letters."),
        ("/operations", "There are no operations."),
        ("/deliveries", "No webhooks in this time."),
        ("/endpoints", "There are no endpoints yet."),
        ("/audit", "No change has been recorded."),
    ];
    for (path, all_clear) in claims {
        let bad = browser.open(&format!("{path}?cursor=x")).await;
        assert!(bad.text.contains("expected a link of this page"), "{path}: {}", bad.text);
        for claim in [all_clear, "Nothing matches", "No change matches", "No endpoint matches"] {
            assert!(!bad.text.contains(claim), "{path} claims: {claim}");
        }
    }
    // Places after which no row can be: listings by time have the same form of them.
    let early = "AQAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAA";
    let last = "Af____________________9-";
    for (path, _) in claims {
        let cursor = if path == "/endpoints" { last } else { early };
        let ended = browser.open(&format!("{path}?cursor={cursor}")).await;
        assert!(ended.text.contains("Nothing is left on this page."), "{path}: {}", ended.text);
        assert!(ended.links(path).contains(&path.to_owned()), "{path}");
        assert!(claims.iter().all(|(_, claim)| !ended.text.contains(claim)), "{path}: {}", ended.text);
    }
}

/// What a button does to a whole group is what the filter shows of it.
#[apply(test)]
async fn failures_are_filtered_and_their_buttons_keep_the_filter(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    app.broker.publish(&broken("Grace").company("other")).await;
    app.wait_for_rows("dead_letters", 3).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let page = browser.open("/failures?company=other&since=1h&text=NOT_A_PHONE").await;
    let link = only(page.links("/dead-letters?"));
    assert_eq!(browser.open(&link).await.values_of("id").len(), 1, "{link}");
    let hidden = |name: &str| page.values_of(name).pop().unwrap();
    let names = ["company", "since", "text", "signature"];
    let mut fields: Vec<(&str, String)> = names.into_iter().map(|name| (name, hidden(name))).collect();
    assert_ne!(fields[1].1, "1h", "the exact time");
    fields.push(("matching", "discard".to_owned()));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let planned = browser.submit("/operations/plan", &fields).await;
    assert!(planned.text.contains("Discard 1 dead letter?"), "{}", planned.text);
    for query in ["until=1h", "text=%25", "endpoint=00000000-0000-0000-0000-000000000000"] {
        let page = browser.open(&format!("/failures?{query}")).await;
        assert!(page.text.contains("Nothing matches these filters."), "{query}: {}", page.text);
    }
    assert!(browser.open("/audit?since=1h").await.text.contains("operation: plan"));
    assert!(browser.open("/audit?until=1h").await.text.contains("No change matches."));
    for (path, says) in [
        ("/failures?since=soon", "expected a time such as"),
        ("/audit?until=soon", "expected a time such as"),
        ("/audit?action=operation", "expected one of the list"),
    ] {
        let page = browser.open(path).await;
        assert!(page.text.contains(says), "{path}: {}", page.text);
    }
}

#[apply(test)]
async fn bad_filters_are_explained(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let long = "x".repeat(10_000);
    for (query, says) in [
        ("state=half", "expected one of the list"),
        ("reason=' OR 1=1", "expected one of the list"),
        ("since=soon", "expected a time such as"),
        ("endpoint=7", "expected the whole id"),
        ("signature=7", "expected a link"),
        ("cursor=AAAA", "expected a link"),
        (&format!("text={long}"), "expected 1 to 200 characters"),
    ] {
        let page = browser.open(&format!("/dead-letters?{}", query.replace(' ', "%20"))).await;
        assert!(page.text.contains(says) && page.values_of("id").is_empty(), "{query}: {}", page.text);
    }
    // Wildcards are letters like others.
    for text in ["%25", "_______", "%5C", "%27%3B--"] {
        assert!(
            browser.open(&format!("/dead-letters?text={text}")).await.values_of("id").is_empty(),
            "{text}"
        );
    }
    assert_eq!(browser.open("/dead-letters?text=NOT_A_PHONE").await.values_of("id").len(), 1);
    for path in ["/dead-letters?limit=1000000000", "/dead-letters?reason=broker&reason=broker", "/audit?x=1"]
    {
        let page = browser.get(path).await;
        assert_eq!(page.status, 400, "{path}");
        page.assert_harmless();
    }
    for path in ["/dead-letters/x", "/deliveries/00000000-0000-0000-0000-000000000000", "/endpoints/..."] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        page.assert_harmless();
    }
}
