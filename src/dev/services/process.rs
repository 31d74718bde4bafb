//! Starts the processes of a service, and ends them with all their descendants.
//!
//! `setpriv --pdeathsig` starts each process, so the kernel ends it when the thread that started it ends. Each has
//! its own process group, so Ctrl-C in the terminal does not reach it. Only recorded pids are signaled, and a
//! descendant only while it has the recorded start time.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Programs of the services are looked up only here, regardless of the caller's environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// For descendants to exit after their parent. After that they are killed one by one.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(3);

/// A command in `dir` with a clean environment and no terminal that writes to `log`, gets `death_signal` (`KILL`,
/// `QUIT`) when the thread that starts it ends, and runs as `user` if one is given.
pub(super) fn command(
    program: &Path,
    user: Option<&str>,
    death_signal: &str,
    dir: &Path,
    log: &Path,
) -> io::Result<Command> {
    let log: File = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig").arg(death_signal);
    if let Some(user) = user {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
    }
    command.arg("--").arg(program);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", dir);
    command.current_dir(dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// A running process with its descendants.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Self { child, pid })
    }

    /// Waits until it exits; whether it succeeded.
    pub(super) async fn succeeds(&mut self) -> io::Result<bool> {
        Ok(self.child.wait().await?.success())
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops (`SIGSTOP`) or continues (`SIGCONT`) the process and all its descendants.
    pub(super) fn signal_all(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
        for Identity { pid, .. } in descendants(self.pid) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends each signal in turn and waits for the given time; kills the process after the last one. Then ends
    /// all descendants.
    pub(super) async fn end(mut self, steps: &[(Signal, Duration)]) {
        self.signal_all(Signal::CONT);
        let family = descendants(self.pid);
        for &(signal, limit) in steps {
            let ended = kill_process(self.pid, signal).is_err();
            if ended || timeout(limit, self.child.wait()).await.is_ok() {
                break;
            }
        }
        let _ = self.child.kill().await;
        end_orphans(family).await;
    }
}

async fn end_orphans(mut family: Vec<Identity>) {
    let deadline = Instant::now() + ORPHAN_TIMEOUT;
    loop {
        family.retain(Identity::is_alive);
        if family.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    for Identity { pid, .. } in family {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// A process; its start time distinguishes it from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    pid: Pid,
    parent: i32,
    started: u64,
}

impl Identity {
    /// Reads `/proc/PID/stat` (proc(5)). A zombie counts as gone.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name in parentheses, may itself contain blanks and parentheses.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (state != "Z").then_some(Self { pid: Pid::from_raw(pid)?, parent, started })
    }

    fn is_alive(&self) -> bool {
        Self::read(self.pid.as_raw_nonzero().get()).is_some_and(|now| now.started == self.started)
    }
}

fn descendants(ancestor: Pid) -> Vec<Identity> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut others: Vec<Identity> = pids.filter_map(Identity::read).collect();
    let mut family = Vec::new();
    let mut known = HashSet::from([ancestor.as_raw_nonzero().get()]);
    loop {
        let (children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| known.contains(&process.parent));
        if children.is_empty() {
            return family;
        }
        known.extend(children.iter().map(|child| child.pid.as_raw_nonzero().get()));
        family.extend(children);
        others = rest;
    }
}

/// Signals a process that an earlier holder left behind and waits until it exits, if `pid` is still a process
/// with `mark` among its arguments.
pub(super) async fn end_leftover(pid: i32, mark: &OsStr, signal: Signal, limit: Duration) {
    let Some(identity) = Identity::read(pid) else { return };
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if !command_line.split(|&byte| byte == 0).any(|argument| argument == mark.as_encoded_bytes()) {
        return;
    }
    let _ = kill_process(identity.pid, signal);
    let deadline = Instant::now() + limit;
    while identity.is_alive() && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell with a grandchild that ignores SIGHUP and SIGTERM.
    async fn family(dir: &Path) -> (Process, Vec<Identity>) {
        let mut command = command(Path::new("/bin/sh"), None, "KILL", dir, &dir.join("log")).unwrap();
        command.args(["-c", "(trap '' HUP TERM; sleep 1000; sleep 1000) & sleep 1000; true"]);
        let process = Process::spawn(&mut command).unwrap();
        eventually(|| descendants(process.pid).len() == 3).await;
        let family = descendants(process.pid);
        (process, family)
    }

    /// Waits for a condition. Only a failure uses up the time.
    async fn eventually(mut is_true: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while !is_true() {
            assert!(Instant::now() < deadline, "it never happened");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn ending_a_process_ends_its_descendants() {
        let dir = tempfile::tempdir().unwrap();
        let (process, family) = family(dir.path()).await;
        assert!(family.iter().all(Identity::is_alive));
        process.end(&[]).await;
        eventually(|| !family.iter().any(Identity::is_alive)).await;
    }

    #[tokio::test]
    async fn only_our_leftover_process_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut command =
            command(Path::new("sleep"), None, "KILL", dir.path(), &dir.path().join("log")).unwrap();
        let mut process = Process::spawn(command.arg("1234.5")).unwrap();
        let pid = process.pid.as_raw_nonzero().get();
        // While setpriv becomes sleep, the process has no command line at all for a moment.
        eventually(|| fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep\0")).await;
        end_leftover(pid, OsStr::new("another"), Signal::KILL, Duration::ZERO).await;
        assert!(!process.has_ended());
        end_leftover(pid, OsStr::new("1234.5"), Signal::KILL, Duration::from_mins(2)).await;
        assert!(process.has_ended());
    }
}
