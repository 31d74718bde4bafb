//! Private instances of Postgres and RabbitMQ that end with the process that asked for them.
//!
//! A holder process (this binary's hidden `dev-services` command) starts both and waits for the end
//! of its standard input, which is a pipe from here. When this process ends, in whatever way, the
//! kernel closes the pipe and the holder stops both; when the holder is killed, the kernel kills both.
//! Never used by the service itself.

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

/// How long the holder may take for one answer; a recovery after a crash included.
const ANSWER_PATIENCE: Duration = Duration::from_mins(3);

/// How long the holder may take to stop both services before it is left to itself.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// A port is chosen by binding it and giving it back, so another process may take it in between.
const PORT_TRIES: u32 = 3;

/// What becomes of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is found again by the next start in the same folder; the services are stopped gracefully.
    Kept,
    /// It is removed with the folder at the end, at once, and need not survive a power cut.
    Disposable,
}

/// Where the private services live.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary that has the `dev-services` command: the own one, or the one under test.
    pub binary: PathBuf,
    /// The state folder; created when it is missing. One holder at a time.
    pub state: PathBuf,
    /// What becomes of the data.
    pub mode: Mode,
    /// Whether data that is there already is removed first.
    pub fresh: bool,
}

impl Options {
    /// For `dev`: kept in `$XDG_STATE_HOME/contact-relay` or `~/.local/state/contact-relay`. For root
    /// in /var/lib/contact-relay-dev, because Postgres then runs as another user and /root is closed.
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

/// What a test does to a service. Ports and data stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Stops it gracefully.
    Stop,
    /// Ends it as a crash would.
    Kill,
    /// Starts it again and waits until it is ready.
    Start,
    /// Freezes its processes: connections stay open and fall silent.
    Pause,
    /// Lets it go on.
    Resume,
    /// The broker only: as if its memory were used up. It blocks whoever publishes.
    Alarm,
    /// Ends the alarm.
    Calm,
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

/// Running services. Dropping it stops them too, without waiting for the end.
#[derive(Debug)]
pub struct Services {
    postgres_url: String,
    amqp_url: String,
    state: PathBuf,
    holder: Child,
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

/// The services cannot be had. Exit code 69.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs are not there.
    #[error(transparent)]
    Install(#[from] install::InstallError),
    /// The holder process could not be started or spoken to.
    #[error("the process that holds the private services cannot be used")]
    Holder(#[source] io::Error),
    /// The holder says why it cannot.
    #[error("{0}")]
    Refused(String),
    /// The holder neither started them nor said why.
    #[error("the private services did not start; logs are in {}", .0.display())]
    Silent(PathBuf),
}

/// A running service could not be controlled.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The holder is gone or silent.
    #[error("the process that holds the private services does not answer")]
    Silent,
    /// The holder says why it cannot.
    #[error("{0}")]
    Refused(String),
}

impl Services {
    /// Installs what is missing (asks on a terminal, see [`install::ensure`]), starts both services
    /// and waits until both are ready.
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
        // A process group of its own: Ctrl-C is for this process, which then stops in good order.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(StartError::Holder)?;
        let (Some(input), Some(output)) = (holder.stdin.take(), holder.stdout.take()) else {
            return Err(StartError::Silent(options.state));
        };
        let mut lines = BufReader::new(output).lines();
        let line = timeout(ANSWER_PATIENCE, lines.next_line()).await;
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

    /// Address of the database `contact_relay`, its owner's password included.
    #[must_use]
    pub fn postgres_url(&self) -> &str {
        &self.postgres_url
    }

    /// Address of the broker, with its default account.
    #[must_use]
    pub fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    /// The state folder; the logs of both services are in it.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Does `action` to `service` and waits until it is done.
    pub async fn control(&self, action: Action, service: Service) -> Result<(), ControlError> {
        let mut pipes = self.pipes.lock().await;
        let (input, lines) = &mut *pipes;
        let request =
            serde_json::to_string(&Request { action, service }).map_err(|_| ControlError::Silent)?;
        let exchange = async {
            input.write_all(format!("{request}\n").as_bytes()).await?;
            lines.next_line().await
        };
        let Ok(Ok(Some(line))) = timeout(ANSWER_PATIENCE, exchange).await else {
            return Err(ControlError::Silent);
        };
        match serde_json::from_str(&line) {
            Ok(Answer { error: None }) => Ok(()),
            Ok(Answer { error: Some(error) }) => Err(ControlError::Refused(error)),
            Err(_) => Err(ControlError::Silent),
        }
    }

    /// Stops both and waits until nothing of them is left.
    ///
    /// # Errors
    /// When the holder did not end in good order or in time.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.pipes);
        let status = timeout(STOP_PATIENCE, self.holder.wait()).await??;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("the process that holds the private services ended with {status}")))
    }
}

/// A service could not be made ready.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("its files cannot be prepared: {0}")]
    Prepare(#[source] io::Error),
    #[error("the folder {} cannot be reached by the user {user}; name another one", dir.display())]
    Unreachable { dir: PathBuf, user: &'static str },
    #[error("port {port} for {service} was taken in the meantime")]
    PortTaken { service: &'static str, port: u16 },
    #[error("{service} ended at once; its log is {}: {tail}", log.display())]
    Failed { service: &'static str, log: PathBuf, tail: String },
    #[error("{service} was not ready in time; its log is {}", log.display())]
    TooSlow { service: &'static str, log: PathBuf },
    #[error("the broker's limit of memory cannot be changed; its log is {}", log.display())]
    NoAlarm { log: PathBuf },
}

/// Different ports on 127.0.0.1 that were free a moment ago.
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
