//! What narrows a listing does so on the command line, over the API and on its page, by the same name.

use std::collections::BTreeSet;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::browser::{Browser, let_in};
use crate::support::{app::TestApp, test};

/// Each listing: its command, its route, its page, and what its page lacks, because it has a link for it.
const LISTINGS: [(&str, &str, &str, &[&str]); 5] = [
    (
        "dead-letter list",
        "/api/v1/dead-letters",
        "/dead-letters?signature=8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2",
        &[],
    ),
    // One cause is one line.
    ("dead-letter groups", "/api/v1/dead-letters/groups", "/failures", &["signature"]),
    ("delivery list", "/api/v1/deliveries", "/deliveries", &[]),
    ("endpoint list", "/api/v1/endpoints", "/endpoints", &[]),
    ("audit list", "/api/v1/audit", "/audit", &[]),
];

/// What the command knows only to refuse it: groups are of all open dead letters.
const REFUSED: [(&str, [&str; 2]); 1] = [("dead-letter groups", ["event", "state"])];

/// Options and parameters of listings that are no filters.
const OTHERS: [&str; 7] = ["limit", "after", "cursor", "output", "config", "help", "version"];

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().filter(|name| !OTHERS.contains(name)).map(str::to_owned).collect()
}

/// The options that a command's help lists.
async fn options(app: &TestApp, command: &str) -> BTreeSet<String> {
    let words: Vec<&str> = command.split(' ').collect();
    let help = app.cli(&[&words[..], &["--help"]].concat()).await.stdout;
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let options = lines.filter_map(|line| line.split_once("--")?.1.split([' ', '.']).next());
    names(options)
}

fn parameters(api: &Value, path: &str) -> BTreeSet<String> {
    let parameters = api["paths"][path]["get"]["parameters"].as_array().expect("parameters");
    names(parameters.iter().filter_map(|parameter| parameter["name"].as_str()))
}

#[apply(test)]
async fn every_filter_is_in_all_faces(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let api: Value = serde_json::from_str(include_str!("../../../docs/contracts/openapi.json")).unwrap();
    for (command, route, page, linked) in LISTINGS {
        let mut expected = options(app, command).await;
        for name in REFUSED.iter().filter(|(of, _)| *of == command).flat_map(|(_, names)| names) {
            let words: Vec<&str> = command.split(' ').collect();
            let refused = app.cli(&[&words[..], &[&format!("--{name}"), "open"]].concat()).await;
            assert!(expected.remove(*name) && refused.code == Some(2), "{name}: {}", refused.stderr);
        }
        assert!(!expected.is_empty(), "{command}");
        assert_eq!(parameters(&api, route), expected, "{route}");
        let fields = browser.open(page).await.filters();
        let fields = names(fields.iter().map(String::as_str).chain(linked.iter().copied()));
        assert_eq!(fields, expected, "{page}");
    }
    // Their search has a body, and on a page, an id is one way more to find a contact.
    let body = &api["components"]["schemas"]["ContactSearch"]["properties"];
    let body = names(body.as_object().unwrap().keys().map(String::as_str));
    let expected = options(app, "contact find").await;
    assert_eq!(body, expected, "the search for contacts");
    let mut fields = browser.open("/contacts").await.filters();
    fields.retain(|name| name != "contact");
    assert_eq!(names(fields.iter().map(String::as_str)), expected);
}

/// An address stands for its endpoint, and a host for all of its endpoints.
#[apply(test)]
async fn endpoints_and_their_deliveries_are_found_by_address(app: &TestApp) {
    use crate::support::{event::Event, only};
    let_in(app);
    let process = app.run(&[]).await;
    let url = app.receiver.url("/status/404/secret-path");
    app.broker.publish(&Event::lead("Ada").email("ada@lovelace.dev").webhook(&url)).await;
    app.wait_for_deliveries("dead", 1).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let link = only(browser.open("/endpoints?address=127.0.0").await.links("/endpoints/"));
    let id = link.split(['/', '?']).nth(2).unwrap();
    let escape = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    assert_eq!(
        browser.open(&format!("/endpoints?address={}", escape(&url))).await.links("/endpoints/"),
        [link.as_str()]
    );
    // The rest of an address may be a secret, which nobody finds out letter by letter.
    for hidden in ["secret", "status", "http", "%25", "elsewhere.example"] {
        let page = browser.open(&format!("/endpoints?address={hidden}&company=acme")).await;
        assert!(page.text.contains("No endpoint matches."), "{hidden}: {}", page.text);
        let listed = app.json(&["endpoint", "list", "--address", hidden]).await;
        assert_eq!(listed, serde_json::json!([]), "{hidden}");
    }
    for state in ["open", "trouble"] {
        let page = browser.open(&format!("/endpoints?address=127&state={state}")).await;
        let open = app.json(&["endpoint", "list", "--address", "127", "--state", "open"]).await;
        let is_open = open.as_array().is_some_and(|rows| !rows.is_empty());
        assert_eq!(page.links("/endpoints/").len(), usize::from(is_open == (state == "open")), "{state}");
    }
    for text in [escape(&url), id[..8].to_owned(), id.to_owned()] {
        let page = browser.open(&format!("/deliveries?state=dead&endpoint={text}")).await;
        assert_eq!(page.values_of("id").len(), 1, "{text}: {}", page.text);
        assert!(page.links("/endpoints/").contains(&link));
        let chosen = page.values_of("endpoint").pop().unwrap();
        let fields = [("state", "dead"), ("endpoint", chosen.as_str()), ("matching", "resend")];
        let planned = browser.submit("/deliveries/resend/plan", &fields).await;
        assert!(planned.text.contains("Resend 1 delivery?"), "{}", planned.text);
    }
    for text in ["https%3A%2F%2Felsewhere.example", "0123", "what"] {
        let page = browser.open(&format!("/deliveries?endpoint={text}")).await;
        assert!(page.html.contains("role=\"alert\"") && page.values_of("id").is_empty(), "{}", page.text);
    }
}
