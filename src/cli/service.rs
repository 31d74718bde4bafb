//! `run` and the hidden `dev-services`. Both are thin: the work is in `app` and `dev`.

use std::path::PathBuf;

use tracing::warn;

use super::exit::{Exit, Unavailable};
use crate::{
    app::{App, Role},
    dev::services::{Mode, holder},
    settings::Effective,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  contact-relay run
  contact-relay run --role upsert --role dead-letter

SIGTERM or SIGINT drains within shutdown.grace; a second signal exits at once. Neither loses anything.")]
pub(super) struct Run {
    /// Run only this role; repeat the option for several [default: all]
    #[arg(long = "role", value_enum, value_name = "ROLE")]
    roles: Vec<Role>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DevServices {
    /// State folder
    #[arg(long)]
    state: PathBuf,
    /// Stop at once and remove the state folder at the end
    #[arg(long)]
    disposable: bool,
    /// Remove the data in the state folder first
    #[arg(long)]
    fresh: bool,
}

pub(super) async fn run(args: Run, effective: Effective) -> anyhow::Result<Exit> {
    let roles = if args.roles.is_empty() { <Role as clap::ValueEnum>::value_variants() } else { &args.roles };
    for warning in effective.warnings() {
        warn!(setting = warning.key, "{warning}");
    }
    App::new(effective.settings, roles)?.run().await?;
    Ok(Exit::Done)
}

pub(super) fn dev_services(args: &DevServices) -> anyhow::Result<Exit> {
    let mode = if args.disposable { Mode::Disposable } else { Mode::Kept };
    holder::run(&args.state, mode, args.fresh).map_err(Unavailable::services)?;
    Ok(Exit::Done)
}
