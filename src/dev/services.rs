//! A private Postgres and RabbitMQ that stop when the process that started them ends.
//!
//! A holder process (this binary's hidden `dev-services` command) starts both and waits for the end of
//! its standard input, a pipe from this process. However this process ends, the kernel closes the pipe
//! and the holder stops both. If the holder is killed, the kernel kills both. The service itself never
//! uses this module.

pub mod holder;
pub mod install;
mod postgres;
mod process;
mod rabbitmq;

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
    time::timeout,
};

/// For one answer of the holder, including recovery after a crash.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(3);

/// For the holder to stop both services. After that this process no longer waits for it.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A port is found by binding and releasing it, so another process may take it in between.
const MAX_PORT_CHOICES: u32 = 3;

/// What happens to the data at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The services stop gracefully, and the next start in the same folder finds the data.
    Kept,
    /// The services are killed and the data is removed. It does not survive a power failure.
    Disposable,
}

/// Where and how the private services run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary with the `dev-services` command: this one, or the one under test.
    pub binary: PathBuf,
    /// The state folder; created if missing. One holder at a time uses it.
    pub state: PathBuf,
    /// What happens to the data at the end.
    pub mode: Mode,
    /// Whether existing data is removed first.
    pub fresh: bool,
}

impl Options {
    /// For `dev`: data is kept in `$XDG_STATE_HOME/contact-relay` or `~/.local/state/contact-relay`. For root it
    /// is in /var/lib/contact-relay-dev, because Postgres then runs as a user who cannot read /root.
    ///
    /// # Errors
    /// When the path of the running binary is unknown.
    pub fn kept() -> io::Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let state_home =
            || absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let state = if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/lib/contact-relay-dev")
        } else {
            state_home().unwrap_or_else(std::env::temp_dir).join("contact-relay")
        };
        Ok(Self { binary: std::env::current_exe()?, state, mode: Mode::Kept, fresh: false })
    }

    /// For tests and benchmarks: a new folder under the system's temporary folder, removed at the end.
    #[must_use]
    pub fn disposable(binary: PathBuf) -> Self {
        let name = format!("contact-relay-{}-{:08x}", std::process::id(), rand::random::<u32>());
        Self { binary, state: std::env::temp_dir().join(name), mode: Mode::Disposable, fresh: false }
    }
}

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The database.
    Postgres,
    /// The broker.
    Rabbitmq,
}

/// What a test does to a service. Ports and data stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Stops it gracefully.
    Stop,
    /// Ends it like a crash.
    Kill,
    /// Starts it again and waits until it is ready.
    Start,
    /// Freezes its processes: connections stay open and silent.
    Pause,
    /// Ends a pause.
    Resume,
    /// The broker only: raises its memory alarm, which blocks publishers.
    Alarm,
    /// Ends the alarm.
    Calm,
    /// The broker only: suspends the quorum queues whose names end with `stalled`, as if they had lost their majority.
    Stall,
    /// Ends that.
    Unstall,
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    action: Action,
    service: Service,
}

/// The holder's first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
enum Greeting {
    Ready { postgres_url: String, amqp_url: String },
    Refused { error: String },
}

/// The holder's answer to one [`Request`].
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
}

/// The running services. Dropping this stops them without waiting.
#[derive(Debug)]
pub struct Services {
    postgres_url: String,
    amqp_url: String,
    state: PathBuf,
    holder: Child,
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

/// The services could not be started. Exit code 69.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs are missing.
    #[error(transparent)]
    Install(#[from] install::InstallError),
    /// The holder process did not start, or its pipe failed.
    #[error("could not start or reach the process that holds the private services")]
    Holder(#[source] io::Error),
    /// The holder's own error.
    #[error("{0}")]
    Refused(String),
    /// The holder neither started them nor reported why.
    #[error("the private services did not start; logs are in {}", .0.display())]
    Silent(PathBuf),
}

/// A running service could not be controlled.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The holder is gone or silent.
    #[error("the process that holds the private services does not answer")]
    Silent,
    /// The holder's own error.
    #[error("{0}")]
    Refused(String),
}

impl Services {
    /// Installs missing programs (see [`install::ensure`]), starts both services and waits until they are ready.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        install::ensure().await?;
        let mut command = Command::new(&options.binary);
        command.arg("dev-services").arg("--state").arg(&options.state);
        if options.mode == Mode::Disposable {
            command.arg("--disposable");
        }
        if options.fresh {
            command.arg("--fresh");
        }
        // In its own process group: Ctrl-C reaches only this process, which then stops the holder.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(StartError::Holder)?;
        let (Some(input), Some(output)) = (holder.stdin.take(), holder.stdout.take()) else {
            return Err(StartError::Silent(options.state));
        };
        let mut lines = BufReader::new(output).lines();
        let line = timeout(ANSWER_TIMEOUT, lines.next_line()).await;
        let line =
            line.map_err(|_| StartError::Silent(options.state.clone()))?.map_err(StartError::Holder)?;
        match line.map(|line| serde_json::from_str(&line)) {
            Some(Ok(Greeting::Ready { postgres_url, amqp_url })) => {
                let pipes = Mutex::new((input, lines));
                Ok(Self { postgres_url, amqp_url, state: options.state, holder, pipes })
            }
            Some(Ok(Greeting::Refused { error })) => Err(StartError::Refused(error)),
            Some(Err(_)) | None => Err(StartError::Silent(options.state)),
        }
    }

    /// URL of the database `contact_relay`, with its owner's password.
    #[must_use]
    pub fn postgres_url(&self) -> &str {
        &self.postgres_url
    }

    /// URL of the broker, with its default account.
    #[must_use]
    pub fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    /// The state folder, with the logs of both services.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Applies `action` to `service` and waits until it is done.
    pub async fn control(&self, action: Action, service: Service) -> Result<(), ControlError> {
        let mut pipes = self.pipes.lock().await;
        let (input, lines) = &mut *pipes;
        let request =
            serde_json::to_string(&Request { action, service }).map_err(|_| ControlError::Silent)?;
        let exchange = async {
            input.write_all(format!("{request}\n").as_bytes()).await?;
            lines.next_line().await
        };
        let Ok(Ok(Some(line))) = timeout(ANSWER_TIMEOUT, exchange).await else {
            return Err(ControlError::Silent);
        };
        match serde_json::from_str(&line) {
            Ok(Answer { error: None }) => Ok(()),
            Ok(Answer { error: Some(error) }) => Err(ControlError::Refused(error)),
            Err(_) => Err(ControlError::Silent),
        }
    }

    /// Stops both and waits until all their processes are gone.
    ///
    /// # Errors
    /// When the holder failed or did not stop in time.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.pipes);
        let status = timeout(STOP_TIMEOUT, self.holder.wait()).await??;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("the process that holds the private services exited with {status}")))
    }
}

/// A service could not be made ready.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("could not prepare the files of the private services: {0}")]
    Prepare(#[source] io::Error),
    #[error("the user {user} cannot access the folder {}; choose another folder", dir.display())]
    Unreachable { dir: PathBuf, user: &'static str },
    #[error("another process took port {port}, which was chosen for {service}")]
    PortTaken { service: &'static str, port: u16 },
    #[error("{service} failed to start; the end of its log {}:\n{tail}", log.display())]
    Failed { service: &'static str, log: PathBuf, tail: String },
    #[error("{service} was not ready in time; its log is {}", log.display())]
    TooSlow { service: &'static str, log: PathBuf },
    #[error("could not change the broker's memory limit; its log is {}", log.display())]
    NoAlarm { log: PathBuf },
    #[error("could not suspend or resume queues; the broker's log is {}", log.display())]
    NoStall { log: PathBuf },
}

/// Different ports on 127.0.0.1 that were free just now.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The last lines of a log, for an error message.
fn log_tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(8)).copied().collect::<Vec<_>>().join("\n")
}
