//! Before something that cannot be taken back: in whose name, and whether it is meant.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin},
    num::NonZeroU32,
};

use super::exit::Usage;

/// The operator: as named, or the user of this session.
pub(super) fn operator(named: Option<&str>) -> Option<String> {
    let named = named.map(str::to_owned);
    let named = named.or_else(|| ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()));
    named.filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control))
}

/// Asks on standard error; anything but yes means no.
pub(super) fn confirmed(question: &str) -> anyhow::Result<bool> {
    write!(stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// The options of a command that changes one thing, named by its id.
#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    /// Change nothing: show what would be
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask on a terminal
    #[arg(long)]
    yes: bool,
    /// Who decides it; recorded with what is done
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
}

impl Decision {
    /// Whether somebody is there to be asked and wants to be. A script that names one thing means it.
    pub(super) fn asks(&self) -> bool {
        !self.dry_run && !self.yes && stdin().is_terminal()
    }

    /// The operator, see [`operator_or_user`].
    pub(super) fn operator(&self) -> Result<String, Usage> {
        operator_or_user(self.operator.as_deref())
    }
}

/// The options of a command that changes many things.
#[derive(Debug, clap::Args)]
pub(super) struct Many {
    /// Change nothing: show how many, and a sample
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask; required where standard input is no terminal
    #[arg(long)]
    yes: bool,
    /// At most so many a second
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<NonZeroU32>,
}

impl Many {
    /// Refuses to go on where a question will have to be asked and nobody can be.
    pub(super) fn askable(&self, verb: &str) -> Result<(), Usage> {
        if self.dry_run || self.yes || stdin().is_terminal() {
            return Ok(());
        }
        Err(Usage(format!("--yes is required to {verb} where standard input is no terminal")))
    }

    /// Asks, unless told not to.
    ///
    /// # Errors
    /// When the answer is not yes.
    pub(super) fn ask(&self, question: &str) -> anyhow::Result<()> {
        if !self.yes && !confirmed(question)? {
            anyhow::bail!("nothing was changed");
        }
        Ok(())
    }
}

/// The operator; where neither an option nor the session names one, the user id of the process.
pub(super) fn operator_or_user(named: Option<&str>) -> Result<String, Usage> {
    match (operator(named), named) {
        (Some(name), _) => Ok(name),
        (None, None) => Ok(format!("uid {}", rustix::process::getuid().as_raw())),
        (None, Some(_)) => Err(Usage("--operator must be a name of 1 to 255 bytes".to_owned())),
    }
}
