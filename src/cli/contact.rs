//! `contact find|show|history|unmerge|erase`. The identity document is masked everywhere.

mod erase;
mod find;
mod history;
mod show;
mod unmerge;

use clap::Subcommand;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    exit::Exit,
    output::{Output, masked, moment},
};
use crate::{
    domain::{
        contact::{Contact, field::Field},
        event::CompanyId,
    },
    postgres::Database,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find contacts by phone or email, current or former
    #[command(
        after_help = "Example: contact-relay contact find --company acme --email ada@analytical.example"
    )]
    Find(find::Args),
    /// Show a contact, and the event that each value came from
    Show(One),
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

fn as_json(contact: &Contact) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), contact.id.to_string().into());
    object.insert("companyId".to_owned(), contact.company.as_str().into());
    object.insert("version".to_owned(), contact.version.into());
    for (field, _) in contact.values.iter() {
        object.insert(field.name().to_owned(), shown(contact, field).into());
    }
    object.insert("createdAt".to_owned(), moment(contact.created_at).into());
    object.insert("updatedAt".to_owned(), moment(contact.updated_at).into());
    Value::Object(object)
}

fn shown(contact: &Contact, field: Field) -> String {
    match (field, contact.values.get(field)) {
        (_, None) => String::new(),
        (Field::Identity, Some(stamped)) => masked(&stamped.value),
        (_, Some(stamped)) => stamped.value.clone(),
    }
}
