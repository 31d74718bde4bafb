//! Finds the programs of Postgres and RabbitMQ, and the browser of the tests. On Debian it installs them if they are
//! missing, without letting the packages start system services.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::Command;

/// The packages of the private services.
const SERVICES: &[&str] = &["postgresql", "rabbitmq-server"];

/// The packages of the browser, with just the fonts that the layout of a page needs.
const BROWSER: &[&str] = &["chromium", "chromium-driver", "fonts-dejavu-core"];

/// Keeps packages from starting services and from creating a cluster, installs those that are its arguments, and removes
/// the files that it created for that, even when it fails or is interrupted.
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
apt-get -q -o DPkg::Lock::Timeout=300 update || echo 'could not update the package lists; using the old ones'
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
"#;

/// The programs are missing and could not be installed. Exit code 69.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not root, and not on a terminal or refused there.
    #[error("{missing} not installed; install with:\n\n    {}{}", command(.packages), instead(.packages))]
    Missing {
        /// The missing programs and a verb, such as `Postgres is`.
        missing: &'static str,
        /// The packages that have them.
        packages: &'static [&'static str],
    },
    /// The system has no apt-get.
    #[error("{missing} not installed, and this system has no apt-get; install them by hand{}", instead(.packages))]
    NotDebian {
        /// The missing programs and a verb, such as `Postgres is`.
        missing: &'static str,
        /// Debian's packages that have them.
        packages: &'static [&'static str],
    },
    /// apt-get ran and failed.
    #[error("could not install the packages; the end of the log {}:\n{tail}", log.display())]
    Failed {
        /// The whole output.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The installation could not be started, or its files could not be written.
    #[error("could not install the packages")]
    Io(#[from] io::Error),
}

/// Paths of the programs.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// Folder of initdb and postgres, of the newest version installed.
    pub(super) postgres: PathBuf,
    /// The launcher in /usr/lib; the wrapper in /usr/sbin runs only as the system's user.
    pub(super) rabbitmq: PathBuf,
}

impl Programs {
    /// # Errors
    /// The missing programs and a verb, such as `Postgres is`.
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

/// Installs missing programs of the services: at once as root, otherwise with sudo if the user agrees on a terminal.
///
/// # Errors
/// When programs are still missing. The message contains the command that installs them.
pub async fn ensure() -> Result<(), InstallError> {
    ensure_all(SERVICES, || Programs::find().map(drop)).await
}

/// Installs Chromium and its driver in the same way. Only tests need them.
///
/// # Errors
/// When one of them is still missing. The message contains the command that installs them.
pub async fn ensure_browser() -> Result<(), InstallError> {
    ensure_all(BROWSER, || if has_browser() { Ok(()) } else { Err("Chromium and its driver are") }).await
}

/// The driver finds its browser itself.
fn has_browser() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("chromedriver").exists())
}

/// Installs `packages` if `find` does not find their programs.
async fn ensure_all(
    packages: &'static [&'static str],
    find: impl Fn() -> Result<(), &'static str>,
) -> Result<(), InstallError> {
    let Err(missing) = find() else { return Ok(()) };
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(InstallError::NotDebian { missing, packages });
    }
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("sh")
    } else if asked_and_agreed(missing).await? {
        let mut sudo = Command::new("sudo");
        sudo.arg("sh");
        sudo
    } else {
        return Err(InstallError::Missing { missing, packages });
    };
    run(command.args(["-c", SCRIPT, "install"]).args(packages), packages).await?;
    find().map_err(|missing| InstallError::Missing { missing, packages })
}

/// Installs the packages by hand.
fn command(packages: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", packages.join(" "))
}

/// What can be used instead of the packages.
fn instead(packages: &[&str]) -> &'static str {
    if packages == SERVICES {
        "\n\nor set CONTACT_RELAY__POSTGRES__URL and CONTACT_RELAY__AMQP__URL to use running services"
    } else {
        ""
    }
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

/// Runs the installation. Its output goes to a log, its progress to standard error.
async fn run(command: &mut Command, packages: &[&str]) -> Result<(), InstallError> {
    let name = format!("contact-relay-install-{}-{:08x}.log", std::process::id(), rand::random::<u32>());
    let log = std::env::temp_dir().join(name);
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&log)?;
    let started = Instant::now();
    // sudo asks for the password on the terminal itself, not on these.
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = tick.tick() => progress(packages, started.elapsed()),
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

/// Rewrites one line on a terminal; elsewhere prints a line every 30 seconds.
fn progress(packages: &[&str], elapsed: Duration) {
    let text = format!("installing {}, {} s", packages.join(", "), elapsed.as_secs());
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
    fn error_has_the_command_that_installs() {
        let missing = |missing, packages| InstallError::Missing { missing, packages }.to_string();
        let services = missing("Postgres is", SERVICES);
        assert!(
            services.contains("install -y --no-install-recommends postgresql rabbitmq-server\n"),
            "{services}"
        );
        assert!(services.contains("CONTACT_RELAY__POSTGRES__URL"), "{services}");
        let browser = missing("Chromium and its driver are", BROWSER);
        assert!(browser.contains("chromium chromium-driver") && !browser.contains("POSTGRES"), "{browser}");
    }

    #[test]
    fn newest_complete_postgres_is_chosen() {
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
