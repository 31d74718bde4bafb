//! Before a change: who makes it, and whether they confirm it.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use super::exit::Usage;
use crate::operator::audit::{Actor, Via};

/// Who changes something, and why: options of every command that does.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Who {
    /// Who makes the change; recorded with it [default: the user of this session]
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Why; recorded with the change. Do not name a person in it
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

impl Who {
    pub(super) fn actor(&self) -> Result<Actor, Usage> {
        let actor = Actor::new(operator(self.operator.as_deref())?, Via::CommandLine);
        actor
            .because(self.because.as_deref())
            .map_err(|_| Usage("--because must be at most 500 bytes, without control characters".to_owned()))
    }
}

/// The operator that `--operator` names, or the user of this session; without a name, the user id of this process.
fn operator(given: Option<&str>) -> Result<String, Usage> {
    match (name(given), given) {
        (Some(name), _) => Ok(name),
        (None, None) => Ok(format!("uid {}", rustix::process::getuid().as_raw())),
        (None, Some(_)) => Err(Usage("--operator must be a name of 1 to 255 bytes".to_owned())),
    }
}

fn name(given: Option<&str>) -> Option<String> {
    let name = given.map(str::to_owned);
    let name = name.or_else(|| ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()));
    name.filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control))
}

/// Asks a yes-or-no question on standard error.
///
/// # Errors
/// When the answer is not yes.
pub(super) fn ask(question: &str) -> anyhow::Result<()> {
    write!(stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        anyhow::bail!("nothing was changed");
    }
    Ok(())
}

/// The options of a command that changes one thing, named by its id.
#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    /// Change nothing: show what would change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask on a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

impl Decision {
    /// Whether to ask first. A script that names one thing means it, so only a terminal is asked.
    pub(super) fn asks(&self) -> bool {
        !self.dry_run && !self.yes && stdin().is_terminal()
    }

    /// Who decides.
    pub(super) fn actor(&self) -> Result<Actor, Usage> {
        self.who.actor()
    }
}
