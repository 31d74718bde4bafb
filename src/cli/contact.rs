//! `contact find|show|history|unmerge|erase`. The identity document is masked everywhere.

mod erase;
mod unmerge;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{
    exit::{Exit, Usage},
    output::{self, Output, masked, moment},
};
use crate::{
    domain::{
        contact::{Contact, ContactId},
        event::CompanyId,
        field::Field,
    },
    operator::contacts::{self, HistoryEntry},
    postgres::{Database, contacts::Known},
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find contacts by phone or email, current or former
    #[command(
        after_help = "Example: contact-relay contact find --company acme --email ada@analytical.example"
    )]
    Find(Find),
    /// Show a contact, each value with the event behind it
    Show(One),
    /// Show what each event did to a contact and to those merged into it
    History(One),
    /// Part two contacts that were merged and are two people
    #[command(after_help = unmerge::HELP)]
    Unmerge(unmerge::Unmerge),
    /// Erase a person for good, and keep late redeliveries from bringing it back
    #[command(after_help = erase::HELP)]
    Erase(erase::Erase),
}

#[derive(Debug, clap::Args)]
#[group(id = "key", required = true, multiple = true)]
struct Keys {
    /// Phone number; - reads it from standard input, out of sight of the process list
    #[arg(long)]
    phone: Option<String>,
    /// Email address; - reads it from standard input, out of sight of the process list
    #[arg(long)]
    email: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Find {
    /// Company (tenant) id
    #[arg(long, value_parser = company)]
    company: CompanyId,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Company (tenant) id
    #[arg(long, value_parser = company)]
    company: CompanyId,
    /// Contact id; one that was merged away finds the contact that it became
    id: Uuid,
    #[command(flatten)]
    output: Output,
}

fn company(text: &str) -> Result<CompanyId, String> {
    CompanyId::new(text).map_err(|error| error.to_string())
}

pub(super) async fn run(command: Command, settings: &Settings) -> anyhow::Result<Exit> {
    let database = super::database(settings).await?;
    match command {
        Command::Find(args) => find(&database, args, settings).await,
        Command::Show(args) => show(&database, &args).await,
        Command::History(args) => history(&database, &args).await,
        Command::Unmerge(args) => unmerge::run(&database, &args, settings).await,
        Command::Erase(args) => erase::run(&database, &args, settings).await,
    }
}

async fn find(database: &Database, args: Find, settings: &Settings) -> anyhow::Result<Exit> {
    let phone = typed(args.keys.phone)?;
    let email = typed(args.keys.email)?;
    let region = settings.contacts.regions().of(&args.company);
    let found = contacts::find(database, region, &args.company, phone.as_deref(), email.as_deref()).await;
    let found = found.map_err(|error| match error {
        contacts::FindError::Database(error) => {
            anyhow::Error::new(error).context("could not read the contacts")
        }
        other => Usage(other.to_string()).into(),
    })?;
    if found.is_empty() {
        anyhow::bail!("there is no such contact");
    }
    let rows: Vec<Value> = found.iter().map(as_json).collect();
    output::listing(
        args.output.format,
        ["id", "version", "name", "phone", "email", "updated"],
        &rows,
        |row| {
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let version = row.get("version").map(ToString::to_string).unwrap_or_default();
            [text("id"), version, text("name"), text("phone"), text("email"), text("updatedAt")]
        },
    )?;
    Ok(Exit::Done)
}

/// The option's value, or a line of standard input where it is `-`.
fn typed(value: Option<String>) -> anyhow::Result<Option<String>> {
    if value.as_deref() != Some("-") {
        return Ok(value);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}

async fn show(database: &Database, args: &One) -> anyhow::Result<Exit> {
    let known = contacts::show(database, &args.company, ContactId(args.id)).await?;
    let known = known.ok_or_else(|| anyhow::anyhow!("there is no such contact"))?;
    let value = json!({
        "contact": as_json(&known.contact),
        "provenance": provenance(&known.contact),
        "identifiers": known.contact.keys.iter()
            .map(|key| json!({ "kind": key.kind(), "value": key.value() })).collect::<Vec<_>>(),
        "mergedContactIds": known.aliases.iter().map(|alias| alias.id).collect::<Vec<_>>(),
    });
    output::object(args.output.format, &value, |_| as_text(&known))?;
    Ok(Exit::Done)
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

fn provenance(contact: &Contact) -> Value {
    let entries = contact.values.iter().map(|(field, value)| {
        let stamp = &value.stamp;
        let event = json!({
            "time": stamp.time.format(&Rfc3339).unwrap_or_default(),
            "eventId": stamp.event.id(),
            "eventSource": stamp.event.source(),
            "step": stamp.step,
        });
        (field.name().to_owned(), event)
    });
    Value::Object(entries.collect())
}

fn shown(contact: &Contact, field: Field) -> String {
    match (field, contact.values.get(field)) {
        (_, None) => String::new(),
        (Field::Identity, Some(stamped)) => masked(&stamped.value),
        (_, Some(stamped)) => stamped.value.clone(),
    }
}

fn as_text(known: &Known) -> String {
    let contact = &known.contact;
    let fields = output::table(
        ["field", "value", "event time", "event", "source", "step"],
        contact.values.iter().map(|(field, value)| {
            let stamp = &value.stamp;
            [
                field.name().to_owned(),
                shown(contact, field),
                moment(stamp.time),
                stamp.event.id().to_owned(),
                stamp.event.source().to_owned(),
                stamp.step.to_string(),
            ]
        }),
    );
    let keys = output::table(
        ["key", "value"],
        known.contact.keys.iter().map(|key| [key.kind().to_owned(), key.value().to_owned()]),
    );
    let mut text = format!(
        "contact {} of company {}, version {}\ncreated {}, updated {}\n\n{fields}\n\n{keys}",
        contact.id,
        output::printable(contact.company.as_str()),
        contact.version,
        moment(contact.created_at),
        moment(contact.updated_at),
    );
    if !known.aliases.is_empty() {
        let merged = known.aliases.iter().map(|alias| [alias.id.to_string(), moment(alias.merged_at)]);
        text.push_str("\n\n");
        text.push_str(&output::table(["merged contact", "at"], merged));
    }
    text
}

async fn history(database: &Database, args: &One) -> anyhow::Result<Exit> {
    let entries = contacts::history(database, &args.company, ContactId(args.id)).await?;
    let entries = entries.ok_or_else(|| anyhow::anyhow!("there is no such contact"))?;
    let rows: Vec<Value> = entries.iter().map(history_json).collect();
    let columns = [
        "time",
        "trigger",
        "event",
        "step",
        "operation",
        "version",
        "accepted",
        "superseded",
        "rejected",
        "merged",
    ];
    output::listing(args.output.format, columns, &rows, |row| {
        [
            "time",
            "trigger",
            "eventId",
            "step",
            "operation",
            "version",
            "accepted",
            "superseded",
            "rejected",
            "mergedContactIds",
        ]
        .map(|name| cell(row.get(name)))
    })?;
    Ok(Exit::Done)
}

fn history_json(entry: &HistoryEntry) -> Value {
    let row = &entry.row;
    json!({
        "time": moment(row.event_time),
        "appliedAt": moment(row.applied_at),
        "trigger": row.trigger,
        "eventId": row.event_id,
        "eventSource": row.source,
        "step": row.step,
        "contactId": row.contact_id,
        "operation": row.operation,
        "version": row.version,
        "accepted": row.accepted,
        "superseded": entry.superseded,
        "rejected": row.rejected.clone().unwrap_or_else(|| json!([])),
        "mergedContactIds": row.merged,
    })
}

/// A value as a table's cell; of an object its texts.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(Value::Object(members)) => {
            members.values().map(|member| cell(Some(member))).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    }
}
