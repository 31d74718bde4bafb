//! Finds the programs of Postgres and RabbitMQ and, on Debian, installs them when they are missing,
//! without letting the packages start services of the system.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::Command;

/// What a user types to install the programs.
pub const COMMAND: &str =
    "sudo apt-get update && sudo apt-get install -y --no-install-recommends postgresql rabbitmq-server";

/// Keeps the packages from starting services and from creating a cluster, installs them, and takes
/// back what it put in place, also when it fails or is interrupted.
const SCRIPT: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/contact-relay.conf
made_policy= made_cluster=
clean_up() {
    [ -z "$made_policy" ] || rm -f "$policy"
    [ -z "$made_cluster" ] || rm -f "$cluster"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$policy" ]; then
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 0755 "$policy"
fi
if [ ! -e "$cluster" ]; then
    made_cluster=1
    mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' > "$cluster"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update || echo 'the package lists could not be updated; trying with the old ones'
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends postgresql rabbitmq-server
"#;

/// The programs are missing and stay so. Exit code 69.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not root, and not on a terminal or refused there.
    #[error(
        "{missing} not installed; install with:\n\n    {COMMAND}\n\nor set CONTACT_RELAY__POSTGRES__URL and CONTACT_RELAY__AMQP__URL to use running services"
    )]
    Missing {
        /// Which of the two, as the beginning of a sentence.
        missing: &'static str,
    },
    /// There is no apt-get.
    #[error(
        "{missing} not installed, and this system has no apt-get; install both, or set CONTACT_RELAY__POSTGRES__URL and CONTACT_RELAY__AMQP__URL to use running services"
    )]
    NotDebian {
        /// Which of the two, as the beginning of a sentence.
        missing: &'static str,
    },
    /// apt-get ran and failed.
    #[error("the packages could not be installed; the log is {}:\n{tail}", log.display())]
    Failed {
        /// The whole output.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A process or file of the installation could not be used.
    #[error("the packages could not be installed")]
    Io(#[from] io::Error),
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// Folder of initdb and postgres, of the newest version installed.
    pub(super) postgres: PathBuf,
    /// The library's launcher, not the wrapper in sbin, which insists on the system's user.
    pub(super) rabbitmq: PathBuf,
}

impl Programs {
    /// # Errors
    /// Which of the two are missing.
    pub(super) fn find() -> Result<Self, &'static str> {
        let rabbitmq = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
        match (newest_postgres(Path::new("/usr/lib/postgresql")), rabbitmq.exists()) {
            (Some(postgres), true) => Ok(Self { postgres, rabbitmq }),
            (Some(_), false) => Err("RabbitMQ is"),
            (None, true) => Err("Postgres is"),
            (None, false) => Err("Postgres and RabbitMQ are"),
        }
    }
}

fn newest_postgres(root: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(root).ok()?.flatten();
    let versions =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let bins = versions.map(|(version, path)| (version, path.join("bin")));
    bins.filter(|(_, bin)| bin.join("initdb").exists() && bin.join("postgres").exists())
        .max()
        .map(|(_, bin)| bin)
}

/// Sees to it that the programs are there: as root installs them; otherwise offers on a terminal to
/// do so with sudo.
///
/// # Errors
/// When they are missing and stay so. The message carries the command that installs them.
pub async fn ensure() -> Result<(), InstallError> {
    let Err(missing) = Programs::find() else { return Ok(()) };
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(InstallError::NotDebian { missing });
    }
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("sh")
    } else if asked_and_agreed(missing).await? {
        let mut sudo = Command::new("sudo");
        sudo.arg("sh");
        sudo
    } else {
        return Err(InstallError::Missing { missing });
    };
    run(command.arg("-c").arg(SCRIPT)).await?;
    Programs::find().map(drop).map_err(|missing| InstallError::Missing { missing })
}

async fn asked_and_agreed(missing: &'static str) -> io::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(false);
    }
    let ask = move || {
        write!(io::stderr(), "{missing} not installed. Install from Debian's packages with sudo? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    };
    tokio::task::spawn_blocking(ask).await.unwrap_or(Ok(false))
}

/// Runs the installation. Its output goes to a log, the state of things to one line on stderr.
async fn run(command: &mut Command) -> Result<(), InstallError> {
    let log = std::env::temp_dir().join(format!("contact-relay-install-{}.log", std::process::id()));
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&log)?;
    let started = Instant::now();
    // sudo asks for the password on the terminal itself, not on these.
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = tick.tick() => progress(started.elapsed()),
        }
    };
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr());
    }
    if status.success() {
        let _ = fs::remove_file(&log);
        return Ok(());
    }
    let tail = super::log_tail(&log);
    Err(InstallError::Failed { log, tail })
}

/// One line that is rewritten on a terminal; elsewhere one line every half a minute.
fn progress(elapsed: Duration) {
    let text = format!("installing postgresql and rabbitmq-server, {} s", elapsed.as_secs());
    let _ = if io::stderr().is_terminal() {
        write!(io::stderr(), "\r{text}")
    } else if elapsed.as_secs().is_multiple_of(30) {
        writeln!(io::stderr(), "{text}")
    } else {
        Ok(())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_postgres_is_taken() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(newest_postgres(root.path()), None);
        for (version, programs) in
            [("9", ["initdb", "postgres"]), ("15", ["initdb", "postgres"]), ("17", ["psql", "initdb"])]
        {
            let bin = root.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in programs {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        assert_eq!(newest_postgres(root.path()), Some(root.path().join("15/bin")));
    }
}
