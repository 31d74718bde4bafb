//! The process that holds the private services; the hidden `dev-services` command runs it.
//!
//! It communicates only through its pipes: one JSON line when both services are ready, then one answer per request.
//! At the end of its input, the parent has ended, and it stops both services.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufRead as _, Write as _},
    path::{Path, PathBuf},
    thread,
};

use rustix::process::Signal;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{
    Action, Answer, Greeting, LaunchError, Mode, Request, Service, install::Programs, postgres::Postgres,
    rabbitmq::Rabbitmq,
};

/// The lock file also marks a folder as ours; `--fresh` removes nothing without it.
const LOCK: &str = "contact-relay.lock";

/// Why the holder failed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another holder uses the folder.
    #[error("another process uses the private services in {}; stop it or choose another folder", .0.display())]
    Held(PathBuf),
    /// The folder, a pipe or a thread failed.
    #[error("could not use the state folder or a pipe: {0}")]
    Io(#[from] io::Error),
    /// The programs were removed after the parent checked.
    #[error("{0} not installed")]
    Missing(&'static str),
    /// A service did not become ready.
    #[error("{0}")]
    Launch(String),
}

impl From<LaunchError> for HoldError {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error.to_string())
    }
}

/// Starts both services in the folder `state` (`fresh` removes their data first), holds them until the input
/// ends or SIGTERM arrives, and stops them. Blocks until then.
///
/// # Errors
/// When they cannot be started. The parent has already received the error.
pub fn run(state: &Path, mode: Mode, fresh: bool) -> Result<(), HoldError> {
    let state = std::path::absolute(state)?;
    // A service gets its death signal when the thread that started it ends. So one thread with its own
    // runtime does everything and lives until the end.
    let thread = thread::Builder::new().name("holder".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(hold(&state, mode, fresh))
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the holder panicked").into()))
}

async fn hold(state: &Path, mode: Mode, fresh: bool) -> Result<(), HoldError> {
    let mut end = End::new()?;
    let mut held = match Held::open(state, mode, fresh) {
        Ok(held) => held,
        Err(error) => {
            send(&Greeting::Refused { error: error.to_string() })?;
            return Err(error);
        }
    };
    let served = held.serve(&mut end).await;
    held.close(mode).await;
    served
}

/// The holder ends when its input does, or on SIGTERM. SIGINT and SIGHUP come from a terminal, are meant for
/// the parent, and are ignored here.
struct End {
    requests: UnboundedReceiver<String>,
    terminate: tokio::signal::unix::Signal,
    _ignored: [tokio::signal::unix::Signal; 2],
}

impl End {
    fn new() -> io::Result<Self> {
        let (sender, requests) = unbounded_channel();
        // Not the runtime's standard input: its blocking read would delay the exit of the process.
        thread::Builder::new().name("requests".into()).spawn(move || {
            for line in io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            requests,
            terminate: signal(SignalKind::terminate())?,
            _ignored: [signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?],
        })
    }

    /// The next request, or nothing when it is time to end.
    async fn next(&mut self) -> Option<String> {
        tokio::select! {
            request = self.requests.recv() => request,
            _ = self.terminate.recv() => None,
        }
    }
}

/// The locked folder and the services in it.
struct Held {
    state: PathBuf,
    postgres: Postgres,
    rabbitmq: Rabbitmq,
    _lock: File,
}

impl Held {
    fn open(state: &Path, mode: Mode, fresh: bool) -> Result<Self, HoldError> {
        fs::create_dir_all(state)?;
        let lock_path = state.join(LOCK);
        let was_ours = lock_path.exists();
        let lock = File::options().create(true).append(true).open(lock_path)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(HoldError::Held(state.to_owned())),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if fresh && was_ours {
            remove_data(state)?;
        }
        let programs = Programs::find().map_err(HoldError::Missing)?;
        let postgres = Postgres::new(programs.postgres, state.join("postgres"), mode);
        let rabbitmq = Rabbitmq::new(programs.rabbitmq, state.join("rabbitmq"));
        Ok(Self { state: state.to_owned(), postgres, rabbitmq, _lock: lock })
    }

    async fn serve(&mut self, end: &mut End) -> Result<(), HoldError> {
        let launch = async { tokio::try_join!(self.postgres.launch(), self.rabbitmq.launch()) };
        let launched = tokio::select! {
            launched = launch => launched,
            // The parent sends nothing before the greeting, so this is the end of the input, or SIGTERM.
            _ = end.next() => return Ok(()),
        };
        if let Err(error) = launched {
            send(&Greeting::Refused { error: error.to_string() })?;
            return Err(error.into());
        }
        send(&Greeting::Ready { postgres_url: self.postgres.url(), amqp_url: self.rabbitmq.url() })?;
        while let Some(request) = end.next().await {
            let error = match serde_json::from_str(&request) {
                Ok(request) => self.carry_out(request).await.err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            send(&Answer { error })?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, Request { action, service }: Request) -> Result<(), LaunchError> {
        let Self { postgres, rabbitmq, .. } = self;
        match (action, service) {
            (Action::Start, Service::Postgres) => return postgres.start().await,
            (Action::Start, Service::Rabbitmq) => return rabbitmq.start().await,
            (Action::Stop, Service::Postgres) => postgres.stop().await,
            (Action::Stop, Service::Rabbitmq) => rabbitmq.stop().await,
            (Action::Kill, Service::Postgres) => postgres.kill().await,
            (Action::Kill, Service::Rabbitmq) => rabbitmq.kill().await,
            (Action::Pause, Service::Postgres) => postgres.signal(Signal::STOP),
            (Action::Pause, Service::Rabbitmq) => rabbitmq.signal(Signal::STOP),
            (Action::Resume, Service::Postgres) => postgres.signal(Signal::CONT),
            (Action::Resume, Service::Rabbitmq) => rabbitmq.signal(Signal::CONT),
            (Action::Alarm, Service::Rabbitmq) => return rabbitmq.alarm(true).await,
            (Action::Calm, Service::Rabbitmq) => return rabbitmq.alarm(false).await,
            (Action::Stall, Service::Rabbitmq) => return rabbitmq.stall("suspend").await,
            (Action::Unstall, Service::Rabbitmq) => return rabbitmq.stall("resume").await,
            (Action::Alarm | Action::Calm | Action::Stall | Action::Unstall, Service::Postgres) => (),
        }
        Ok(())
    }

    async fn close(mut self, mode: Mode) {
        match mode {
            Mode::Kept => {
                tokio::join!(self.postgres.stop(), self.rabbitmq.stop());
            }
            Mode::Disposable => {
                tokio::join!(self.postgres.kill(), self.rabbitmq.kill());
                let removed = remove_data(&self.state).and_then(|()| fs::remove_file(self.state.join(LOCK)));
                // Only an empty folder: other files in it are not ours.
                if let Err(error) = removed.and_then(|()| fs::remove_dir(&self.state)) {
                    let _ = writeln!(io::stderr(), "could not remove {}: {error}", self.state.display());
                }
            }
        }
    }
}

/// Removes the files of the services, and nothing else in the folder.
fn remove_data(state: &Path) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    for name in ["postgres", "rabbitmq"] {
        absent_is_fine(fs::remove_dir_all(state.join(name)))?;
        absent_is_fine(fs::remove_file(state.join(name).with_extension("log")))?;
    }
    Ok(())
}

fn send(line: &impl Serialize) -> io::Result<()> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, line)?;
    output.write_all(b"\n")?;
    output.flush()
}
