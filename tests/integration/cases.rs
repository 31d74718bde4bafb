//! The files of `tests/cases`: inputs as people and programs really send them, each with its right outcome.
//! `tests/cases/README.md` describes them.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{app::TestApp, broker::Heard, dead_letters::Dead, event::Event, eventually, only, test};

fn path(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file);
    path.to_str().expect("a path").to_owned()
}

/// What became of an event: its `contact.upserted`, or its dead letter.
#[derive(Debug)]
enum End {
    Applied(Heard),
    Refused(Dead),
}

impl End {
    #[track_caller]
    fn applied(self) -> Heard {
        match self {
            Self::Applied(heard) => heard,
            Self::Refused(dead) => panic!("{}: {}", dead.reason, dead.message),
        }
    }

    /// The reason of its dead letter.
    #[track_caller]
    fn refused(self) -> String {
        match self {
            Self::Applied(heard) => panic!("it was applied: {}", heard.body),
            Self::Refused(dead) => dead.reason,
        }
    }
}

async fn end(app: &TestApp, event: &Event) -> End {
    eventually("the event has an end", async || {
        let heard = app.broker.heard().await.into_iter().find(|heard| {
            heard.at("/type") == "contact.upserted" && heard.at("/data/trigger/eventId") == event.event_id()
        });
        if let Some(heard) = heard {
            return Some(End::Applied(heard));
        }
        let dead = app.dead_letters().await.into_iter();
        dead.filter(|dead| dead.event_id.as_deref() == Some(event.event_id())).map(End::Refused).next()
    })
    .await
}

/// Publishes each line of a case after the one before has its end. `folding` replaces the address of the receiver that
/// folds a header.
async fn fed_with(app: &TestApp, case: &str, folding: &str) -> Vec<End> {
    app.run(&[]).await;
    let text = std::fs::read_to_string(path(&format!("{case}.ndjson"))).expect("the case");
    let text = text.replace("http://127.0.0.1:18080", &app.receiver.url(""));
    let text = text.replace("http://127.0.0.1:18081", folding);
    let mut ends = Vec::new();
    for line in text.lines() {
        let published = app.cli_with_input(&["publish", "-"], line.as_bytes()).await;
        assert_eq!(
            (published.code, published.stdout.as_str()),
            (Some(0), "sent 1, failed 0\n"),
            "{published:?}"
        );
        ends.push(end(app, &Event::from_json(serde_json::from_str(line).expect("an event"))).await);
    }
    ends
}

async fn fed(app: &TestApp, case: &str) -> Vec<End> {
    fed_with(app, case, "").await
}

async fn fed_two(app: &TestApp, case: &str) -> [End; 2] {
    fed(app, case).await.try_into().expect("two events")
}

/// The only event of a case.
async fn fed_one(app: &TestApp, case: &str) -> Heard {
    only(fed(app, case).await).applied()
}

/// The values of the contact, without what the service adds.
fn values(heard: &Heard) -> Value {
    let mut contact = heard.at("/data/contact").clone();
    for own in ["id", "companyId", "version", "createdAt", "updatedAt"] {
        contact.as_object_mut().expect("a contact").remove(own);
    }
    contact
}

#[track_caller]
fn assert_created(heard: &Heard, expected: &Value) {
    assert_eq!((heard.at("/data/operation"), heard.at("/data/rejected")), (&json!("created"), &json!([])));
    assert_eq!(&values(heard), expected);
}

/// The second event of a case changes nothing of what the first one stored.
async fn assert_kept(app: &TestApp, case: &str, stored: Value) {
    let [first, second] = fed_two(app, case).await.map(End::applied);
    assert_created(&first, &stored);
    assert_eq!(second.at("/data/operation"), "unchanged", "{}", second.body);
    assert_eq!((second.at("/data/changed"), second.at("/data/rejected")), (&json!([]), &json!([])));
    assert_eq!((second.at("/subject"), values(&second)), (first.at("/subject"), stored));
    assert_eq!(app.rows("contacts").await, 1);
}

#[apply(test)]
async fn c01_null_satisfies_a_schema_that_admits_it(app: &TestApp) {
    let [nullable, not_nullable] = fed_two(app, "C01").await;
    assert_created(&nullable.applied(), &json!({"name": "Helena Prado", "phone": "+5585988124471"}));
    assert_eq!(not_nullable.refused(), "arguments_invalid");
    assert_eq!(app.rows("contacts").await, 1);
}

#[apply(test)]
async fn c02_pattern_with_look_ahead_is_checked(app: &TestApp) {
    let expected = json!({"name": "Igor Menezes", "email": "igor@firma-c02.example"});
    assert_created(&fed_one(app, "C02").await, &expected);
}

#[apply(test)]
async fn c04_definitions_may_use_each_other(app: &TestApp) {
    let [nested, broken] = fed_two(app, "C04").await;
    assert_created(&nested.applied(), &json!({"name": "Kelly Ramos", "email": "kelly@firma-c04.example"}));
    assert_eq!(broken.refused(), "arguments_invalid");
    assert_eq!(app.rows("contacts").await, 1);
}

#[apply(test)]
async fn c05_empty_list_is_an_empty_map(app: &TestApp) {
    let expected = json!({"name": "Lucas Freire", "email": "lucas@firma-c05.example"});
    assert_created(&fed_one(app, "C05").await, &expected);
}

#[apply(test)]
async fn c06_email_is_taken_from_its_link(app: &TestApp) {
    let [slack, markdown] = fed_two(app, "C06").await;
    let slack = slack.applied();
    assert_created(&slack, &json!({"name": "Marta Nogueira", "email": "marta@firma-c06.example"}));
    let expected = json!({"name": "Nilo Barreto", "email": "nilo@firma-c06.example"});
    assert_created(&markdown.applied(), &expected);
}

#[apply(test)]
async fn c08_number_with_0xx_is_brazilian(app: &TestApp) {
    let [landline, mobile] = fed_two(app, "C08").await;
    assert_created(&landline.applied(), &json!({"name": "Sonia Bastos", "phone": "+558533445567"}));
    assert_created(&mobile.applied(), &json!({"name": "Tiago Luz", "phone": "+5585999112237"}));
}

#[apply(test)]
async fn c11_none_as_text_replaces_nothing(app: &TestApp) {
    let stored = json!({
        "name": "Wagner Teles", "email": "wagner@firma-c11.example", "company": "Teles e Filhos",
        "position": "Gerente", "city": "Sobral"
    });
    assert_kept(app, "C11", stored).await;
}

#[apply(test)]
async fn c12_expression_that_nobody_evaluated_replaces_nothing(app: &TestApp) {
    let stored = json!({
        "name": "Yasmin Couto", "phone": "+5585986407712", "email": "yasmin@firma-c12.example",
        "company": "Couto SA"
    });
    assert_kept(app, "C12", stored).await;
}

#[apply(test)]
async fn c13_made_up_email_merges_nobody(app: &TestApp) {
    let ends: Vec<Heard> = fed(app, "C13").await.into_iter().map(End::applied).collect();
    let phones: Vec<&Value> = ends.iter().map(|heard| heard.at("/data/contact/phone")).collect();
    assert_eq!(phones, ["+5585988112207", "+5511977223308", "+5521966334409", "+5531955445501"]);
    let names: Vec<&Value> = ends.iter().map(|heard| heard.at("/data/contact/name")).collect();
    assert_eq!(names, ["Bruno Teixeira", "Carla Nunes", "Davi Rocha", "Elisa Moura"]);
    let ids: BTreeSet<&str> = ends.iter().filter_map(|heard| heard.at("/subject").as_str()).collect();
    assert_eq!((ids.len(), app.rows("contacts").await), (4, 4));
}

#[apply(test)]
async fn c17_order_of_members_makes_no_other_event(app: &TestApp) {
    app.run(&[]).await;
    let published = app.cli(&["publish", &path("C17.ndjson")]).await;
    assert_eq!((published.code, published.stdout.as_str()), (Some(0), "sent 2, failed 0\n"));
    let event = Event::from_json(json!({"id": "c17-same"}));
    let expected = json!({"name": "Lia Fontes", "email": "lia@firma-c17.example"});
    assert_created(&end(app, &event).await.applied(), &expected);
    app.assert_settled().await;
    let heard = app.broker.heard().await;
    let ids: BTreeSet<&str> = heard.iter().filter_map(|heard| heard.at("/id").as_str()).collect();
    assert_eq!((ids.len(), app.dead_letters().await), (1, vec![]));
    assert_eq!((app.rows("applied_events").await, app.rows("contacts").await), (1, 1));
}

#[apply(test)]
async fn c18_message_may_begin_with_a_byte_order_mark(app: &TestApp) {
    app.run(&[]).await;
    let bytes = std::fs::read(path("C18.bin")).unwrap();
    assert!(bytes.starts_with(b"\xef\xbb\xbf{"));
    app.broker.publish_bytes("trigger.fired", &bytes, BasicProperties::default()).await;
    let event = Event::from_json(json!({"id": "c18-message"}));
    let expected = json!({"name": "Mauro Reis", "email": "mauro@firma-c18.example"});
    assert_created(&end(app, &event).await.applied(), &expected);
}

/// The webhook of a previewed trigger, with the default settings about addresses.
async fn previewed(app: &TestApp, case: &str, arguments: &str) -> Value {
    app.set("webhook.allowed_networks", "");
    app.set("webhook.allow_http", "false");
    let trigger = path(&format!("{case}.trigger.json"));
    let shown = app.json(&["trigger", "preview", &trigger, "--arguments", arguments]).await;
    let webhook = shown["steps"][1].clone();
    assert_eq!((&webhook["type"], webhook.get("error")), (&json!("WEBHOOK"), None));
    webhook
}

#[apply(test)]
async fn c20_json_text_with_bare_variables_is_json(app: &TestApp) {
    let expected = json!({
        "lead": "Ana \"Bia\" Souza", "employees": 12, "note": "linha 1\nlinha 2\", \"admin\": \"yes"
    });
    let contact = json!({"name": "Ana \"Bia\" Souza", "email": "ana@firma-c20.example"});
    assert_created(&fed_one(app, "C20").await, &contact);
    let sent = only(app.webhooks(1).await);
    assert_eq!((sent.path.as_str(), sent.header("content-type")), ("/c20", Some("application/json")));
    assert_eq!(sent.json().unwrap(), expected);
    let shown = previewed(app, "C20", &format!("@{}", path("C20.arguments.json"))).await;
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, expected);
    assert!(shown["headers"].to_string().contains(r#"["content-type","application/json"]"#), "{shown}");
}

#[apply(test)]
async fn c21_parameter_that_was_not_given_is_empty(app: &TestApp) {
    for end in fed(app, "C21").await {
        end.applied();
    }
    let mut sent: Vec<(String, Value)> =
        app.webhooks(3).await.into_iter().map(|sent| (sent.path.clone(), sent.json().unwrap())).collect();
    sent.sort_by(|one, other| one.0.cmp(&other.0));
    let empty = |name: &str| json!({"lead": name, "interest": null, "text": "Interest: ."});
    let expected = [
        ("/c21/absent".to_owned(), empty("Pedro Sá")),
        ("/c21/null".to_owned(), empty("Rita Paz")),
        ("/c21/query?plan=".to_owned(), json!({"lead": "Saul Brito"})),
    ];
    assert_eq!(sent, expected);
    app.wait_for_deliveries("delivered", 3).await;
    assert_eq!(app.dead_letters().await, []);
}

#[apply(test)]
async fn c22_receiver_may_listen_on_any_port(app: &TestApp) {
    let arguments = r#"{"name": "Otto Braga", "email": "otto@firma-c22.example"}"#;
    let shown = previewed(app, "C22", arguments).await;
    assert_eq!(shown["url"], "https://automation.firma-c22.example:5678/webhook/lead");
    assert_eq!(shown["body"], r#"{"lead":"Otto Braga"}"#);
}

/// Answers every request with a folded header; counts the connections, each of which carries one request.
async fn folding_receiver() -> (String, Arc<AtomicUsize>) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Security-Policy: default-src 'self';\r\n    \
        img-src 'self' data:\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut read = Vec::new();
            // The body follows the head, and is no longer than what a read returns.
            while !read.ends_with(b"}") {
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer).await {
                    Ok(length @ 1..) => read.extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
            let _ = stream.write_all(ANSWER).await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("http://{address}"), count)
}

#[apply(test)]
async fn c23_folded_header_is_no_failure(app: &TestApp) {
    let (url, requests) = folding_receiver().await;
    only(fed_with(app, "C23", &url).await).applied();
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.rows("webhook_deliveries WHERE attempts = 1").await, 1);
    assert_eq!((requests.load(Ordering::SeqCst), app.dead_letters().await), (1, vec![]));
}
