//! The pages in Debian's Chromium, through the `WebDriver` protocol: the script, the policy, and what fits on a phone.
//! Skipped on a machine without `chromedriver`.

use std::process::Stdio;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{
    PAGES, broken,
    browser::{client, let_in},
    with_dead_letters,
};
use crate::support::{app::TestApp, event::Event, eventually, process::Process, register};

/// `#[apply(in_chromium)]` makes a test that needs a browser.
macro_rules! in_chromium {
    ($($function:tt)+) => { register!(false, Some("chromedriver"), $($function)+); };
}

struct Chromium {
    client: reqwest::Client,
    /// The address of the session.
    session: String,
    base: String,
    _driver: Child,
}

impl Chromium {
    /// A browser that has signed in with this token.
    async fn sign_in(process: &Process, token: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut driver = Command::new("setpriv");
        driver.args(["--pdeathsig", "KILL", "--", "chromedriver", &format!("--port={port}")]);
        driver.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let driver = driver.spawn().expect("the driver");
        let (client, address) = (client(), format!("http://127.0.0.1:{port}"));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let created = eventually("the browser starts", async || {
            let sent = client.post(format!("{address}/session")).body(capabilities.to_string()).send().await;
            let answer: Value = serde_json::from_str(&sent.ok()?.text().await.ok()?).ok()?;
            answer.pointer("/value/sessionId")?.as_str().map(str::to_owned)
        });
        let session = format!("{address}/session/{}", created.await);
        let chromium = Self { client, session, base: format!("http://{}", process.http()), _driver: driver };
        chromium.open("/sign-in").await;
        let script = format!("document.querySelector('input[name=token]').value = '{token}'");
        chromium.run(&script).await;
        chromium.click("form button").await;
        chromium.sees("Overview").await;
        chromium
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let sent = self.client.post(format!("{}{path}", self.session)).body(body.to_string()).send().await;
        let text = sent.expect("an answer").text().await.expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(answer.pointer("/value/error").is_none(), "{path}: {answer}");
        answer["value"].clone()
    }

    async fn open(&self, path: &str) {
        self.post("/url", &json!({ "url": format!("{}{path}", self.base) })).await;
    }

    /// The result of a script. `WebDriver`'s scripts are not those of the page, so the policy does not keep them from running.
    async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    async fn click(&self, selector: &str) {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector })).await;
        let id = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.post(&format!("/element/{id}/click"), &json!({})).await;
    }

    /// Waits until the page has this text.
    async fn sees(&self, text: &str) {
        eventually(&format!("the page says {text}"), async || {
            let shown = self.run("return document.body.innerText").await;
            shown.as_str().filter(|shown| shown.contains(text)).map(drop)
        })
        .await;
    }

    async fn command(&self, name: &str, parameters: Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters })).await;
    }

    /// Nothing was refused by the policy, and no script failed.
    async fn assert_quiet(&self) {
        let log = self.post("/se/log", &json!({ "type": "browser" })).await;
        let loud = log.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE");
        assert_eq!(loud.collect::<Vec<_>>(), Vec::<&Value>::new());
    }

    async fn close(self) {
        let _ = self.client.delete(&self.session).send().await;
    }
}

#[apply(in_chromium)]
async fn operator_replays_what_they_selected(app: &TestApp) {
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
    for width in [390, 1280] {
        let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500 });
        chromium.command("Emulation.setDeviceMetricsOverride", metrics).await;
        for path in &paths {
            chromium.open(path).await;
            let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(chromium.run(script).await, 0, "{path} at {width} pixels");
        }
    }
    chromium.assert_quiet().await;
    chromium.close().await;
}
