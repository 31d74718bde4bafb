//! Before something that cannot be taken back: in whose name, and whether it is meant.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use super::exit::Usage;

/// The operator: as named, or the user of this session.
pub(super) fn operator(named: Option<&str>) -> Option<String> {
    let named = named.map(str::to_owned);
    let named = named.or_else(|| ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()));
    named.filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control))
}

/// Refuses to go on where nobody can be asked.
pub(super) fn askable(yes: bool, verb: &str) -> Result<(), Usage> {
    if yes || stdin().is_terminal() {
        return Ok(());
    }
    Err(Usage(format!("--yes is required to {verb} where standard input is no terminal")))
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

/// The operator; where neither an option nor the session names one, the user id of the process.
pub(super) fn operator_or_user(named: Option<&str>) -> Result<String, Usage> {
    match (operator(named), named) {
        (Some(name), _) => Ok(name),
        (None, None) => Ok(format!("uid {}", rustix::process::getuid().as_raw())),
        (None, Some(_)) => Err(Usage("--operator must be a name of 1 to 255 bytes".to_owned())),
    }
}
