//! What operators do in a browser, with the script of the pages and without it; the policy, and what fits on a phone.

use std::fs;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{
    PAGES, broken,
    browser::let_in,
    chromium::{Chromium, in_chromium},
    people::with_ada,
    strangers::{CORPUS, with_corpus},
    with_dead_letters,
};
use crate::support::{app::TestApp, event::Event, only};

#[apply(in_chromium)]
async fn operator_discards_what_they_selected(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/dead-letters").await;
    chromium.click("input.all").await;
    chromium.click("button[value=discard]").await;
    chromium.sees("Discard 3 dead letters?").await;
    chromium.click("button.danger").await;
    // The page loads itself again until it is done.
    chromium.sees("Ended").await;
    app.wait_for_rows("dead_letters WHERE state = 'discarded'", 3).await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn replay_is_previewed_and_watched_until_it_ends(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/dead-letters").await;
    chromium.click("input.all").await;
    chromium.click("button[value=replay]").await;
    chromium.sees("Replay 3 dead letters?").await;
    chromium.click("main form button.primary").await;
    chromium.sees("Ended").await;
    app.count_becomes("SELECT count(*) FROM dead_letters WHERE attempts = 2", 3).await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn admin_uploads_a_file_without_script(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let exported = app.cli(&["dead-letter", "export"]).await.stdout;
    let file = NamedTempFile::with_suffix(".ndjson").unwrap();
    fs::write(&file, exported).unwrap();
    let chromium = Chromium::sign_in_without_script(&process, "administer").await;
    chromium.open("/dead-letters/import").await;
    chromium.choose("input[type=file]", file.path()).await;
    chromium.click("form[enctype] button.primary").await;
    chromium.sees("Nothing was changed yet").await;
    chromium.choose("input[type=file]", file.path()).await;
    chromium.click("form[enctype] button[formaction]").await;
    chromium.sees("Imported").await;
    chromium.sees("already there").await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn page_refreshes_itself_and_runs_nothing_of_strangers(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/dead-letters").await;
    chromium.sees("There are no open dead letters.").await;
    let hostile = "<img src=x onerror=\"window.ran = 1\"><script>window.ran = 1</script>";
    app.broker.publish(&broken("Ada").with("/data/trigger/name", hostile.into())).await;
    // Without loading the page again.
    chromium.sees(hostile).await;
    assert_eq!(chromium.run("return window.ran ?? null").await, Value::Null);
    assert_eq!(chromium.run("return document.querySelector('button.copy').hidden").await, false);
    chromium.assert_quiet().await;
    chromium.close().await;
}

/// Also with a filter that is under "More filters", and with the focus on a button that has copied.
#[apply(in_chromium)]
async fn filtered_listing_refreshes_itself_and_says_when_it_does_not(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/failures").await;
    chromium.click("main a[href^='/dead-letters?signature=']").await;
    chromium.sees("1 on this page").await;
    app.broker.publish(&broken("Nobody 1")).await;
    chromium.sees("2 on this page").await;
    assert_eq!(chromium.run("return document.querySelector('details.more').open").await, true);
    // In one step, because the page replaces what it has found before.
    let copy = "const copy = document.querySelector('main button.copy'); copy.focus(); copy.click()";
    chromium.run(copy).await;
    app.broker.publish(&broken("Nobody 2")).await;
    chromium.sees("3 on this page").await;
    let focus = "return document.activeElement.matches('main button.copy')";
    assert_eq!(chromium.run(focus).await, true, "the focus stays where it was");
    chromium.click("button.pause").await;
    chromium.sees("Paused").await;
    let tick = "document.querySelector('input[name=id]').click()";
    chromium.click("button.pause").await;
    chromium.run(tick).await;
    chromium.sees("1 selected").await;
    chromium.sees("Waits while you work on the page").await;
    chromium.run(tick).await;
    chromium.sees("0 selected").await;
    chromium.assert_quiet().await;
    app.stop().await;
    chromium.run("document.activeElement.blur()").await;
    chromium.sees("No answer since").await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn every_page_fits_on_a_phone(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    let url = app.receiver.url("/status/404/a/long/path/that/nobody/would/write/by/hand/but/machines/do");
    let long = "a_name_that_has_no_place_to_break_".repeat(4);
    let event = Event::lead(&long).email("ada@lovelace.dev").argument("city", long.as_str()).webhook(&url);
    app.broker.publish(&event.with("/data/trigger/name", long.as_str().into())).await;
    app.wait_for_deliveries("dead", 1).await;
    let chromium = Chromium::sign_in(&process, "administer").await;
    let mut paths: Vec<String> = PAGES.map(str::to_owned).to_vec();
    for kind in ["dead-letters", "deliveries", "endpoints"] {
        chromium.open(&format!("/{kind}")).await;
        let script =
            format!("return document.querySelector('main a[href^=\"/{kind}/\"]').getAttribute('href')");
        paths.push(chromium.run(&script).await.as_str().unwrap().to_owned());
    }
    chromium.open("/deliveries").await;
    chromium.click("main a[href^='/deliveries/']").await;
    paths.push(chromium.links("/contacts/").await.remove(0));
    paths.push("/dead-letters/import".to_owned());
    for width in WIDTHS {
        resize(&chromium, width).await;
        for path in &paths {
            chromium.open(path).await;
            assert_fits(&chromium, path, width).await;
        }
    }
    chromium.assert_quiet().await;
    chromium.close().await;
}

/// Of a phone and of a screen, in pixels.
const WIDTHS: [u32; 2] = [390, 1280];

async fn resize(chromium: &Chromium, width: u32) {
    let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500 });
    chromium.command("Emulation.setDeviceMetricsOverride", metrics).await;
}

async fn assert_fits(chromium: &Chromium, what: &str, width: u32) {
    let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(chromium.run(script).await, 0, "{what} at {width} pixels");
}

/// Pages that only a form leads to.
#[apply(in_chromium)]
async fn every_answer_to_a_form_fits_on_a_phone(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    for (name, email, phone) in [("Ada", true, false), ("Bob", false, true), ("Eve", true, true)] {
        let mut event =
            Event::lead(name).webhook(&app.receiver.url("/status/404/a/path/that/machines/write"));
        event = if email { event.email("ada@lovelace.dev") } else { event };
        event = if phone { event.phone("+5511987654321") } else { event };
        app.broker.publish(&event).await;
        app.wait_for_rows(&format!("contacts WHERE version > 0 AND name = '{name}'"), 1).await;
    }
    app.wait_for_rows("contacts", 1).await;
    let chromium = Chromium::sign_in(&process, "administer").await;
    for width in WIDTHS {
        resize(&chromium, width).await;
        chromium.open("/dead-letters?reason=identifier_invalid").await;
        chromium.click("input.all").await;
        chromium.sees("3 selected").await;
        assert_fits(&chromium, "ticked rows", width).await;
        chromium.click("button[value=discard]").await;
        chromium.sees("Discard 3 dead letters?").await;
        assert_fits(&chromium, "a plan", width).await;
        chromium.enter_text("input[name=rate]", "0").await;
        chromium.click("main button.danger").await;
        chromium.sees("Nothing was changed.").await;
        assert_fits(&chromium, "a refused plan", width).await;
        chromium.open("/dead-letters?reason=identifier_invalid").await;
        chromium.click("main th a[href^='/dead-letters/']").await;
        chromium.enter_text("textarea[name=body]", "{").await;
        chromium.click("#edit button.primary").await;
        chromium.sees("not a JSON object").await;
        assert_fits(&chromium, "a refused edit", width).await;
        chromium.open("/endpoints").await;
        chromium.click("main th a[href^='/endpoints/']").await;
        chromium.click("main form.actions button:enabled").await;
        chromium.sees("Test request").await;
        assert_fits(&chromium, "a test", width).await;
        chromium.open("/deliveries").await;
        chromium.click("main th a[href^='/deliveries/']").await;
        chromium.click("main a[href^='/contacts/']").await;
        chromium.click("form[action*='/unmerge'] button").await;
        chromium.sees("Unmerge these contacts?").await;
        assert_fits(&chromium, "an unmerge", width).await;
    }
    chromium.close().await;
}

#[apply(in_chromium)]
async fn group_leads_to_a_message_that_is_edited_and_replayed(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let event = broken("Ada");
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters", 1).await;
    let chromium = Chromium::sign_in(&process, "edit").await;
    chromium.open("/failures").await;
    chromium.click("main a[href^='/dead-letters?signature=']").await;
    chromium.sees("1 on this page").await;
    chromium.click("main a[href^='/dead-letters/']").await;
    chromium.sees("Edit and replay").await;
    chromium.enter_text("textarea[name=body]", "{").await;
    chromium.click("#edit button.primary").await;
    chromium.sees("not a JSON object").await;
    app.wait_for_rows("contacts", 0).await;
    let fixed = String::from_utf8(event.phone("+5511987654321").bytes()).unwrap();
    chromium.enter_text("textarea[name=body]", &fixed).await;
    chromium.click("#edit button.primary").await;
    chromium.sees("was sent as a new event").await;
    app.wait_for_rows("contacts", 1).await;
    app.count_becomes("SELECT count(*) FROM dead_letters WHERE state = 'resolved'", 2).await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn endpoint_is_paused_and_resumed(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("ada@lovelace.dev").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    chromium.open("/endpoints").await;
    chromium.click("main a[href^='/endpoints/']").await;
    chromium.click("button[formaction*='/pause']").await;
    chromium.sees("The endpoint is paused.").await;
    app.wait_for_rows("webhook_endpoints WHERE paused_at IS NOT NULL", 1).await;
    chromium.click("button[formaction*='/resume']").await;
    chromium.sees("no longer paused").await;
    app.wait_for_rows("webhook_endpoints WHERE paused_at IS NULL", 1).await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn contact_is_searched_and_a_trigger_is_tried(app: &TestApp) {
    let process = with_ada(app).await;
    let chromium = Chromium::sign_in(&process, "operate").await;
    for (field, value) in [("phone", "+55 11 98765-4321"), ("email", "ADA@lovelace.dev"), ("name", "ADA LÓV")]
    {
        chromium.open("/contacts").await;
        chromium.enter_text("input[name=company]", "acme").await;
        chromium.enter_text(&format!("input[name={field}]"), value).await;
        chromium.click("main form button").await;
        chromium.sees("Ada Lovelace").await;
    }
    chromium.click("main a[href^='/contacts/']").await;
    chromium.sees("Found by email").await;
    chromium.open("/playground").await;
    chromium.click("main form button").await;
    chromium.sees("Step 1: contact").await;
    app.wait_for_rows("webhook_deliveries", 0).await;
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn texts_of_strangers_do_not_run(app: &TestApp) {
    let process = with_corpus(app).await;
    let chromium = Chromium::sign_in(&process, "administer").await;
    let mut seen = String::new();
    let mut details = Vec::new();
    for path in PAGES {
        chromium.open(path).await;
        seen.push_str(&chromium.text().await);
        for kind in ["/dead-letters/", "/deliveries/", "/endpoints/"] {
            details.extend(chromium.links(kind).await.into_iter().take(CORPUS.len()));
        }
    }
    details.sort();
    details.dedup();
    for path in details {
        chromium.open(&path).await;
        seen.push_str(&chromium.text().await);
    }
    for hostile in CORPUS {
        assert!(seen.contains(hostile), "{hostile} is not shown as it is");
    }
    // The policy would have refused what the pages let through, and said so.
    chromium.assert_quiet().await;
    chromium.close().await;
}

#[apply(in_chromium)]
async fn pages_work_without_script(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    let chromium = Chromium::sign_in_without_script(&process, "operate").await;
    chromium.open("/failures").await;
    chromium.click("main a[href^='/dead-letters?signature=']").await;
    chromium.sees("2 on this page").await;
    // What only the script can do is not shown.
    assert_eq!(chromium.run("return document.querySelector('button.copy').hidden").await, true);
    assert_eq!(chromium.run("return document.querySelector('input.all').checkVisibility()").await, false);
    chromium.click("input[name=id]").await;
    chromium.click("button[value=discard]").await;
    chromium.sees("Discard 1 dead letter?").await;
    chromium.click("form[action$='/run'] button.danger").await;
    app.wait_for_rows("dead_letters WHERE state = 'discarded'", 1).await;
    chromium.open("/dead-letters?state=discarded").await;
    chromium.sees("1 on this page").await;
    only(chromium.links("/dead-letters/").await);
    chromium.close().await;
}
