//! `contact unmerge`: splits a merged contact into two people again.

use anyhow::Context as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        confirm::{self, Decision},
        exit::Exit,
        output::{self, Output},
    },
    company,
};
use crate::{
    domain::{contact::ContactId, event::CompanyId},
    operator::{
        unmerge::{self, Unmerged},
        views::{Sight, contacts::contact},
    },
    postgres::Database,
    settings::Settings,
};

pub(super) const HELP: &str = "\
Rebuilds both contacts from their events, as if they had never been merged, and publishes contact.unmerged. No
event merges them again: an event that names both updates the phone's contact, and its email is reported as rejected.

Example: contact-relay contact unmerge --company acme 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unmerge {
    /// Company (tenant) id
    #[arg(long, value_parser = company)]
    company: CompanyId,
    /// Id of the contact that was merged away; the surviving contact's id works if only one was merged into it
    id: Uuid,
    #[command(flatten)]
    decision: Decision,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Unmerge, settings: &Settings) -> anyhow::Result<Exit> {
    let actor = args.decision.actor()?;
    let id = ContactId(args.id);
    let unmerge = async |dry_run| {
        let done = unmerge::unmerge(database, &settings.events, &args.company, id, &actor, dry_run).await;
        done.context("nothing was changed")
    };
    if args.decision.asks() {
        let planned = unmerge(true).await?;
        output::note(as_text(&planned, true));
        confirm::ask("unmerge these contacts?")?;
    }
    let done = unmerge(args.decision.dry_run).await?;
    let value = json!({
        "contactId": done.contact.to_string(),
        "restoredContactId": done.restored.to_string(),
        "contacts": done.contacts.iter().map(|one| contact(one, Sight::Full)).collect::<Vec<Value>>(),
        "events": done.events,
        "movedEvents": done.moved_events,
        "dryRun": args.decision.dry_run,
    });
    output::report(args.output.format, &value, |_| as_text(&done, args.decision.dry_run))?;
    Ok(Exit::Done)
}

fn as_text(done: &Unmerged, planned: bool) -> String {
    let verb = if planned { "would unmerge" } else { "unmerged" };
    let rows = done.contacts.iter().map(|contact| {
        let keys = |kind: &str| {
            let keys = contact.keys.iter().filter(|key| key.kind() == kind);
            keys.map(|key| key.value().to_owned()).collect::<Vec<_>>().join(", ")
        };
        [contact.id.to_string(), contact.version.to_string(), keys("phone"), keys("email")]
    });
    format!(
        "{verb} {} from {}; {} of {} events moved\n\n{}",
        done.restored,
        done.contact,
        done.moved_events,
        done.events,
        output::table(["contact", "version", "phones", "emails"], rows)
    )
}
