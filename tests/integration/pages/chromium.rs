//! Debian's Chromium, driven through the `WebDriver` protocol.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::browser::client;
use crate::support::{eventually, process::Process};

/// `#[apply(in_chromium)]` makes a test that needs a browser.
macro_rules! in_chromium {
    ($($function:tt)+) => { $crate::support::register!(false, Browser, $($function)+); };
}
pub(super) use in_chromium;

pub(super) struct Chromium {
    client: reqwest::Client,
    /// The address of the session.
    session: String,
    base: String,
    _driver: Child,
}

impl Chromium {
    /// A browser that has signed in with this token.
    pub(super) async fn sign_in(process: &Process, token: &str) -> Self {
        let chromium = Self::start(process).await;
        chromium.enter(token).await;
        chromium
    }

    /// The same, with a browser that runs no script of a page.
    pub(super) async fn sign_in_without_script(process: &Process, token: &str) -> Self {
        let chromium = Self::start(process).await;
        chromium.command("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
        chromium.enter(token).await;
        chromium
    }

    async fn start(process: &Process) -> Self {
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
        Self { client, session, base: format!("http://{}", process.http()), _driver: driver }
    }

    async fn enter(&self, token: &str) {
        self.open("/sign-in").await;
        self.enter_text("input[name=token]", token).await;
        self.click("form button").await;
        self.sees("Overview").await;
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let sent = self.client.post(format!("{}{path}", self.session)).body(body.to_string()).send().await;
        let text = sent.expect("an answer").text().await.expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(answer.pointer("/value/error").is_none(), "{path}: {answer}");
        answer["value"].clone()
    }

    pub(super) async fn open(&self, path: &str) {
        self.post("/url", &json!({ "url": format!("{}{path}", self.base) })).await;
    }

    /// The result of a script. `WebDriver`'s scripts are not those of the page, so the policy does not keep them from running.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    async fn find(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector })).await;
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    pub(super) async fn click(&self, selector: &str) {
        let id = self.find(selector).await;
        self.post(&format!("/element/{id}/click"), &json!({})).await;
    }

    /// Replaces the text of a field, as a person does by keys.
    pub(super) async fn enter_text(&self, selector: &str, text: &str) {
        let id = self.find(selector).await;
        self.post(&format!("/element/{id}/clear"), &json!({})).await;
        self.post(&format!("/element/{id}/value"), &json!({ "text": text })).await;
    }

    /// Presses a key, wherever the focus is.
    pub(super) async fn press(&self, key: &str) {
        let strokes = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] });
        self.post("/actions", &actions).await;
    }

    /// Chooses a file.
    pub(super) async fn choose(&self, selector: &str, file: &Path) {
        let id = self.find(selector).await;
        self.post(&format!("/element/{id}/value"), &json!({ "text": file })).await;
    }

    /// The targets of the links in the page's own part that begin so.
    pub(super) async fn links(&self, beginning: &str) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll('main a')].map((link) => link.getAttribute('href'))";
        let links = self.run(script).await;
        let links = links.as_array().unwrap().iter().map(|link| link.as_str().unwrap().to_owned());
        links.filter(|link| link.starts_with(beginning)).collect()
    }

    /// The text of the page, as it is laid out.
    pub(super) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page has this text.
    pub(super) async fn sees(&self, text: &str) {
        eventually(&format!("the page says {text}"), async || self.text().await.contains(text).then_some(()))
            .await;
    }

    pub(super) async fn command(&self, name: &str, parameters: Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters })).await;
    }

    /// Nothing was refused by the policy, and no script failed.
    pub(super) async fn assert_quiet(&self) {
        let log = self.post("/se/log", &json!({ "type": "browser" })).await;
        let loud = log.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE");
        assert_eq!(loud.collect::<Vec<_>>(), Vec::<&Value>::new());
    }

    pub(super) async fn close(self) {
        let _ = self.client.delete(&self.session).send().await;
    }
}
