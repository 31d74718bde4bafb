//! The service under test, and a client of its API.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use contact_relay::dev::services::Services;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use tokio::process::{Child, Command};

/// How long the service may take to start.
const START: Duration = Duration::from_mins(1);

/// The real binary.
pub(crate) struct Service {
    binary: PathBuf,
    address: String,
    settings: Vec<(String, String)>,
    client: Client,
    process: Option<Child>,
}

impl Service {
    pub(crate) fn new(services: &Services, binary: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let settings = [
            ("POSTGRES__URL", services.postgres_url()),
            ("AMQP__URL", services.amqp_url()),
            ("HTTP__BIND", address.as_str()),
            ("HTTP__TOKENS", "bench:operator:bench"),
            ("CONTACTS__DEFAULT_REGION", "BR"),
        ];
        let settings =
            settings.map(|(name, value)| (format!("CONTACT_RELAY__{name}"), value.to_owned())).into();
        Ok(Self { binary: binary.to_owned(), address, settings, client: Client::new(), process: None })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).envs(self.settings.iter().cloned()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Creates the tables.
    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.command("migrate").status().await?.success(), "could not migrate");
        Ok(())
    }

    /// Runs these roles with these settings until [`Self::stop`]. Returns once it is ready.
    pub(crate) async fn start(&mut self, roles: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut command = self.command("run");
        let settings = settings.iter().map(|(name, value)| (format!("CONTACT_RELAY__{name}"), *value));
        self.process = Some(command.args(roles).envs(settings).stderr(Stdio::null()).spawn()?);
        let deadline = Instant::now() + START;
        let ready = async || {
            let answer = self.client.get(format!("http://{}/readyz", self.address)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !ready().await {
            anyhow::ensure!(Instant::now() < deadline, "the service is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// A `GET`; a `POST` if there is a body, which is JSON or a form.
    pub(crate) fn request(&self, path: &str, body: Option<&'static str>) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let request = match body {
            None => self.client.get(url),
            Some(json) if json.starts_with('{') => {
                self.client.post(url).header("content-type", "application/json").body(json)
            }
            Some(form) => {
                self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
        };
        request.bearer_auth("bench")
    }

    /// The JSON that this is answered with.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&'static str>,
    ) -> anyhow::Result<T> {
        let answer = self.request(path, body).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}
