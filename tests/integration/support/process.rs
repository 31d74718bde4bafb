//! The binary under test as a process: the service, and its commands.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{WAIT_TIMEOUT, eventually};

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary. It dies with the thread that starts it, so that no test leaves a process behind.
pub(crate) fn binary(arguments: &[&str], settings: &[(String, String)]) -> Command {
    with_parent(&[&[env!("CARGO_BIN_EXE_contact-relay")], arguments].concat(), settings)
}

/// The binary on a terminal of its own.
pub(crate) fn on_terminal(arguments: &[&str], settings: &[(String, String)]) -> Command {
    let words = [&[env!("CARGO_BIN_EXE_contact-relay")], arguments].concat();
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    with_parent(&["script", "--quiet", "--return", "--command", &line, "/dev/null"], settings)
}

fn with_parent(words: &[&str], settings: &[(String, String)]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).args(words);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CONTACT_RELAY") {
            command.env_remove(name);
        }
    }
    command.envs(settings.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn finish(mut command: Command, input: Option<&[u8]>) -> Finished {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child =
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    let pipe = child.stdin.take();
    let write = async {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // A command may end before it reads all input.
            let _ = pipe.write_all(input).await;
        }
    };
    let (output, ()) = timeout(WAIT_TIMEOUT, async { tokio::join!(child.wait_with_output(), write) })
        .await
        .expect("it ends in time");
    let output = output.expect("its output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a command to its end with a closed standard output.
pub(crate) async fn unheard(mut command: Command) -> Finished {
    let (closed, stdout) = std::io::pipe().expect("a pipe");
    drop(closed);
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("the binary");
    let output =
        timeout(WAIT_TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("output");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    Finished { code: output.status.code(), stdout: String::new(), stderr }
}

/// A process of the service. It ends at the latest with the test.
#[derive(Clone)]
pub(crate) struct Process(Arc<Inner>);

struct Inner {
    child: Mutex<Child>,
    pid: Pid,
    /// Its `http.bind`.
    http: String,
    log: PathBuf,
    started: Instant,
}

impl Process {
    pub(crate) fn spawn(mut command: Command, http: String, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        command.stdout(file.try_clone().expect("a handle")).stderr(file);
        let child = command.spawn().expect("the binary");
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).expect("a pid");
        Self(Arc::new(Inner { child: Mutex::new(child), pid, http, log, started: Instant::now() }))
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) async fn ready(&self) {
        eventually("the service is ready", async || {
            let ended = self.0.child.lock().await.try_wait().expect("a child");
            assert!(ended.is_none(), "the service ended at once with {ended:?}");
            self.get("/readyz").await.filter(|answer| answer.starts_with("HTTP/1.1 200 "))
        })
        .await;
    }

    /// The full response to a GET at the service's own address, if any.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        self.get_accepting(path, "*/*").await
    }

    /// The same, with an `Accept` header.
    pub(crate) async fn get_accepting(&self, path: &str, accept: &str) -> Option<String> {
        let Inner { http, .. } = &*self.0;
        let mut stream = TcpStream::connect(http).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {http}\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Kills the process (SIGKILL).
    pub(crate) async fn kill9(&self) {
        let mut child = self.0.child.lock().await;
        // An error means that it has already ended.
        let _ = child.start_kill();
        child.wait().await.expect("it is killed");
    }

    /// Sends SIGTERM, without waiting.
    pub(crate) fn sigterm(&self) {
        let _ = kill_process(self.0.pid, Signal::TERM);
    }

    /// Freezes the process (SIGSTOP).
    pub(crate) fn freeze(&self) {
        let _ = kill_process(self.0.pid, Signal::STOP);
    }

    /// Continues a frozen process (SIGCONT).
    pub(crate) fn thaw(&self) {
        let _ = kill_process(self.0.pid, Signal::CONT);
    }

    pub(crate) async fn has_ended(&self) -> bool {
        self.0.child.lock().await.try_wait().expect("a child").is_some()
    }

    /// Waits until the process ends.
    pub(crate) async fn ended(&self) -> ExitStatus {
        timeout(WAIT_TIMEOUT, async { self.0.child.lock().await.wait().await })
            .await
            .expect("it ends in time")
            .expect("a status")
    }

    /// Its `http.bind`.
    pub(crate) fn http(&self) -> &str {
        &self.0.http
    }

    /// Time since its start.
    pub(crate) fn age(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.pid.as_raw_nonzero());
        let status = fs::read_to_string(path).expect("a running process");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Number of threads. The broker's client has one for each connection.
    pub(crate) fn threads(&self) -> usize {
        let tasks = format!("/proc/{}/task", self.0.pid.as_raw_nonzero());
        fs::read_dir(tasks).map(Iterator::count).unwrap_or_default()
    }

    /// The same, once every component has its connection.
    pub(crate) async fn threads_once_ready(&self) -> usize {
        self.ready().await;
        self.threads()
    }

    /// Waits until at most this many threads are left, plus a few transient ones.
    pub(crate) async fn threads_fall_to(&self, count: usize) {
        eventually(&format!("about {count} threads are left"), async || {
            (self.threads() <= count + 2).then_some(())
        })
        .await;
    }

    /// The whole log.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.0.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
