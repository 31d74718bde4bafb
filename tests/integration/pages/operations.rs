//! What operators do to many dead letters on pages: they see how many these are, run it, and watch it end.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{
    broken,
    browser::{Browser, Page, let_in},
    with_dead_letters,
};
use crate::support::{app::TestApp, eventually, http::Ask, only, process::Process, test};

/// Plans what a button does to all dead letters of the page, which are ticked.
pub(super) async fn plan_ticked(browser: &Browser, page: &Page, action: &str) -> Page {
    let ids = page.values_of("id");
    let mut fields: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
    fields.push(("action", action));
    browser.submit("/operations/plan", &fields).await
}

/// The form of the page that does this.
fn form(page: &Page, verb: &str) -> String {
    only(page.actions().into_iter().filter(|action| action.ends_with(&format!("/{verb}"))))
}

/// Runs a planned operation, and loads its page until it has this state.
pub(super) async fn run(browser: &Browser, planned: &Page, fields: &[(&str, &str)], state: &str) -> Page {
    let page = browser.submit(&form(planned, "run"), fields).await;
    assert!(page.text.contains("as soon as a process takes it up"), "{}", page.text);
    let path = planned.at.clone();
    eventually(&format!("the operation is {state}"), async || {
        let page = browser.open(&path).await;
        page.html.contains(&format!("\">{state}</span></h1>")).then_some(page)
    })
    .await
}

#[apply(test)]
async fn all_that_match_are_counted_and_then_replayed(app: &TestApp) {
    let process = with_dead_letters(app, 60).await;
    app.broker.publish(&broken("Other").company("other")).await;
    app.wait_for_rows("dead_letters", 61).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let page = browser.open("/dead-letters?company=acme&reason=identifier_invalid").await;
    let fields: Vec<(&str, String)> =
        ["company", "reason"].map(|name| (name, page.values_of(name).pop().unwrap_or_default())).to_vec();
    assert!(page.actions().contains(&"/operations/plan".to_owned()));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // The page shows 50, and one of them is ticked.
    let ticked = page.value_of("id").unwrap();
    let fields = [&fields[..], &[("id", &ticked), ("matching", "replay")]].concat();
    let planned = browser.submit("/operations/plan", &fields).await;
    assert!(planned.text.contains("Replay 60 dead letters?"), "{}", planned.text);
    assert!(planned.text.contains("company acme") && planned.text.contains("Exactly these 60"));
    assert_eq!(app.rows("dead_letters WHERE replays = 0").await, 61);
    let done = run(&browser, &planned, &[("rate", ""), ("reason", "fixed")], "done").await;
    assert!(done.text.contains("60done"), "{}", done.text);
    app.wait_for_rows("dead_letters WHERE state = 'open' AND replays = 1 AND company_id = 'acme'", 60).await;
    assert_eq!(app.rows("dead_letters WHERE replays = 0").await, 1);
    assert_eq!(
        app.rows("audit_log WHERE via = 'console' AND reason = 'fixed' AND action = 'dead_letter.replay'")
            .await,
        60
    );
    // Item by item, in pages, with the way to each dead letter.
    let next = only(done.links(&done.at).into_iter().filter(|link| link.contains("cursor=")));
    let rest = browser.open(&next).await;
    assert_eq!((done.links("/dead-letters/").len(), rest.links("/dead-letters/").len()), (50, 10));
    let skipped = browser.open(&format!("{}?outcome=skipped", done.at)).await;
    assert!(skipped.text.contains("No item has this outcome and state."), "{}", skipped.text);
    let listed = browser.open("/operations").await;
    assert_eq!(listed.links("/operations/"), [done.at.as_str()]);
    assert!(listed.text.contains("Replay of 60 dead letters") && listed.text.contains("olga"));
    let audit = browser.open("/audit?action=operation.run").await;
    assert_eq!(audit.links("/operations/"), [done.at]);
}

#[apply(test)]
async fn whole_cause_is_discarded_and_restored(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let failures = browser.open("/failures").await;
    let signature = failures.value_of("signature").unwrap();
    assert!(failures.actions().contains(&"/operations/plan".to_owned()));
    let fields = [("signature", signature.as_str()), ("company", ""), ("matching", "discard")];
    let planned = browser.submit("/operations/plan", &fields).await;
    assert!(planned.text.contains("Discard 3 dead letters?"), "{}", planned.text);
    assert!(!planned.html.contains("name=\"canary\""));
    run(&browser, &planned, &[], "done").await;
    assert_eq!(app.rows("dead_letters WHERE state = 'discarded' AND settled_by = 'olga'").await, 3);
    let page = browser.open("/dead-letters?state=discarded").await;
    let planned = plan_ticked(&browser, &page, "restore").await;
    run(&browser, &planned, &[("reason", "not yet")], "done").await;
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 3);
    let letter = browser.open("/dead-letters").await.links("/dead-letters/").remove(0);
    let letter = browser.open(&letter).await;
    let (_, done) = letter.text.split_once("What operators did").expect("what was done");
    let places = ["Restore", "not yet", "Discard"].map(|word| done.find(word));
    assert!(places.is_sorted() && places[0].is_some() && done.contains("by olga"), "{done}");
}

#[apply(test)]
async fn operation_is_paused_resumed_and_canceled_on_its_page(app: &TestApp) {
    let process = with_dead_letters(app, 40).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let viewer = Browser::sign_in(&process, "view").await;
    let dropped = browser.submit("/operations/plan", &[("matching", "discard")]).await;
    let dropped = browser.submit(&form(&dropped, "cancel"), &[("rate", ""), ("reason", "")]).await;
    assert!(dropped.text.contains("It is canceled."), "{}", dropped.text);
    let planned = browser.submit("/operations/plan", &[("matching", "discard")]).await;
    assert_eq!(viewer.open(&planned.at).await.actions(), ["/sign-out"]);
    let running = run(&browser, &planned, &[("rate", "10")], "running").await;
    assert!(running.text.contains("Load again") && running.text.contains("10 per second"));
    app.wait_for_rows("operations WHERE done > 0", 1).await;
    let paused = browser.submit(&form(&running, "pause"), &[]).await;
    assert!(paused.text.contains("It is paused."), "{}", paused.text);
    let resumed = browser.submit(&form(&paused, "resume"), &[("rate", "12")]).await;
    assert!(
        resumed.text.contains("It goes on.") && resumed.text.contains("12 per second"),
        "{}",
        resumed.text
    );
    let canceled = browser.submit(&form(&resumed, "cancel"), &[]).await;
    assert!(canceled.text.contains("It is canceled."), "{}", canceled.text);
    assert_eq!(canceled.actions(), ["/sign-out"]);
    // A form that was loaded before is refused with a page.
    let late = browser.submit(&form(&running, "pause"), &[]).await;
    assert!(late.status == 409 && late.text.contains("canceled"), "{}", late.text);
    let twice = browser.submit(&form(&planned, "run"), &[]).await;
    assert_eq!(twice.status, 409);
    assert!(app.rows("dead_letters WHERE state = 'open'").await > 0);
}

#[apply(test)]
async fn canary_that_failed_is_explained(app: &TestApp) {
    let process = with_dead_letters(app, 5).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let planned = browser.submit("/operations/plan", &[("matching", "replay")]).await;
    let paused = run(&browser, &planned, &[("canary", "yes")], "paused").await;
    assert!(paused.text.contains("It paused itself: 1 of 1 replays failed again"), "{}", paused.text);
    assert_eq!(app.rows("dead_letters WHERE replays = 0").await, 4);
}

#[apply(test)]
async fn plan_of_nothing_is_explained(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let browser = Browser::sign_in(&process, "operate").await;
    assert!(browser.open("/operations").await.text.contains("There are no operations."));
    let nothing = browser.submit("/operations/plan", &[("matching", "replay")]).await;
    assert!(nothing.text.contains("No dead letter matches"), "{}", nothing.text);
    for (fields, says) in [
        (&[("action", "replay")][..], "select at least one"),
        (&[("action", "purge")], "expected replay, discard or restore"),
        (&[("matching", "replay"), ("since", "soon")], "expected a time"),
        (&[("matching", "replay"), ("state", "resolved")], "cannot be changed so"),
        (&[("action", "replay"), ("id", "7")], "expected the ids of the page"),
        (&[], "choose what to do"),
    ] {
        let refused = browser.submit("/operations/plan", fields).await;
        assert!(refused.status == 400 && refused.text.contains(says), "{fields:?}: {}", refused.text);
    }
    let rate = browser.submit(&format!("{}/run", nothing.at), &[("rate", "fast")]).await;
    assert!(rate.status == 400 && rate.text.contains("a whole number"), "{}", rate.text);
    for path in ["/operations/x", "/operations/00000000-0000-0000-0000-000000000000"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        page.assert_harmless();
    }
    let fault = browser.open(&format!("{}?outcome=half&cursor=x", nothing.at)).await;
    assert!(fault.text.contains("expected one of the list"), "{}", fault.text);
    assert_eq!(app.rows("operations").await, 1);
}

/// Plans a replay of all dead letters over the API, and returns the path of its page.
async fn plan_elsewhere(process: &Process) -> String {
    let body = json!({ "action": "replay", "filter": {}, "rate": 50, "canary": true });
    let planned = process.ask(Ask::post("/api/v1/operations", &body).token("operate")).await;
    assert_eq!(planned.status, 201, "{planned:?}");
    format!("/operations/{}", planned.json()["id"].as_str().unwrap())
}

/// The rate and the canary of an operation, which has paused after its first step.
async fn terms(app: &TestApp, path: &str) -> (Value, bool) {
    let id = path.rsplit('/').next().unwrap();
    let operation = eventually("the operation is paused", async || {
        let found = app.json(&["operation", "show", id]).await;
        (found["state"] == "paused").then_some(found)
    })
    .await;
    (operation["rate"].clone(), operation["canary"].is_number())
}

/// Whoever runs a plan keeps what was planned, and changes only what they name.
#[apply(test)]
async fn plan_of_another_face_keeps_its_rate_and_its_canary(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let path = plan_elsewhere(&process).await;
    let page = browser.open(&path).await;
    assert_eq!(page.value_of("rate").as_deref(), Some("50"));
    assert!(page.html.contains("name=\"canary\" value=\"yes\" checked"), "{}", page.html);
    browser.submit(&form(&page, "run"), &[("rate", "50"), ("canary", "yes"), ("reason", "")]).await;
    assert_eq!(terms(app, &path).await, (json!(50), true));
    // Both fields were emptied.
    let path = plan_elsewhere(&process).await;
    let done = run(&browser, &browser.open(&path).await, &[("rate", "")], "done").await;
    assert!(done.text.contains("no limit"), "{}", done.text);
    let run = "audit_log WHERE action = 'operation.run' AND before = '{\"state\": \"planned\", \"rate\": 50, \"canary\": 1}'
        AND after = '{\"state\": \"running\", \"rate\": null, \"canary\": null}'";
    assert_eq!(app.rows(run).await, 1);
    // On the command line and over the API.
    for (options, rate) in [
        (&[][..], json!(50)),
        (&["--rate", "7"], json!(7)),
        (&["--canary"], json!(50)),
        (&["--rate", "unlimited"], Value::Null),
    ] {
        let path = plan_elsewhere(&process).await;
        let id = path.rsplit('/').next().unwrap();
        let ended = app.cli(&[&["operation", "run", id], options].concat()).await;
        assert_eq!(ended.code, Some(3), "{options:?}: {}", ended.stderr);
        assert_eq!(terms(app, &path).await, (rate, true), "{options:?}");
    }
    let path = plan_elsewhere(&process).await;
    let ended = app.json(&["operation", "run", path.rsplit('/').next().unwrap(), "--no-canary"]).await;
    assert_eq!(
        (&ended["rate"], &ended["canary"], &ended["state"]),
        (&json!(50), &Value::Null, &json!("done"))
    );
    for (body, rate) in [
        (json!({}), json!(50)),
        (json!({ "rate": 7 }), json!(7)),
        (json!({ "rate": null, "canary": null }), json!(50)),
        (json!({ "rate": "unlimited" }), Value::Null),
    ] {
        let path = plan_elsewhere(&process).await;
        let running = process.ask(Ask::post(&format!("/api/v1{path}/run"), &body).token("operate")).await;
        assert_eq!(running.status, 200, "{running:?}");
        assert_eq!(terms(app, &path).await, (rate, true), "{body}");
    }
    let path = plan_elsewhere(&process).await;
    let body = json!({ "canary": false });
    let running = process.ask(Ask::post(&format!("/api/v1{path}/run"), &body).token("operate")).await;
    assert_eq!((&running.json()["rate"], &running.json()["canary"]), (&json!(50), &Value::Null));
}

/// In every face, whoever resumes an operation keeps its rate, changes it or takes it off.
#[apply(test)]
async fn rate_of_a_paused_operation_is_taken_off(app: &TestApp) {
    let process = with_dead_letters(app, 30).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let paused = async |action: &str| {
        let body = json!({ "action": action, "filter": {}, "rate": 1 });
        let planned = process.ask(Ask::post("/api/v1/operations", &body).token("operate")).await.json();
        let path = format!("/operations/{}", planned["id"].as_str().unwrap());
        for verb in ["run", "pause"] {
            let path = format!("/api/v1{path}/{verb}");
            let done = process.ask(Ask::post(&path, &json!({})).token("operate")).await;
            assert_eq!((done.status, &done.json()["rate"]), (200, &json!(1)), "{done:?}");
        }
        path
    };
    let path = paused("discard").await;
    let resumed =
        app.json(&["operation", "resume", path.rsplit('/').next().unwrap(), "--rate", "unlimited"]).await;
    assert_eq!((&resumed["rate"], &resumed["state"]), (&Value::Null, &json!("done")));
    let path = paused("restore").await;
    let (resume, body) = (format!("/api/v1{path}/resume"), json!({ "rate": "unlimited" }));
    let resumed = process.ask(Ask::post(&resume, &body).token("operate")).await;
    assert_eq!((resumed.status, &resumed.json()["rate"]), (200, &Value::Null));
    app.wait_for_rows("dead_letters WHERE state = 'open'", 30).await;
    let path = paused("discard").await;
    let page = browser.open(&path).await;
    assert_eq!(page.value_of("rate").as_deref(), Some("1"));
    let resumed = browser.submit(&form(&page, "resume"), &[("rate", "")]).await;
    assert!(resumed.text.contains("no limit"), "{}", resumed.text);
}

/// What cannot fail again has nothing to try, whoever asks for it.
#[apply(test)]
async fn canary_of_a_discard_is_refused(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let body = json!({ "action": "discard", "filter": {} });
    let planned = process.ask(Ask::post("/api/v1/operations", &body).token("operate")).await.json();
    let path = format!("/operations/{}", planned["id"].as_str().unwrap());
    let run = format!("/api/v1{path}/run");
    let refused = process.ask(Ask::post(&run, &json!({ "canary": true })).token("operate")).await;
    assert!(refused.status == 409 && refused.text().contains("has no canary"), "{refused:?}");
    let id = planned["id"].as_str().unwrap();
    let command = app.cli(&["operation", "run", id, "--canary"]).await;
    assert!(command.code == Some(1) && command.stderr.contains("has no canary"), "{}", command.stderr);
    let browser = Browser::sign_in(&process, "operate").await;
    let page = browser.submit(&format!("{path}/run"), &[("canary", "yes")]).await;
    assert!(page.status == 409 && page.text.contains("has no canary"), "{}", page.text);
    assert_eq!(app.rows("operations WHERE state = 'planned'").await, 1);
    assert_eq!(app.json(&["operation", "run", id, "--no-canary"]).await["state"], "done");
}

/// An operation leaves some day, and the record does not.
#[apply(test)]
async fn record_of_an_operation_says_what_was_planned_and_changed(app: &TestApp) {
    let process = with_dead_letters(app, 30).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let body =
        json!({ "action": "discard", "filter": { "company": "acme", "text": "register" }, "rate": 10 });
    let planned = process.ask(Ask::post("/api/v1/operations", &body).token("operate")).await;
    let path = format!("/operations/{}", planned.json()["id"].as_str().unwrap());
    let id = path.rsplit('/').next().unwrap();
    run(&browser, &browser.open(&path).await, &[("rate", "10"), ("reason", "junk")], "running").await;
    app.json(&["operation", "pause", id]).await;
    app.json(&["operation", "resume", id, "--rate", "400"]).await;
    let audited = app.json(&["audit", "list", "--object", id]).await;
    let row = |action: &str| {
        let rows = audited.as_array().unwrap();
        only(rows.iter().filter(|row| row["action"] == action).cloned().collect::<Vec<_>>())
    };
    let plan = row("operation.plan")["after"].clone();
    assert_eq!((&plan["action"], &plan["rate"]), (&json!("discard"), &json!(10)));
    assert_eq!(plan["selection"]["company"], "acme");
    assert!(!plan.to_string().contains("register"), "{plan}");
    let run = row("operation.run");
    assert_eq!((&run["before"]["state"], &run["after"]["state"]), (&json!("planned"), &json!("running")));
    assert_eq!((&run["before"]["rate"], &run["after"]["rate"]), (&json!(10), &json!(10)));
    let resume = row("operation.resume");
    assert_eq!(
        (&resume["before"]["state"], &resume["after"]["state"]),
        (&json!("paused"), &json!("running"))
    );
    assert_eq!((&resume["before"]["rate"], &resume["after"]["rate"]), (&json!(10), &json!(400)));
}
