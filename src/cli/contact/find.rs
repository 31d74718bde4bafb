//! `contact find`.

use anyhow::Context as _;
use serde_json::Value;
use uuid::Uuid;

use super::super::{
    exit::{Exit, Usage},
    output::{self, Output},
};
use crate::{
    domain::{
        contact::{Contact, ContactId},
        event::CompanyId,
    },
    operator::{
        contacts::{
            self,
            names::{self, BadName, Given, NameSearch},
        },
        paging::MAX_PAGE,
        views::{Sight, contacts::contact},
    },
    postgres::Database,
    settings::Settings,
};

#[derive(Debug, clap::Args)]
#[group(id = "identifier", required = true, multiple = true)]
struct Identifiers {
    /// Phone number; - reads it from standard input, which keeps it out of the process list
    #[arg(long)]
    phone: Option<String>,
    /// Email address; - reads it from standard input, which keeps it out of the process list
    #[arg(long)]
    email: Option<String>,
    /// Beginning of the name, with or without accents; - reads it from standard input, which keeps it out of the process list
    #[arg(long, conflicts_with_all = ["phone", "email"])]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Company (tenant) id
    #[arg(long, value_parser = super::company)]
    company: CompanyId,
    #[command(flatten)]
    identifiers: Identifiers,
    /// At most N contacts with this name, the newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Continue a search by name after the contact with this id
    #[arg(long, value_name = "ID", conflicts_with_all = ["phone", "email"])]
    after: Option<Uuid>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: Args, settings: &Settings) -> anyhow::Result<Exit> {
    let (found, next) = match &args.identifiers.name {
        Some(name) => by_name(database, &args, &given_or_read(name)?).await?,
        None => (by_key(database, &args, settings).await?, None),
    };
    if found.is_empty() {
        anyhow::bail!("there is no such contact");
    }
    let rows: Vec<Value> = found.iter().map(|one| contact(one, Sight::Full)).collect();
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
    if let Some(next) = next {
        let limit = args.limit;
        output::note(format_args!(
            "there are more than these {limit}; raise --limit, or continue with --after {next}"
        ));
    }
    Ok(Exit::Done)
}

async fn by_key(database: &Database, args: &Args, settings: &Settings) -> anyhow::Result<Vec<Contact>> {
    let read = |text: &Option<String>| text.as_deref().map(given_or_read).transpose();
    let (phone, email) = (read(&args.identifiers.phone)?, read(&args.identifiers.email)?);
    let rules = settings.rules();
    let found = contacts::find(database, &rules, &args.company, phone.as_deref(), email.as_deref()).await;
    found.map_err(|error| match error {
        contacts::FindError::Database(error) => {
            anyhow::Error::new(error).context("could not read the contacts")
        }
        other => Usage(other.to_string()).into(),
    })
}

/// As many searches as it takes: each reads a limited number of contacts.
async fn by_name(
    database: &Database,
    args: &Args,
    name: &str,
) -> anyhow::Result<(Vec<Contact>, Option<ContactId>)> {
    let name: NameSearch = name.parse().map_err(|error: BadName| Usage(error.to_string()))?;
    let (mut found, mut before) = (Vec::new(), args.after.map(ContactId));
    loop {
        let left = args.limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        let search =
            names::search(database, &args.company, &name, Given::Beginning, before, left.min(MAX_PAGE));
        let (more, next) = search.await.context("could not read the contacts")?;
        found.extend(more);
        if next.is_none() || u32::try_from(found.len()).is_ok_and(|count| count >= args.limit) {
            return Ok((found, next));
        }
        before = next;
    }
}

/// The option's value, or a line of standard input when it is `-`.
fn given_or_read(value: &str) -> anyhow::Result<String> {
    if value != "-" {
        return Ok(value.to_owned());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_start_matches('\u{feff}').trim().to_owned())
}
