//! Before a change: who decides on it, and whether they confirm it.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use super::exit::Usage;

/// The operator that `--operator` names, or the user of this session; `None` when neither is a name of 1 to
/// 255 bytes.
pub(super) fn operator(given: Option<&str>) -> Option<String> {
    let name = given.map(str::to_owned);
    let name = name.or_else(|| ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()));
    name.filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control))
}

/// As [`operator`]; without a name, the user id of this process.
pub(super) fn operator_or_user(given: Option<&str>) -> Result<String, Usage> {
    match (operator(given), given) {
        (Some(name), _) => Ok(name),
        (None, None) => Ok(format!("uid {}", rustix::process::getuid().as_raw())),
        (None, Some(_)) => Err(Usage("--operator must be a name of 1 to 255 bytes".to_owned())),
    }
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
    /// Who decides it; recorded with the change
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
}

impl Decision {
    /// Whether to ask first. A script that names one thing means it, so only a terminal is asked.
    pub(super) fn asks(&self) -> bool {
        !self.dry_run && !self.yes && stdin().is_terminal()
    }

    /// See [`operator_or_user`].
    pub(super) fn operator(&self) -> Result<String, Usage> {
        operator_or_user(self.operator.as_deref())
    }
}
