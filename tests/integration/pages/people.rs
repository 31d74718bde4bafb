//! Contacts on pages, and what each role sees of them and may do.

use macro_rules_attribute::apply;

use super::browser::{Browser, let_in};
use crate::support::{app::TestApp, event::Event, only, test};

pub(super) async fn with_ada(app: &TestApp) -> crate::support::process::Process {
    let_in(app);
    let process = app.run(&[]).await;
    let event = Event::lead("Ada Lovelace").email("ada@lovelace.dev").phone("+5511987654321");
    app.broker.publish(&event.argument("identity", "529.982.247-25").argument("city", "London")).await;
    app.wait_for_rows("contacts", 1).await;
    process
}

#[apply(test)]
async fn contact_is_found_by_phone_or_email(app: &TestApp) {
    let process = with_ada(app).await;
    let browser = Browser::sign_in(&process, "operate").await;
    for (field, value) in [("phone", "+55 11 98765-4321"), ("email", "ADA@lovelace.dev")] {
        let found = browser.submit("/contacts", &[("company", "acme"), (field, value)]).await;
        assert_eq!(found.links("/contacts/").len(), 1, "{}", found.text);
        assert!(found.text.contains("Ada Lovelace"));
        let elsewhere = browser.submit("/contacts", &[("company", "other"), (field, value)]).await;
        assert!(
            elsewhere.links("/contacts/").is_empty() && elsewhere.text.contains("Nobody in this company")
        );
    }
    for (fields, says) in [
        (vec![("company", "acme")], "Give a phone number, an email address, a name, or a contact id"),
        (vec![("company", "acme"), ("phone", "no")], "The phone counts as no value"),
        (vec![("email", "ada@lovelace.dev")], "Give the id of a company"),
        (vec![("company", "acme"), ("contact", "7")], "not a whole UUID"),
    ] {
        let page = browser.submit("/contacts", &fields).await;
        assert!(page.text.contains(says), "{says}: {}", page.text);
    }
    let found = browser.submit("/contacts", &[("company", "acme"), ("email", "ada@lovelace.dev")]).await;
    let page = browser.open(&only(found.links("/contacts/"))).await;
    for text in ["Ada Lovelace", "London", "register_lead", "Created", "+5511987654321", "Found by email"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    // Nobody sees this without asking, and this role may not ask.
    assert!(!page.html.contains("529") && !page.actions().iter().any(|action| action.contains("reveal")));
}

#[apply(test)]
async fn contact_is_found_by_the_beginning_of_the_name(app: &TestApp) {
    let process = with_ada(app).await;
    let names =
        (0..60).map(|number| Event::lead(&format!("Ádam {number}")).email(&format!("a{number}@x.dev")));
    app.broker.publish_all(&names.collect::<Vec<_>>()).await;
    app.wait_for_rows("contacts", 61).await;
    let browser = Browser::sign_in(&process, "operate").await;
    let first = browser.submit("/contacts", &[("company", "acme"), ("name", "ada")]).await;
    let next = first.value_of("before").expect("a next page");
    let asked = [("company", "acme"), ("name", "ada"), ("before", next.as_str())];
    let second = browser.submit("/contacts", &asked).await;
    let found = [first.links("/contacts/"), second.links("/contacts/")];
    assert_eq!((found[0].len(), found[1].len(), second.value_of("before")), (50, 11, None));
    assert!(found[1].iter().all(|link| !found[0].contains(link)) && second.text.contains("Ada Lovelace"));
    // Whoever sees names masked cannot find one out letter by letter.
    let viewer = Browser::sign_in(&process, "view").await;
    let search = async |name| viewer.submit("/contacts", &[("company", "acme"), ("name", name)]).await;
    assert!(search("ada").await.links("/contacts/").is_empty());
    let found = search("ADA LOVELACE").await;
    assert!(found.links("/contacts/").len() == 1 && !found.text.contains("Lovelace"), "{}", found.text);
}

#[apply(test)]
async fn viewers_see_no_personal_data(app: &TestApp) {
    let process = with_ada(app).await;
    let browser = Browser::sign_in(&process, "view").await;
    let found = browser.submit("/contacts", &[("company", "acme"), ("email", "ada@lovelace.dev")]).await;
    let page = browser.open(&only(found.links("/contacts/"))).await;
    for secret in ["Ada", "Lovelace", "lovelace.dev", "98765", "London", "529"] {
        assert!(!page.html.contains(secret), "{secret}: {}", page.html);
    }
    assert_eq!(page.actions(), ["/sign-out"]);
}

#[apply(test)]
async fn person_is_erased_only_after_typing_the_id(app: &TestApp) {
    let process = with_ada(app).await;
    let browser = Browser::sign_in(&process, "administer").await;
    let found = browser.submit("/contacts", &[("company", "acme"), ("email", "ada@lovelace.dev")]).await;
    let link = only(found.links("/contacts/"));
    let page = browser.open(&link).await;
    let action = |verb: &str| only(page.actions().into_iter().filter(|action| action.contains(verb)));
    let revealed = browser.submit(&action("/reveal?"), &[]).await;
    assert!(revealed.text.contains("529.982.247-25"), "{}", revealed.text);
    assert!(!browser.open(&link).await.html.contains("529.982"), "once only");
    for typed in ["", "yes", "000000"] {
        let refused = browser.submit(&action("/erase?"), &[("confirmation", typed)]).await;
        assert!(refused.text.contains("Nothing was erased"), "{}", refused.text);
    }
    app.wait_for_rows("contacts", 1).await;
    let id = link.split(['/', '?']).nth(2).unwrap();
    let gone =
        browser.submit(&action("/erase?"), &[("confirmation", &id[30..]), ("reason", "asked for")]).await;
    assert!(gone.text.contains("The person was erased."), "{}", gone.text);
    app.wait_for_rows("contacts", 0).await;
    assert_eq!(browser.get(&link).await.status, 410);
    let audit = browser.open("/audit?company=acme").await;
    assert!(audit.text.contains("contact: reveal") && audit.text.contains("contact: erase"));
    assert!(audit.text.contains("asked for") && !audit.html.contains("Lovelace"), "{}", audit.text);
}

#[apply(test)]
async fn contacts_are_unmerged_after_a_look_at_the_plan(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("ada@lovelace.dev")).await;
    app.wait_for_rows("contacts", 1).await;
    app.broker.publish(&Event::lead("Bob").phone("+5511987654321")).await;
    app.wait_for_rows("contacts", 2).await;
    app.broker.publish(&Event::lead("Eve").email("ada@lovelace.dev").phone("+5511987654321")).await;
    app.wait_for_rows("contacts", 1).await;
    let browser = Browser::sign_in(&process, "edit").await;
    let found = browser.submit("/contacts", &[("company", "acme"), ("email", "ada@lovelace.dev")]).await;
    let page = browser.open(&only(found.links("/contacts/"))).await;
    assert!(page.text.contains("Merged in") && page.text.contains("Merged"), "{}", page.text);
    let action = only(page.actions().into_iter().filter(|action| action.contains("/unmerge?")));
    let plan = browser.submit(&action, &[]).await;
    assert!(plan.text.contains("Unmerge these contacts?"), "{}", plan.text);
    app.wait_for_rows("contacts", 1).await;
    let done = browser.submit(&action, &[("confirmed", "yes")]).await;
    assert!(done.text.contains("The contacts are two again."), "{}", done.text);
    app.wait_for_rows("contacts", 2).await;
}

#[apply(test)]
async fn playground_shows_fields_and_request_and_sends_nothing(app: &TestApp) {
    let_in(app);
    let process = app.run(&[]).await;
    let browser = Browser::sign_in(&process, "view").await;
    let page = browser.open("/playground").await;
    assert!(page.text.contains("register_qualified_lead"));
    let definition = r#"{"name": "t", "parameters": {"properties": {"name": {"type": "string"}, "email": {"type": "string"}}},
        "actions": [{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"},
                    {"type": "WEBHOOK", "url": "https://hooks.example.com/x?n=$name", "method": "POST", "body": {"to": "$email"}}]}"#;
    let arguments = r#"{"name": " Ada ", "email": "Ada@Lovelace.dev"}"#;
    let fields =
        [("definition", definition), ("arguments", arguments), ("client_data", "{}"), ("company", "acme")];
    let shown = browser.submit("/playground", &fields).await;
    for text in
        ["Step 1: contact", "ada@lovelace.dev", "Step 2: webhook", "https://hooks.example.com/x?n=", "\"to\""]
    {
        assert!(shown.text.contains(text), "{text}: {}", shown.text);
    }
    assert!(shown.text.contains("Nothing is wrong with the definition."), "{}", shown.text);
    for (written, instead, says) in [
        ("\"name\": \"name\"", "\"name\": \"$name\"", "error/actions/0/name"),
        ("https:", "http:", "warning/actions/1/url"),
        ("$email", "{{<b>}}", "warning/actions/1/body/to{{…}} is sent as written"),
    ] {
        let definition = definition.replace(written, instead);
        let shown = browser
            .submit("/playground", &[("definition", definition.as_str()), ("arguments", arguments)])
            .await;
        assert!(shown.text.contains(says), "{says}: {}", shown.text);
    }
    for (definition, arguments, says) in [
        ("{", "{}", "the definition is not JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", "[]", "Arguments must be a JSON object"),
        ("{}", "{}", "Dead letter"),
    ] {
        let refused =
            browser.submit("/playground", &[("definition", definition), ("arguments", arguments)]).await;
        assert!(refused.text.contains(says), "{says}: {}", refused.text);
    }
    for table in ["contacts", "dead_letters", "webhook_deliveries", "audit_log"] {
        app.wait_for_rows(table, 0).await;
    }
}
