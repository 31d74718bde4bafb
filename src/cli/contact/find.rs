//! `contact find`.

use serde_json::Value;

use super::super::{
    exit::{Exit, Usage},
    output::{self, Output},
};
use crate::{
    domain::event::CompanyId,
    operator::{
        contacts,
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
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Company (tenant) id
    #[arg(long, value_parser = super::company)]
    company: CompanyId,
    #[command(flatten)]
    identifiers: Identifiers,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: Args, settings: &Settings) -> anyhow::Result<Exit> {
    let phone = given_or_read(args.identifiers.phone)?;
    let email = given_or_read(args.identifiers.email)?;
    let rules = settings.rules();
    let found = contacts::find(database, &rules, &args.company, phone.as_deref(), email.as_deref()).await;
    let found = found.map_err(|error| match error {
        contacts::FindError::Database(error) => {
            anyhow::Error::new(error).context("could not read the contacts")
        }
        other => Usage(other.to_string()).into(),
    })?;
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
    Ok(Exit::Done)
}

/// The option's value, or a line of standard input when it is `-`.
fn given_or_read(value: Option<String>) -> anyhow::Result<Option<String>> {
    if value.as_deref() != Some("-") {
        return Ok(value);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(Some(line.trim_start_matches('\u{feff}').trim().to_owned()))
}
