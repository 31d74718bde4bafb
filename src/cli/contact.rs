//! `contact find|show|history|unmerge|erase`. The identity document is masked everywhere.

mod erase;
mod find;
mod history;
mod show;
mod unmerge;

use clap::Subcommand;
use uuid::Uuid;

use super::{exit::Exit, output::Output};
use crate::{domain::event::CompanyId, postgres::Database, settings::Settings};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find contacts by phone or email, current or former, or by the beginning of the name
    #[command(
        after_help = "Example: contact-relay contact find --company acme --email ada@analytical.example"
    )]
    Find(find::Args),
    /// Show a contact, and the event that each value came from
    Show(show::Show),
    /// Show what each event, merge, unmerge and conflict did to a contact and to those merged into it
    History(One),
    /// Split a merged contact into the two people that were merged
    #[command(after_help = unmerge::HELP)]
    Unmerge(unmerge::Unmerge),
    /// Erase a person permanently; late redeliveries do not restore the contact
    #[command(after_help = erase::HELP)]
    Erase(erase::Erase),
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Company (tenant) id
    #[arg(long, value_parser = company)]
    company: CompanyId,
    /// Contact id; the id of a merged contact finds the contact it was merged into
    id: Uuid,
    #[command(flatten)]
    output: Output,
}

fn company(text: &str) -> Result<CompanyId, String> {
    CompanyId::new(text).map_err(|error| error.to_string())
}

pub(super) async fn run(command: Command, database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::Find(args) => find::run(database, args, settings).await,
        Command::Show(args) => show::run(database, &args).await,
        Command::History(args) => history::run(database, &args).await,
        Command::Unmerge(args) => unmerge::run(database, &args, settings).await,
        Command::Erase(args) => erase::run(database, &args, settings).await,
    }
}
