//! A private Postgres: one cluster in a folder, on a free loopback port, with one database and the role that
//! owns it. No Unix socket, no superuser login.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use sqlx::{Connection as _, PgConnection};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{
    LaunchError, MAX_PORT_CHOICES, Mode, free_ports, log_tail,
    process::{self, Process},
};

/// The role, its password and its database have the same name. The port is on loopback only.
const ROLE: &str = "contact_relay";

/// Until the server accepts a login, including recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// One cluster and, while it runs, its server.
#[derive(Debug)]
pub(super) struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    mode: Mode,
    /// The server refuses to run as root; root starts it as this user.
    user: Option<&'static str>,
    port: u16,
    server: Option<Process>,
}

impl Postgres {
    /// The programs are in `bin`, the cluster is or will be in `dir`.
    pub(super) fn new(bin: PathBuf, dir: PathBuf, mode: Mode) -> Self {
        let user = rustix::process::geteuid().is_root().then_some("postgres");
        Self { bin, dir, mode, user, port: 0, server: None }
    }

    /// Creates the cluster if it is missing, chooses a port and starts the server.
    pub(super) async fn launch(&mut self) -> Result<(), LaunchError> {
        self.create_dir().await?;
        if !self.data().exists() {
            self.init().await?;
        }
        let mut choices = 0;
        loop {
            choices += 1;
            let _ = fs::remove_file(self.log());
            [self.port] = free_ports().map_err(LaunchError::Prepare)?;
            match self.start().await {
                Err(LaunchError::PortTaken { .. }) if choices < MAX_PORT_CHOICES => (),
                result => return result,
            }
        }
    }

    /// Starts the server on the chosen port and waits until the role can log in.
    pub(super) async fn start(&mut self) -> Result<(), LaunchError> {
        if self.server.is_some() {
            return Ok(());
        }
        self.clear_leftover().await;
        let mut command = self.command("postgres", "QUIT").map_err(LaunchError::Prepare)?;
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        let common = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC"];
        let by_mode: &[&str] = match self.mode {
            Mode::Kept => &["max_connections=200"],
            // Disposable data need not survive a power failure, only a crash of the server.
            Mode::Disposable => {
                &["max_connections=300", "shared_buffers=128MB", "fsync=off", "full_page_writes=off"]
            }
        };
        for setting in common.iter().chain(by_mode) {
            command.arg("-c").arg(setting);
        }
        self.server = Some(Process::spawn(&mut command).map_err(LaunchError::Prepare)?);
        let started = self.wait_until_ready().await;
        if started.is_err() {
            self.kill().await;
        }
        started
    }

    /// Fast shutdown (clients are disconnected, a checkpoint is written), then by force.
    pub(super) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let second = Duration::from_secs(1);
            server.end(&[(Signal::INT, 20 * second), (Signal::QUIT, 5 * second)]).await;
        }
    }

    /// Immediate shutdown: as after a crash, the next start recovers.
    pub(super) async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.end(&[(Signal::QUIT, Duration::from_secs(5))]).await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(server) = &self.server {
            server.signal_all(signal);
        }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://{ROLE}:{ROLE}@127.0.0.1:{}/{ROLE}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.with_file_name("postgres.log")
    }

    fn command(&self, program: &str, death_signal: &str) -> io::Result<Command> {
        process::command(&self.bin.join(program), self.user, death_signal, &self.dir, &self.log())
    }

    /// Creates the folder and checks that the server's user can access it, unlike a folder in /root.
    async fn create_dir(&self) -> Result<(), LaunchError> {
        fs::create_dir_all(&self.dir).map_err(LaunchError::Prepare)?;
        let Some(user) = self.user else { return Ok(()) };
        let mut install = Command::new("install");
        install.args(["-d", "-m", "0700", "-o", user, "-g", user]).arg(&self.dir);
        let made = install.stdin(Stdio::null()).status().await.map_err(LaunchError::Prepare)?;
        let mut reach = Command::new("setpriv");
        reach.args([format!("--reuid={user}"), format!("--regid={user}")]).args(["--init-groups", "ls"]);
        reach.arg(&self.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let reached = reach.status().await.map_err(LaunchError::Prepare)?;
        if made.success() && reached.success() {
            return Ok(());
        }
        Err(LaunchError::Unreachable { dir: self.dir.clone(), user })
    }

    /// Creates the cluster beside its final path and renames it, so that an incomplete one is never used.
    async fn init(&mut self) -> Result<(), LaunchError> {
        let data = self.dir.join("data.new");
        if data.exists() {
            fs::remove_dir_all(&data).map_err(LaunchError::Prepare)?;
        }
        let mut initdb = self.command("initdb", "KILL").map_err(LaunchError::Prepare)?;
        initdb.arg("-D").arg(&data);
        initdb.args(["--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        self.run(initdb, "").await?;
        let hba = format!("host all {ROLE} 127.0.0.1/32 scram-sha-256\n");
        fs::write(data.join("pg_hba.conf"), hba).map_err(LaunchError::Prepare)?;
        let mut single = self.command("postgres", "KILL").map_err(LaunchError::Prepare)?;
        single
            .args(["--single", "-j", "-c", "password_encryption=scram-sha-256", "-D"])
            .arg(&data)
            .arg("postgres");
        let sql = format!(
            "CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{ROLE}';\n\n\
             CREATE DATABASE {ROLE} OWNER {ROLE};\n\n"
        );
        self.run(single, &sql).await?;
        fs::rename(data, self.data()).map_err(LaunchError::Prepare)
    }

    /// Runs one of the programs to its end. Meanwhile it is in the server's place, so that a canceled launch ends
    /// it, and the processes that it started, like a server.
    async fn run(&mut self, mut command: Command, input: &str) -> Result<(), LaunchError> {
        let (read, mut write) = io::pipe().map_err(LaunchError::Prepare)?;
        let program = Process::spawn(command.stdin(read)).map_err(LaunchError::Prepare)?;
        // The command keeps the reading end open until it is dropped.
        drop(command);
        write.write_all(input.as_bytes()).map_err(LaunchError::Prepare)?;
        drop(write);
        let succeeded = self.server.insert(program).succeeds().await.map_err(LaunchError::Prepare)?;
        self.server = None;
        if succeeded { Ok(()) } else { Err(self.failed()) }
    }

    /// We hold the folder's lock, so a server that a killed holder left behind is shutting down. A pid file
    /// without its server only blocks the start: its pid may belong to another process by now.
    async fn clear_leftover(&self) {
        let pid_file = self.data().join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&pid_file) else { return };
        if let Some(pid) = text.lines().next().and_then(|line| line.parse().ok()) {
            process::end_leftover(pid, self.data().as_os_str(), Signal::QUIT, Duration::from_secs(10)).await;
        }
        let _ = fs::remove_file(pid_file);
    }

    async fn wait_until_ready(&mut self) -> Result<(), LaunchError> {
        let url = self.url();
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match PgConnection::connect(&url).await {
                Ok(connection) => {
                    let _ = connection.close().await;
                    return Ok(());
                }
                // 57P03: cannot_connect_now, the server is starting up.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() != Some("57P03") => {
                    return Err(self.failed());
                }
                Err(_) => (),
            }
            if self.server.as_mut().is_none_or(Process::has_ended) {
                return Err(self.failed());
            }
            if Instant::now() >= deadline {
                return Err(LaunchError::TooSlow { service: "Postgres", log: self.log() });
            }
            sleep(Duration::from_millis(25)).await;
        }
    }

    fn failed(&self) -> LaunchError {
        let tail = log_tail(&self.log());
        if tail.contains("Address already in use") {
            return LaunchError::PortTaken { service: "Postgres", port: self.port };
        }
        LaunchError::Failed { service: "Postgres", log: self.log(), tail }
    }
}
