//! `dead-letter edit`: checks an edited event, shows what differs, asks, and sends it.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::super::{
    confirm::{self, Decision},
    exit::{Exit, Usage},
    input,
    output::{self, Output, printable},
};
use crate::{
    operator::dead_letters::{
        self,
        edit::{self, Draft, EditError},
    },
    postgres::Database,
    settings::Settings,
};

pub(super) const HELP: &str = "\
The edited event is checked as worker 1 checks every event. It gets an id of its own, keeps the source and the company,
and takes the place of the original, which is resolved. Nothing is sent if it would fail again. Exits 3 when it was stored
but not published: replay it then.

Examples:
  contact-relay dead-letter show 01a204b6-1111 -o json | jq -r .body > event.json
  contact-relay dead-letter edit 01a204b6-1111 --body event.json --because 'phone had a typo'";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Edit {
    /// Dead letter id, or its first 8 or more digits
    id: String,
    /// The whole edited event as JSON; `-` is standard input
    #[arg(long, value_name = "FILE|-")]
    body: PathBuf,
    /// Company (tenant) id of the event; needed only if that of the dead letter could not be read
    #[arg(long)]
    company: Option<String>,
    #[command(flatten)]
    decision: Decision,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Edit, settings: &Settings) -> anyhow::Result<Exit> {
    let actor = args.decision.actor()?;
    let key = dead_letters::resolve(database, &args.id).await?;
    let body = input::read(&args.body).with_context(|| format!("could not read {}", args.body.display()))?;
    let edit = edit::Edit { key: &key, body: body.as_bytes(), company: args.company.as_deref() };
    let draft = edit::draft(database, settings, &edit).await.map_err(refused)?;
    if args.decision.dry_run {
        output::object(args.output.format, &as_json(&draft), |_| as_text(&draft))?;
        return Ok(Exit::Done);
    }
    if args.decision.asks() && !input::is_standard_input(&args.body) {
        output::note(as_text(&draft));
        confirm::ask("send this event?")?;
    }
    let edited = edit::edit(database, settings, &actor, &edit).await.map_err(refused)?;
    let value = json!({
        "id": edited.key.id, "company": edited.key.company, "eventId": edited.event_id, "editedFrom": key.id,
        "sent": edited.is_sent,
    });
    output::report(args.output.format, &value, |_| {
        let id = edited.key.id;
        if edited.is_sent {
            format!(
                "sent as event {}; its dead letter is {id} until it is applied",
                printable(&edited.event_id)
            )
        } else {
            format!("stored as dead letter {id}, but could not publish it; replay that")
        }
    })?;
    Ok(if edited.is_sent { Exit::Done } else { Exit::Partly })
}

/// An edit that lacks an option is a mistake on the command line.
fn refused(error: EditError) -> anyhow::Error {
    match error {
        EditError::CompanyNeeded => Usage(format!("{error}: --company")).into(),
        error => anyhow::Error::new(error).context("nothing was changed"),
    }
}

fn as_json(draft: &Draft) -> Value {
    json!({
        "company": draft.company, "eventId": draft.event_id, "source": draft.source, "difference": draft.difference,
        "dryRun": true,
    })
}

/// One line for each member that differs.
fn as_text(draft: &Draft) -> String {
    let changes = draft.difference.as_array().into_iter().flatten();
    let lines = changes.map(|change| {
        let side = |name| change.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
        let path = change.get("path").and_then(Value::as_str).unwrap_or_default();
        printable(&format!("{path}: {} -> {}", side("before"), side("after")))
    });
    lines.collect::<Vec<_>>().join("\n")
}
