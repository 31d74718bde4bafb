//! What keys do in a browser: shortcuts, and Enter in a field.

use macro_rules_attribute::apply;
use serde_json::json;

use super::{
    chromium::{Chromium, in_chromium},
    with_dead_letters,
};
use crate::support::{app::TestApp, event::Event, http::Ask};

const ENTER: &str = "\u{e007}";

#[apply(in_chromium)]
async fn keys_do_what_is_done_daily(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/dead-letters").await;
    chromium.press("?").await;
    chromium.sees("Next or previous row").await;
    chromium.press("\u{e00c}").await;
    for key in ["j", "j", "x"] {
        chromium.press(key).await;
    }
    chromium.sees("1 selected").await;
    let ticked = "return document.querySelectorAll('tbody tr')[1].querySelector('input').checked";
    assert_eq!(chromium.run(ticked).await, true);
    chromium.press("d").await;
    chromium.sees("Discard 1 dead letter?").await;
    // A key of a text field is a letter.
    chromium.click("input[name=reason]").await;
    chromium.press("g").await;
    chromium.press("f").await;
    assert_eq!(chromium.run("return document.activeElement.value").await, "gf");
    chromium.run("document.activeElement.blur()").await;
    chromium.press("g").await;
    chromium.press("f").await;
    chromium.sees("Dead letters with the same cause").await;
    // Who dictates, or works with one hand, can do without.
    chromium.press("?").await;
    chromium.click("#no-keys").await;
    chromium.press("\u{e00c}").await;
    chromium.press("?").await;
    assert_eq!(chromium.run("return document.querySelector('#keys').open").await, false);
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn deliveries_that_wait_are_discarded_with_keys(app: &TestApp) {
    let process = with_dead_letters(app, 0).await;
    let url = app.receiver.url("/ok");
    let lead = |name: &str| Event::lead(name).email(&format!("{name}@lovelace.dev")).webhook(&url);
    app.broker.publish(&lead("ada")).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.json(&["endpoint", "pause", &url]).await;
    app.broker.publish(&lead("bob")).await;
    app.wait_for_deliveries("pending", 1).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/deliveries?state=pending").await;
    for key in ["j", "x", "d"] {
        chromium.press(key).await;
    }
    chromium.sees("Discard 1 delivery?").await;
    chromium.open("/endpoints").await;
    chromium.click("main th a[href^='/endpoints/']").await;
    chromium.press("d").await;
    chromium.sees("Discard 1 delivery?").await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

/// Keeps the page, and remembers which button was pressed.
const WATCH: &str = "window.pressed = []; addEventListener('submit', (event) => {
    event.preventDefault(); pressed.push(event.submitter.textContent); })";

/// A reason is typed for the button that comes next, and Enter does not choose one.
#[apply(in_chromium)]
async fn enter_in_a_field_of_several_buttons_presses_none(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    app.broker.publish(&Event::lead("Ada").email("ada@lovelace.dev").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let body = json!({ "action": "discard", "filter": {} });
    let planned = process.ask(Ask::post("/api/v1/operations", &body).token("operate")).await.json();
    let planned = format!("/operations/{}", planned["id"].as_str().unwrap());
    let paused = app.cli(&["dead-letter", "replay", "--all", "--canary", "--yes"]).await;
    assert_eq!(paused.code, Some(3), "{}", paused.stderr);
    let chromium = Chromium::sign_in(&process, "administer").await;
    chromium.open("/operations").await;
    let operations = chromium.links("/operations/").await;
    let paused = operations.iter().find(|path| **path != planned).unwrap();
    chromium.open("/endpoints").await;
    let endpoint = chromium.links("/endpoints/").await.remove(0);
    for (path, field, button) in [
        (&endpoint, "input[name=reason]", "Send a test"),
        (paused, "input[name=reason]", "Resume"),
        (paused, "input[name=rate]", "Resume"),
        (&planned, "input[name=reason]", "Discard 2"),
        (&planned, "input[name=rate]", "Discard 2"),
        (&"/dead-letters".to_owned(), "input[name=because]", "Replay all that match…"),
    ] {
        chromium.open(path).await;
        chromium.run(WATCH).await;
        chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })").await;
        chromium.enter_text(field, "7").await;
        chromium.press(ENTER).await;
        assert_eq!(chromium.run("return pressed").await, json!([]), "{path} {field}");
        // A click still presses it.
        let click = format!(
            "[...document.querySelectorAll('main button')].find((one) => one.textContent === '{button}').click()"
        );
        chromium.run(&click).await;
        assert_eq!(chromium.run("return pressed").await, json!([button]), "{path} {field}");
    }
    assert_eq!(app.receiver.requests().len(), 1);
    chromium.assert_quiet().await;
    chromium.close().await;
}
