//! `dead-letter groups` and `note`.

use serde_json::json;

use super::{
    super::{
        confirm::Who,
        exit::{Exit, Usage},
        output::{self, Output, moment},
    },
    Paging, pages,
    select::Filters,
};
use crate::{
    domain::fault::Signature,
    operator::dead_letters::{self, NoteError},
    postgres::Database,
};

/// Rows of a listing without `--limit`.
const DEFAULT_LIMIT: u32 = 100;

pub(super) const NOTE_HELP: &str = "\
The signature is that of `dead-letter groups`. The note stays when the dead letters are gone, because the failure may
come back. It is not searched when a person is erased: name nobody in it.

Examples:
  contact-relay dead-letter note 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2 'receiver moved; replay after the trigger is changed'
  contact-relay dead-letter note 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2 --remove";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Groups {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Note {
    /// The group's signature
    signature: Signature,
    /// The note; replaces the previous one
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    text: Option<String>,
    /// Remove the note
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Groups) -> anyhow::Result<Exit> {
    if let Some(refused) = args.filters.refused_by_groups() {
        return Err(
            Usage(format!("groups count all open and replaying dead letters; leave out {refused}")).into()
        );
    }
    let filter = args.filters.filter()?;
    let limit = args.filters.limit.unwrap_or(DEFAULT_LIMIT);
    let fetch = async |after, limit| Ok(dead_letters::groups(database, &filter, after, limit).await?);
    let page = pages(limit, args.paging.after, fetch).await?;
    let columns =
        ["signature", "count", "reason", "stage", "trigger", "first seen", "last seen", "message", "note"];
    output::listing(args.output.format, columns, &page.items, |row| {
        [
            row.signature.to_string(),
            row.count.to_string(),
            row.reason.clone(),
            row.stage.clone(),
            row.trigger.clone().unwrap_or_default(),
            moment(row.first_seen_at),
            moment(row.last_seen_at),
            row.message.clone(),
            row.note.as_ref().map(|note| note.text.clone()).unwrap_or_default(),
        ]
    })?;
    output::more(limit, &page);
    Ok(Exit::Done)
}

pub(super) async fn note(database: &Database, args: &Note) -> anyhow::Result<Exit> {
    let actor = args.who.actor()?;
    match dead_letters::write_note(database, &actor, args.signature, args.text.as_deref()).await {
        Err(error @ NoteError::Malformed) => return Err(Usage(error.to_string()).into()),
        written => written?,
    }
    let value = json!({ "signature": args.signature, "note": args.text });
    output::report(args.output.format, &value, |_| {
        let done = if args.remove { "removed the note on" } else { "wrote the note on" };
        format!("{done} {}", args.signature)
    })?;
    Ok(Exit::Done)
}
