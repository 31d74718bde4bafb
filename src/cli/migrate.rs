//! `migrate`.

use anyhow::Context as _;

use super::{exit::Exit, output};
use crate::postgres::{Database, pending, schema};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Change nothing: list pending migrations and exit 1 if there are any
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(args: &Args, database: &Database) -> anyhow::Result<Exit> {
    let pending = database.unit(async |conn| pending(conn).await).await;
    let pending = pending.context("could not read the schema version")?;
    for migration in &pending {
        output::line(format_args!("{} {migration}", if args.check { "pending" } else { "applying" }))?;
    }
    if args.check && !pending.is_empty() {
        return Ok(Exit::Failed);
    }
    if !pending.is_empty() {
        schema::migrate(database).await.context("could not migrate the database")?;
    }
    output::line("the schema is up to date")?;
    Ok(Exit::Done)
}
