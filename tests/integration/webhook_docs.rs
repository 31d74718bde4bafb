//! Runs the code of `docs/webhooks.md`: its verification snippets on genuine and forged requests, its triggers
//! against imitations of their receivers.

mod verify;

use std::{fs, process::Stdio};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use contact_relay::{
    dev::demo_receiver::Received,
    domain::webhook::{
        attempt::Class,
        signature::{self, SigningSecret},
    },
};
use macro_rules_attribute::apply;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::support::{WAIT_TIMEOUT, app::TestApp, event::Event, only, register, test};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
const PRIVATE: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
/// Keys that signed nothing.
const STRANGE: [&str; 2] =
    ["whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH", "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="];

/// The text of the only code block that is fenced with this info string.
fn block(info: &str) -> String {
    let docs = fs::read_to_string("docs/webhooks.md").unwrap();
    let fence = format!("```{info}\n");
    let after: Vec<&str> = docs.split(fence.as_str()).skip(1).collect();
    only(after).split("```\n").next().unwrap().to_owned()
}

/// A request, one key of the receiver, and whether it must be accepted.
struct Case {
    what: String,
    key: &'static str,
    headers: Headers,
    body: Vec<u8>,
    genuine: bool,
}

/// Genuine requests of the service, first and later attempts, and forgeries of each.
async fn cases(app: &TestApp) -> Vec<Case> {
    app.set("webhook.signing_secrets", &[OLD, PRIVATE, NEW].join(","));
    app.run(&[]).await;
    let to = |path: &str, method: &str| json!({"type": "WEBHOOK", "url": app.receiver.url(path), "method": method});
    let mut text = to("/text", "PUT");
    text["body"] = json!("Olá $name, é você? 👋");
    let event = Event::lead("Ação & <Co>")
        .action(to("/event", "POST"))
        .action(to("/get", "GET"))
        .action(to("/flaky/1", "POST"))
        .action(text);
    app.broker.publish(&event).await;
    let requests = app.webhooks(5).await;
    let mut cases: Vec<Case> = requests.iter().flat_map(of_request).collect();
    let event = only(requests.iter().filter(|request| request.path == "/event"));
    cases.extend(forgeries(event));
    cases
}

fn of_request(request: &Received) -> Vec<Case> {
    let keys = [(OLD, true), (NEW, true), (PUBLIC, true), (STRANGE[0], false), (STRANGE[1], false)];
    let case = |(key, genuine)| Case {
        what: request.path.clone(),
        key,
        headers: headers(request),
        body: request.body.to_vec(),
        genuine,
    };
    keys.map(case).into()
}

fn headers(request: &Received) -> Headers {
    let header = |name: &HeaderName| (name.to_string(), request.header(name.as_str()).unwrap().into());
    request.headers.keys().map(header).collect()
}

type Headers = Map<String, Value>;

/// A change to a header's value.
type Rewrite = fn(&str) -> String;

/// A forged request for each kind of key. No receiver may accept it.
fn forge(request: &Received, what: &str, change: impl Fn(&mut Headers, &mut Vec<u8>)) -> Vec<Case> {
    let case = |key| {
        let (mut headers, mut body) = (headers(request), request.body.to_vec());
        change(&mut headers, &mut body);
        Case { what: what.to_owned(), key, headers, body, genuine: false }
    };
    [OLD, NEW, PUBLIC].map(case).into()
}

/// The ways to forge a request.
fn forgeries(request: &Received) -> Vec<Case> {
    let last = request.body.len() - 1;
    let bits = [(0, 0), (0, 7), (last / 2, 3), (last, 0)].into_iter();
    let bits =
        bits.flat_map(|(at, bit)| forge(request, "a bit of the body", move |_, body| body[at] ^= 1 << bit));
    let mut forged: Vec<Case> = bits.collect();
    forged.extend(forge(request, "a longer body", |_, body| body.push(b' ')));
    forged.extend(forge(request, "a shorter body", |_, body| body.truncate(last)));
    forged.extend(forge(request, "no body", |_, body| body.clear()));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        forged.extend(forge(request, name, |headers, _| drop(headers.remove(name))));
        for value in ["", "é, v1,"] {
            forged.extend(forge(request, name, |headers, _| headers[name] = value.into()));
        }
    }
    let digits = "9".repeat(400);
    for time in ["soon", "NaN", "-1", "1e9", "Infinity", digits.as_str()] {
        forged.extend(forge(request, time, |headers, _| headers["webhook-timestamp"] = time.into()));
    }
    let later = |text: &str| (text.parse::<i64>().unwrap() + 1).to_string();
    let rewritten: [(&str, &str, Rewrite); 5] = [
        ("webhook-timestamp", "a second later", later),
        ("webhook-id", "another id", |id| id.replace('-', "_")),
        ("webhook-signature", "other signatures", |all| of_each(all, other_signature)),
        ("webhook-signature", "cut signatures", |all| of_each(all, |one| one[..one.len() - 8].to_owned())),
        ("webhook-signature", "strange versions", |all| all.replace("v1a,", "v2,").replace("v1,", "v3,")),
    ];
    for (name, what, rewrite) in rewritten {
        forged.extend(forge(request, what, |headers, _| {
            headers[name] = rewrite(headers[name].as_str().unwrap()).into();
        }));
    }
    forged.extend([-330, 600].into_iter().flat_map(|seconds| at_another_time(request, seconds)));
    forged
}

fn of_each(signatures: &str, change: Rewrite) -> String {
    signatures.split(' ').map(change).collect::<Vec<_>>().join(" ")
}

/// The signature with another first character.
fn other_signature(signature: &str) -> String {
    let (version, rest) = signature.split_once(',').unwrap();
    let first = if rest.starts_with('A') { 'B' } else { 'A' };
    format!("{version},{first}{}", &rest[1..])
}

/// A correct signature with a timestamp other than now.
fn at_another_time(request: &Received, seconds: i64) -> Vec<Case> {
    let secrets = [OLD, PRIVATE, NEW].map(|secret| SigningSecret::parse(secret).unwrap());
    let timestamp = OffsetDateTime::now_utc().unix_timestamp() + seconds;
    forge(request, "too far from now", |headers, body| {
        let signed = signature::header(&secrets, headers["webhook-id"].as_str().unwrap(), timestamp, body);
        headers["webhook-timestamp"] = timestamp.to_string().into();
        headers["webhook-signature"] = signed.into();
    })
}

/// Runs the snippet with `driver` after it, which prints `true` or `false` for each line of input.
async fn judge(program: &str, file: &str, snippet: &str, driver: &str, cases: &[Case]) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(file);
    fs::write(&path, format!("{snippet}\n{driver}")).unwrap();
    let mut child = Command::new(program)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = String::new();
    for case in cases {
        let body = STANDARD.encode(&case.body);
        lines += &json!({"keys": [case.key], "headers": case.headers, "body": body}).to_string();
        lines.push('\n');
    }
    let write = async move { input.write_all(lines.as_bytes()).await.unwrap() };
    let (output, ()) =
        timeout(WAIT_TIMEOUT, async { tokio::join!(child.wait_with_output(), write) }).await.unwrap();
    let output = output.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let verdicts: Vec<bool> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((verdicts.len(), stderr.as_ref()), (cases.len(), ""));
    for (case, verdict) in cases.iter().zip(verdicts) {
        assert_eq!(verdict, case.genuine, "{program}: {} with {}", case.what, case.key);
    }
}

macro_rules! python {
    ($($function:tt)+) => { register!(false, Program("python3"), $($function)+); };
}

macro_rules! node {
    ($($function:tt)+) => { register!(false, Program("node"), $($function)+); };
}

#[apply(python)]
async fn python_snippet_accepts_only_genuine_requests(app: &TestApp) {
    let cases: Vec<Case> =
        cases(app).await.into_iter().filter(|case| case.key.starts_with("whsec_")).collect();
    let driver = r#"
import json
import sys

for line in sys.stdin:
    case = json.loads(line)
    print("true" if verify(case["keys"], case["headers"], base64.b64decode(case["body"])) else "false")
"#;
    judge("python3", "verify.py", &block("python verify"), driver, &cases).await;
}

#[apply(node)]
async fn node_snippet_accepts_only_genuine_requests(app: &TestApp) {
    let driver = r#"
for (const line of require("node:fs").readFileSync(0, "utf8").trim().split("\n")) {
  const { keys, headers, body } = JSON.parse(line);
  console.log(verify(keys, headers, Buffer.from(body, "base64")));
}
"#;
    judge("node", "verify.cjs", &block("js verify"), driver, &cases(app).await).await;
}

#[apply(test)]
async fn rust_snippet_accepts_only_genuine_requests(app: &TestApp) {
    let compiled = include_str!("webhook_docs/verify.rs");
    let code = compiled.split_once("\n\n").unwrap().1;
    assert_eq!(block("rust verify"), code, "the docs show another snippet than the one that is compiled");
    for case in cases(app).await {
        let mut headers = HeaderMap::new();
        for (name, value) in &case.headers {
            let value = HeaderValue::from_bytes(value.as_str().unwrap().as_bytes()).unwrap();
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let verdict = verify::verify(case.key, &headers, &case.body);
        assert_eq!(verdict, case.genuine, "{} with {}", case.what, case.key);
    }
}

/// Fires the trigger of the docs, with its webhook sent to `path` of the receiver instead of `url`.
async fn fire(app: &TestApp, info: &str, url: &str, path: &str, arguments: Value) -> Received {
    let definition = block(info);
    let checked = app.cli_with_input(&["trigger", "check", "-", "-o", "json"], definition.as_bytes()).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(!checked.stdout.contains("no action uses"), "{}", checked.stdout);
    let mut definition: Value = serde_json::from_str(&definition).unwrap();
    let address = &mut definition["actions"][1]["url"];
    assert_eq!(address, url);
    *address = app.receiver.url(path).into();
    app.run(&[]).await;
    let event = Event::bare().with("/data/trigger", definition).with("/data/arguments", arguments);
    app.broker.publish(&event).await;
    app.wait_for_deliveries("delivered", 1).await;
    only(app.receiver.requests())
}

#[apply(test)]
async fn slack_trigger_of_the_docs_works(app: &TestApp) {
    let at = app.receiver.url("/slack");
    app.set("webhook.endpoints", &format!(r#"[{{url = "{at}", profile = "slack"}}]"#));
    let url = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";
    let arguments =
        json!({"name": "Ada <!here>", "email": "ada@x.example", "company": "A & B", "interest": "growth"});
    let sent = fire(app, "json trigger slack", url, "/slack/services/T/B/X", arguments).await;
    let text = "New growth lead: *Ada &lt;!here&gt;* of A &amp; B (ada@x.example)";
    assert_eq!(sent.json().unwrap(), json!({ "text": text }));
}

#[apply(test)]
async fn mail_trigger_of_the_docs_works(app: &TestApp) {
    let url = "https://mail-gateway.example/v1/messages";
    let arguments = json!({"name": "Ada \"<b>\"", "email": " ADA@x.example", "message": "Hello,\nyou."});
    let sent = fire(app, "json trigger email", url, "/email/v1/messages", arguments).await.json().unwrap();
    assert_eq!(sent["subject"], "New lead: Ada \"<b>\"");
    assert_eq!(sent["reply_to"], json!({"email": "ada@x.example"}));
    let text = sent["text"].as_str().unwrap();
    assert!(text.starts_with("Ada \"<b>\" <ada@x.example> writes:\n\nHello,\nyou.\n\nSession "), "{text}");
}

/// The table of answers in the docs matches the service.
#[apply(test)]
async fn answers_have_the_documented_classes(_: &TestApp) {
    let docs = fs::read_to_string("docs/webhooks.md").unwrap();
    let table = docs.split_once("| Answer | Class | What happens |\n").unwrap().1;
    let table = table.split_once("\n\n").unwrap().0;
    let mut checked = 0;
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (answers, class) = (cells[1], cells[2].trim_matches('`'));
        assert!(class.parse::<Class>().is_ok(), "{row}");
        let numbers =
            answers.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse::<u16>().ok());
        let families = answers.split(' ').filter_map(|word| word.strip_suffix("xx")?.parse::<u16>().ok());
        // "any other 4xx": a status that no other row names.
        let families = families.map(|family| family * 100 + if family == 4 { 18 } else { 1 });
        for status in numbers.filter(|number| *number >= 200).chain(families) {
            assert_eq!(Class::of_status(status).name(), class, "{status}");
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked} statuses in the table");
}
