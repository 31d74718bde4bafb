//! The world of one test: a database, a queue namespace, a subscriber, a webhook receiver, and the binary with
//! settings for them.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use contact_relay::dev::{
    demo_receiver::{DemoReceiver, Received},
    services::{Action, Service},
};
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    WAIT_TIMEOUT,
    broker::Broker,
    environment::Environment,
    eventually,
    process::{Finished, Process, binary, finish, on_terminal, unheard},
};

/// Lines of a service's log in the message of a failure.
const LOG_LINES: usize = 40;

pub(crate) struct TestApp {
    environment: Arc<Environment>,
    name: String,
    settings: Mutex<BTreeMap<String, String>>,
    processes: Mutex<Vec<Process>>,
    logs: TempDir,
    /// The test's database.
    pub(crate) pool: PgPool,
    /// Publishes as the platform does and listens as a subscriber.
    pub(crate) broker: Broker,
    /// Receives webhooks.
    pub(crate) receiver: DemoReceiver,
}

impl TestApp {
    pub(crate) async fn new(environment: Arc<Environment>) -> Self {
        let name = environment.new_name();
        environment.create_database(&name).await;
        let options = PgPoolOptions::new().max_connections(4).acquire_timeout(WAIT_TIMEOUT);
        let pool = options.connect_lazy_with(environment.database(&name));
        let broker = Broker::new(environment.amqp_url(), &name).await;
        let receiver = DemoReceiver::start().await.expect("a receiver");
        let settings = Mutex::new(BTreeMap::new());
        let (processes, logs) = (Mutex::default(), TempDir::new().expect("a folder"));
        let app = Self { environment, name, settings, processes, logs, pool, broker, receiver };
        app.connect_directly();
        app.set("amqp.namespace", &app.name);
        // Tests look for sentences, and people read what a failed one prints.
        app.set("log.format", "text");
        app.set("webhook.allow_http", "true");
        app.set("webhook.allowed_networks", "127.0.0.0/8");
        app.set("webhook.retry_schedule", "100ms,200ms");
        // However slow the machine, a receiver answers before that, and a process stops in order.
        app.set("webhook.timeout", "2m");
        app.set("shutdown.grace", "2m");
        app
    }

    /// Sets the addresses of the services themselves.
    fn connect_directly(&self) {
        self.set("amqp.url", self.environment.amqp_url());
        self.set("postgres.url", &self.environment.database_url(&self.name));
    }

    /// Sets a setting, `section.key`, of the processes and commands started from now on.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.set_variable(&format!("CONTACT_RELAY__{}", key.to_uppercase().replace('.', "__")), value);
    }

    /// Sets an environment variable of the processes and commands started from now on.
    pub(crate) fn set_variable(&self, name: &str, value: &str) {
        self.settings.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// The value of a setting.
    pub(crate) fn setting(&self, key: &str) -> String {
        let name = format!("CONTACT_RELAY__{}", key.to_uppercase().replace('.', "__"));
        self.settings.lock().unwrap().get(&name).cloned().expect("a setting")
    }

    /// Starts `contact-relay run` with these roles, or all if none is given, and waits until it is ready. The console
    /// always runs, because it answers `/readyz`.
    pub(crate) async fn run(&self, roles: &[&str]) -> Process {
        let mut arguments = vec!["run"];
        let console = (!roles.is_empty()).then_some(&"console");
        for role in roles.iter().chain(console) {
            arguments.extend(["--role", role]);
        }
        let process = self.spawn(&arguments);
        process.ready().await;
        process
    }

    /// Starts the binary as a process of the service, without waiting.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let http = port.expect("a free port").to_string();
        self.set("http.bind", &http);
        let mut processes = self.processes.lock().unwrap();
        let log = self.logs.path().join(format!("{}.log", processes.len()));
        let process = Process::spawn(binary(arguments, &self.environment_of_processes()), http, log);
        processes.push(process.clone());
        process
    }

    /// Runs a command of the command line to its end.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Finished {
        finish(binary(arguments, &self.environment_of_processes()), None).await
    }

    /// Runs a command to its end, with standard input.
    pub(crate) async fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Finished {
        finish(binary(arguments, &self.environment_of_processes()), Some(input)).await
    }

    /// Runs a command to its end on a terminal, where somebody types `input`. The output has both streams.
    pub(crate) async fn cli_on_terminal(&self, arguments: &[&str], input: &str) -> Finished {
        finish(on_terminal(arguments, &self.environment_of_processes()), Some(input.as_bytes())).await
    }

    /// Runs a command whose standard output nobody reads.
    pub(crate) async fn cli_unheard(&self, arguments: &[&str]) -> Finished {
        unheard(binary(arguments, &self.environment_of_processes())).await
    }

    /// The output of a command with `-o json`.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let finished = self.cli(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
        serde_json::from_str(&finished.stdout).expect("JSON")
    }

    /// Waits until `count` webhooks have been received.
    pub(crate) async fn webhooks(&self, count: usize) -> Vec<Received> {
        let received = self.receiver.wait_for(WAIT_TIMEOUT, |all| all.len() >= count).await;
        received.unwrap_or_else(|| panic!("received {} of {count} webhooks", self.receiver.requests().len()))
    }

    /// Whether the services are private, and set up for speed.
    pub(crate) fn is_private(&self) -> bool {
        self.environment.is_private()
    }

    /// What Postgres has logged, for all tests; nothing if it is not private.
    pub(crate) async fn postgres_log(&self) -> String {
        self.environment.postgres_log().await
    }

    /// Acts on a shared service. Only for tests that run alone.
    pub(crate) async fn control(&self, action: Action, service: Service) {
        self.environment.control(action, service).await;
    }

    /// The end of every test: the running service empties its queues and stops cleanly, and every message is
    /// acknowledged.
    ///
    /// Unacknowledged messages return to the queue when the service stops, and another process finishes them. The
    /// broker does not say how many there are, so each further process runs longer before it is stopped.
    pub(crate) async fn assert_settled(&self) {
        for quiet in [0, 1, 3, 9].map(Duration::from_secs) {
            if !self.running().await.is_empty() {
                // Unpublished events come first: they would otherwise be published after their consumer stopped.
                self.wait_for_unpublished(0).await;
                self.queues_stay_empty(quiet).await;
                self.stop().await;
            }
            // Wake-ups that return to the queue at the stop are harmless.
            let waiting = self.waiting(&["trigger-fired", "dead-letters"]).await;
            if waiting.is_none() {
                return;
            }
            let ran = !self.processes.lock().unwrap().is_empty();
            assert!(ran, "messages wait, and no service ever ran: {waiting:?}");
            // A proxy of the test ended with it.
            self.connect_directly();
            self.run(&[]).await;
        }
        panic!("messages come back from every process that stops");
    }

    /// Stops the running processes gracefully.
    pub(crate) async fn stop(&self) {
        for process in self.running().await {
            process.sigterm();
            let status = process.ended().await;
            assert!(status.success(), "the service stopped with {status}");
        }
    }

    async fn running(&self) -> Vec<Process> {
        let processes = self.processes.lock().unwrap().clone();
        let mut running = Vec::new();
        for process in processes {
            if !process.has_ended().await {
                running.push(process);
            }
        }
        running
    }

    /// Waits until every queue is empty.
    pub(crate) async fn queues_are_empty(&self) {
        self.queues_stay_empty(Duration::ZERO).await;
    }

    async fn queues_stay_empty(&self, quiet: Duration) {
        let mut since = Instant::now();
        eventually("every queue is empty", async || {
            if self.waiting(&["trigger-fired", "webhook", "dead-letters"]).await.is_some() {
                since = Instant::now();
                return None;
            }
            (since.elapsed() >= quiet).then_some(())
        })
        .await;
    }

    /// The first of these queues with ready messages, and their number. Unacknowledged ones do not count.
    async fn waiting(&self, queues: &[&'static str]) -> Option<(&'static str, u32)> {
        for queue in queues {
            let depth = self.broker.depth(queue).await;
            if depth > 0 {
                return Some((queue, depth));
            }
        }
        None
    }

    /// The last lines of each log, for the message of a failure.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for (index, process) in self.processes.lock().unwrap().iter().enumerate() {
            let log = process.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).copied().collect::<Vec<_>>();
            text.extend([format!("--- process {index} ---\n"), tail.join("\n"), "\n".to_owned()]);
        }
        text
    }

    /// Kills the running processes and removes the test's database and queues.
    pub(crate) async fn close(self) {
        let processes = self.processes.lock().unwrap().clone();
        for process in processes {
            process.kill9().await;
        }
        let closed = async {
            self.broker.clear().await;
            self.pool.close().await;
            self.environment.drop_database(&self.name).await;
        };
        // After a failed test the services may be down.
        let _ = tokio::time::timeout(Duration::from_secs(10), closed).await;
    }

    /// The settings as environment variables.
    pub(crate) fn environment_of_processes(&self) -> Vec<(String, String)> {
        self.settings.lock().unwrap().clone().into_iter().collect()
    }
}
