//! What the API does is what the command line does, with the same JSON.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, post, served};
use crate::support::{app::TestApp, event::Event, http::Ask, process::Process, test};

/// All items of a listing, in pages of two.
async fn pages(process: &Process, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = get(process, "tok-o", &format!("{path}{mark}limit=2{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        all.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// An event without an identifier.
fn bad(name: &str) -> Event {
    Event::lead(name).email("no address").id(name)
}

/// Three dead letters, newest first, and a process that serves them.
async fn three(app: &TestApp) -> (Process, Vec<Value>) {
    let process = served(app).await;
    app.broker.publish_all(&["a", "b", "c"].map(bad)).await;
    app.wait_for_dead_letters_because("identifier_invalid", 3).await;
    let listed = pages(&process, "/api/v1/dead-letters?reason=identifier_invalid&stage=upsert").await;
    (process, listed)
}

fn id_of(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

#[apply(test)]
async fn dead_letters_are_listed_grouped_and_shown(app: &TestApp) {
    let (process, listed) = three(app).await;
    assert_eq!(json!(listed), app.json(&["dead-letter", "list"]).await);
    for (filter, count) in [
        ("event=a", 1),
        ("text=NO%20SUCH", 0),
        ("text=%25", 0),
        ("text=%5C", 0),
        ("state=discarded", 0),
        ("company=b", 0),
        ("since=1h&company=acme", 3),
        ("until=1h", 0),
    ] {
        let found = get(&process, "tok-v", &format!("/api/v1/dead-letters?{filter}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{filter}: {found:#}");
    }
    let groups = get(&process, "tok-v", "/api/v1/dead-letters/groups").await;
    assert_eq!((groups["items"].as_array().unwrap().len(), &groups["items"][0]["count"]), (1, &json!(3)));
    let signature = groups["items"][0]["signature"].as_str().unwrap();
    let note = format!("/api/v1/dead-letters/groups/{signature}/note");
    assert_eq!(post(&process, "tok-o", &note, &json!({ "text": "ask the author" })).await.status, 200);
    let id = id_of(&listed[0]);
    let shown = get(&process, "tok-o", &format!("/api/v1/dead-letters/{id}")).await;
    assert_eq!(shown, app.json(&["dead-letter", "show", id]).await);
    assert_eq!(shown["note"]["text"], "ask the author");
}

#[apply(test)]
async fn dead_letter_is_edited(app: &TestApp) {
    let (process, listed) = three(app).await;
    let edit = format!("/api/v1/dead-letters/{}/edit", id_of(&listed[2]));
    let event: Value = serde_json::from_slice(&bad("a").email("ada@x.example").bytes()).unwrap();
    let draft = post(&process, "tok-e", &edit, &json!({ "body": event, "dryRun": true })).await.json();
    assert_eq!(draft["dryRun"], true, "{draft}");
    let bad_body = post(&process, "tok-e", &edit, &json!({ "body": "{" })).await;
    assert_eq!((bad_body.status, kind(&bad_body).as_str()), (400, "invalid-request"), "{bad_body:?}");
    let mut foreign = event.clone();
    foreign["data"]["company"]["id"] = json!("b");
    let foreign = post(&process, "tok-e", &edit, &json!({ "body": foreign })).await;
    assert_eq!((foreign.status, kind(&foreign).as_str()), (422, "unprocessable"), "{foreign:?}");
    assert_eq!(app.rows("audit_log").await, 0);
    let edited = post(&process, "tok-e", &edit, &json!({ "body": event.to_string() })).await;
    assert_eq!((edited.status, &edited.json()["sent"]), (200, &json!(true)), "{edited:?}");
    app.wait_for_rows("contacts", 1).await;
    let late = post(&process, "tok-e", &edit, &json!({ "body": event })).await;
    assert_eq!((late.status, kind(&late).as_str()), (409, "conflict"), "{late:?}");
}

#[apply(test)]
async fn deliveries_are_listed_shown_and_resent(app: &TestApp) {
    let process = served(app).await;
    let url = app.receiver.url("/ok");
    let lead = |name: &str| Event::lead(name).email(&format!("{name}@x.example")).webhook(&url);
    app.broker.publish_all(&["a", "b", "c", "d", "e"].map(lead)).await;
    app.wait_for_deliveries("delivered", 5).await;
    let listed = pages(&process, "/api/v1/deliveries").await;
    assert_eq!(json!(listed), app.json(&["delivery", "list"]).await);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = get(&process, "tok-o", &format!("/api/v1/deliveries/{id}?company=acme")).await;
    assert_eq!(shown, app.json(&["delivery", "show", id]).await);
    let endpoint = listed[0]["endpointId"].as_str().unwrap();
    for (filter, count) in [
        ("state=delivered&state=dead", 5),
        ("state=pending", 0),
        (&format!("endpoint={endpoint}"), 5),
        ("company=b", 0),
        ("trigger=register_lead&since=1h", 5),
        ("trigger=%25", 0),
    ] {
        let found = get(&process, "tok-v", &format!("/api/v1/deliveries?{filter}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{filter}");
        assert_eq!(found["complete"], true);
    }
    let ids = json!({ "ids": [id, uuid::Uuid::now_v7()] });
    let resent = post(&process, "tok-o", "/api/v1/deliveries/resend", &ids).await.json();
    assert_eq!((&resent["resent"], &resent["results"][1]["outcome"]), (&json!(1), &json!("unknown")));
    app.webhooks(6).await;
    app.wait_for_deliveries("delivered", 5).await;
}

#[apply(test)]
async fn endpoints_are_listed_paused_resumed_and_tested(app: &TestApp) {
    let process = served(app).await;
    for company in ["acme", "b", "c"] {
        let lead = Event::lead("Ada").email("ada@x.example").company(company);
        app.broker.publish(&lead.webhook(&app.receiver.url("/ok"))).await;
    }
    app.wait_for_deliveries("delivered", 3).await;
    let listed = pages(&process, "/api/v1/endpoints").await;
    assert_eq!(json!(listed), app.json(&["endpoint", "list"]).await);
    assert_eq!(pages(&process, "/api/v1/endpoints?company=b").await, [listed[1].clone()]);
    let id = listed[0]["id"].as_str().unwrap();
    let mut shown = get(&process, "tok-o", &format!("/api/v1/endpoints/{id}")).await;
    let mut printed = app.json(&["endpoint", "show", id]).await;
    for counted in [&mut shown, &mut printed] {
        // A day before each of them was asked for.
        assert!(counted.as_object_mut().unwrap().remove("deliveriesSince").unwrap().is_string());
    }
    assert_eq!(shown, printed);
    for (verb, state, changed) in [
        ("pause", "paused", true),
        ("pause", "paused", false),
        ("resume", "open", true),
        ("enable", "open", false),
    ] {
        let ask = Ask::new("POST", &format!("/api/v1/endpoints/{id}/{verb}")).token("tok-o");
        let answer = process.ask(ask).await;
        let now = answer.json();
        assert_eq!((&now["state"], &now["changed"]), (&json!(state), &json!(changed)), "{verb}: {now}");
    }
    let tested = post(&process, "tok-o", "/api/v1/endpoints/test", &json!({ "endpoint": id })).await.json();
    assert_eq!(tested["attempt"]["status"], 200, "{tested}");
    let variables = json!({ "endpoint": "https://hooks.example/$name" });
    assert_eq!(post(&process, "tok-o", "/api/v1/endpoints/test", &variables).await.status, 422);
}

#[apply(test)]
async fn contacts_are_found_shown_split_and_erased(app: &TestApp) {
    let process = served(app).await;
    let (phone, email) = ("+5511987654321", "ada@x.example");
    app.broker
        .publish_in_turn(&[
            Event::lead("Ada").phone(phone),
            Event::lead("Bob").email(email),
            Event::lead("Ada").phone(phone).email(email),
        ])
        .await;
    let search = json!({ "company": "acme", "phone": "(11) 98765-4321" });
    app.set("contacts.default_region", "BR");
    let found = json!({ "company": "acme", "phone": phone });
    let found = post(&process, "tok-o", "/api/v1/contacts/search", &found).await.json();
    let by_command = app.json(&["contact", "find", "--company", "acme", "--phone", phone]).await;
    assert_eq!(found["items"], by_command);
    let national = post(&process, "tok-o", "/api/v1/contacts/search", &search).await;
    assert!([200, 400].contains(&national.status), "{national:?}");
    let id = found["items"][0]["id"].as_str().unwrap();
    let contact = format!("/api/v1/companies/acme/contacts/{id}");
    assert_eq!(
        get(&process, "tok-o", &contact).await,
        app.json(&["contact", "show", "--company", "acme", id]).await
    );
    let history = get(&process, "tok-v", &format!("{contact}/history")).await;
    assert_eq!(history["items"], app.json(&["contact", "history", "--company", "acme", id]).await);

    let unmerge = async |dry_run: bool| {
        post(&process, "tok-e", &format!("{contact}/unmerge"), &json!({ "dryRun": dry_run })).await
    };
    assert_eq!(unmerge(true).await.json()["dryRun"], true);
    assert_eq!(app.rows("contacts").await, 1);
    let split = unmerge(false).await;
    assert_eq!(split.status, 200, "{split:?}");
    assert_eq!((app.rows("contacts").await, unmerge(false).await.status), (2, 409));

    let erase = async |token: &str, dry_run: bool| {
        post(&process, token, &format!("{contact}/erase"), &json!({ "dryRun": dry_run })).await
    };
    assert_eq!(erase("tok-e", false).await.status, 403);
    assert_eq!(erase("tok-a", true).await.json()["removed"]["contacts"], 1);
    assert_eq!(app.rows("contacts").await, 2);
    let erased = erase("tok-a", false).await;
    assert_eq!((erased.status, &erased.json()["alreadyErased"]), (200, &json!(false)), "{erased:?}");
    assert_eq!(erase("tok-a", false).await.json()["alreadyErased"], true);
    let gone = process.ask(Ask::get(&contact).token("tok-v")).await;
    assert_eq!((gone.status, kind(&gone).as_str()), (410, "erased"));
    let elsewhere = process.ask(Ask::get(&contact.replace("acme", "b")).token("tok-v")).await;
    assert_eq!((elsewhere.status, kind(&elsewhere).as_str()), (404, "not-found"));
}
