//! A private RabbitMQ: one node in a folder, on free loopback ports, with its own epmd, cookie and configuration,
//! separate from any broker of the system.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep, timeout},
};

use super::{
    LaunchError, MAX_PORT_CHOICES, free_ports, log_tail,
    process::{self, Process},
};

/// The node's database contains the node's name, so the name is the same at every start. It must be unique only
/// within its epmd, which is private too.
const NODE: &str = "contact-relay@localhost";

/// Until the node speaks AMQP, including recovery of its queues.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// A client opens an AMQP 0-9-1 connection with this header (specification, section 4.2.2).
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

/// One node and, while they run, its processes.
#[derive(Debug)]
pub(super) struct Rabbitmq {
    launcher: PathBuf,
    dir: PathBuf,
    ports: Ports,
    epmd: Option<Process>,
    node: Option<Process>,
    /// Whether its memory limit is so low that it is in alarm.
    alarmed: bool,
}

impl Rabbitmq {
    /// `launcher` is the one in /usr/lib, not the wrapper in /usr/sbin; the node's files are in `dir`.
    pub(super) fn new(launcher: PathBuf, dir: PathBuf) -> Self {
        Self { launcher, dir, ports: Ports::default(), epmd: None, node: None, alarmed: false }
    }

    /// Chooses ports, writes the configuration and starts the node.
    pub(super) async fn launch(&mut self) -> Result<(), LaunchError> {
        fs::create_dir_all(&self.dir).map_err(LaunchError::Prepare)?;
        let mut choices = 0;
        loop {
            choices += 1;
            let _ = fs::remove_file(self.log());
            let [amqp, distribution, epmd] = free_ports().map_err(LaunchError::Prepare)?;
            self.ports = Ports { amqp, distribution, epmd };
            match self.start().await {
                Err(LaunchError::PortTaken { .. }) if choices < MAX_PORT_CHOICES => (),
                result => return result,
            }
        }
    }

    /// Starts the node on the chosen ports and waits until it speaks AMQP.
    pub(super) async fn start(&mut self) -> Result<(), LaunchError> {
        if self.node.is_some() {
            return Ok(());
        }
        let started = match self.spawn() {
            Ok(()) => self.wait_until_ready().await,
            Err(error) => Err(LaunchError::Prepare(error)),
        };
        if started.is_err() {
            self.kill().await;
        }
        started
    }

    /// Asks the node to stop, and kills it after 20 s.
    pub(super) async fn stop(&mut self) {
        self.end(&[(Signal::TERM, Duration::from_secs(20))]).await;
    }

    /// Kills the node, like a crash.
    pub(super) async fn kill(&mut self) {
        self.end(&[]).await;
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(node) = &self.node {
            node.signal_all(signal);
        }
    }

    /// Raises or ends the memory alarm. A restart resets the limit.
    pub(super) async fn alarm(&mut self, alarmed: bool) -> Result<(), LaunchError> {
        if self.alarmed == alarmed {
            return Ok(());
        }
        let limit = if alarmed { "0.00001" } else { "0.4" };
        if !self.rabbitmqctl(["set_vm_memory_high_watermark", limit]).await? {
            return Err(LaunchError::NoAlarm { log: self.log() });
        }
        self.alarmed = alarmed;
        Ok(())
    }

    /// Suspends or resumes the Raft servers of the queues whose names end with `stalled`.
    pub(super) async fn stall(&self, act: &str) -> Result<(), LaunchError> {
        let program = format!(
            "[sys:{act}(Name) || Name <- registered(), lists:suffix(\"stalled\", atom_to_list(Name))]."
        );
        if self.rabbitmqctl(["eval", &program]).await? {
            Ok(())
        } else {
            Err(LaunchError::NoStall { log: self.log() })
        }
    }

    /// Runs a command of the broker, and returns whether it succeeded.
    async fn rabbitmqctl(&self, arguments: [&str; 2]) -> Result<bool, LaunchError> {
        let program = self.launcher.with_file_name("rabbitmqctl");
        let mut command = self.command(&program).map_err(LaunchError::Prepare)?;
        command.env("RABBITMQ_NODENAME", NODE).args(arguments);
        let mut program = Process::spawn(&mut command).map_err(LaunchError::Prepare)?;
        program.succeeds().await.map_err(LaunchError::Prepare)
    }

    pub(super) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    async fn end(&mut self, steps: &[(Signal, Duration)]) {
        self.alarmed = false;
        if let Some(node) = self.node.take() {
            node.end(steps).await;
        }
        if let Some(epmd) = self.epmd.take() {
            epmd.end(&[]).await;
        }
    }

    fn spawn(&mut self) -> io::Result<()> {
        let configuration = format!(
            "listeners.tcp.default = 127.0.0.1:{}\ndisk_free_limit.absolute = 100MB\nlog.console = false\n",
            self.ports.amqp
        );
        fs::write(self.dir.join("rabbitmq.conf"), configuration)?;
        fs::write(self.dir.join("enabled_plugins"), "[].\n")?;

        // In the foreground and before the node, which would otherwise start one as a daemon that outlives it.
        let mut epmd = self.command(Path::new("/usr/bin/epmd"))?;
        self.epmd = Some(Process::spawn(&mut epmd)?);

        let mut node = self.command(&self.launcher)?;
        node.env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.dir.join("db"))
            .env("RABBITMQ_LOG_BASE", self.dir.join("log"))
            .env("RABBITMQ_PID_FILE", self.dir.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", self.dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.dir.join("enabled_plugins"))
            // The files of the system's own broker in /etc/rabbitmq are not read.
            .env("RABBITMQ_CONF_ENV_FILE", self.dir.join("none.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.dir.join("none.config"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            // With this the launcher becomes the node instead of supervising it: one pid, one death signal.
            .env("RUNNING_UNDER_SYSTEMD", "true");
        self.node = Some(Process::spawn(&mut node)?);
        Ok(())
    }

    fn command(&self, program: &Path) -> io::Result<Command> {
        let mut command = process::command(program, None, "KILL", &self.dir, &self.log())?;
        command.env("ERL_EPMD_PORT", self.ports.epmd.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.dir.with_file_name("rabbitmq.log")
    }

    async fn wait_until_ready(&mut self) -> Result<(), LaunchError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.speaks_amqp().await {
            if self.node.as_mut().is_none_or(Process::has_ended) {
                return Err(self.failed());
            }
            if Instant::now() >= deadline {
                return Err(LaunchError::TooSlow { service: "RabbitMQ", log: self.log() });
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn speaks_amqp(&self) -> bool {
        let handshake = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports.amqp)).await?;
            stream.write_all(PROTOCOL_HEADER).await?;
            stream.read_u8().await
        };
        // A frame of type 1, method, is Connection.Start; anything else is a refusal.
        matches!(timeout(Duration::from_secs(5), handshake).await, Ok(Ok(1)))
    }

    fn failed(&self) -> LaunchError {
        let tail = log_tail(&self.log());
        if ["eaddrinuse", "already in use"].iter().any(|words| tail.contains(words)) {
            return LaunchError::PortTaken { service: "RabbitMQ", port: self.ports.amqp };
        }
        LaunchError::Failed { service: "RabbitMQ", log: self.log(), tail }
    }
}
