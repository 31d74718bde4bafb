//! `contact erase`: shows what would be removed, asks, erases, and reports what was removed.

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{
    super::{
        confirm::{self, Decision},
        exit::Exit,
        output::{self, Output, moment, printable},
    },
    company,
};
use crate::{
    domain::{contact::ContactId, event::CompanyId},
    operator::erasure::{self, Report, Request},
    postgres::Database,
    settings::Settings,
};

pub(super) const HELP: &str = "\
Removes the person from contacts, ledger, webhook deliveries, unpublished messages and dead letters, and
publishes contact.erased. It cannot be undone. Erase again to continue an interrupted erasure.

Example: contact-relay contact erase --company acme 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11 --operator ada";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Erase {
    /// Company (tenant) id
    #[arg(long, value_parser = company)]
    company: CompanyId,
    /// Contact id; the id of a merged contact erases the contact it was merged into
    id: Uuid,
    #[command(flatten)]
    decision: Decision,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Erase, settings: &Settings) -> anyhow::Result<Exit> {
    let actor = args.decision.actor()?;
    let request = Request {
        company: &args.company,
        id: ContactId(args.id),
        actor: &actor,
        region: settings.contacts.regions().of(&args.company),
        pepper: settings.contacts.suppression_pepper.expose_secret(),
        source: &settings.events.source,
        dry_run: args.decision.dry_run,
    };
    if args.decision.asks() {
        let planned = erasure::erase(database, &Request { dry_run: true, ..request }).await?;
        if planned.already_erased {
            return print(args, &planned);
        }
        output::note(as_text(&planned));
        confirm::ask("erase this person permanently?")?;
    }
    let report = erasure::erase(database, &request).await?;
    print(args, &report)
}

fn print(args: &Erase, report: &Report) -> anyhow::Result<Exit> {
    output::report(args.output.format, report, as_text)?;
    Ok(Exit::Done)
}

fn as_text(report: &Report) -> String {
    let company = printable(&report.company_id);
    let (id, at) = (report.contact_id, moment(report.erased_at));
    if report.already_erased {
        return format!("contact {id} of company {company} was already erased at {at}; nothing was changed");
    }
    let removed = &report.removed;
    if report.dry_run && removed.contacts == 0 {
        return format!(
            "would finish the erasure of contact {id} of company {company}, which began at {at}; nothing was changed"
        );
    }
    let rows = [
        ("contacts", removed.contacts),
        ("identifiers", removed.identifiers),
        ("merged ids", removed.aliases),
        ("ledger events", removed.ledger_events),
        ("webhook deliveries", removed.deliveries),
        ("webhook attempts", removed.attempts),
        ("unpublished messages", removed.outbox_messages),
        ("dead letters", removed.dead_letters),
        ("suppressed keys", removed.suppressed_keys),
    ];
    let table = output::table(
        ["place", "removed"],
        rows.into_iter().map(|(place, count)| [place.to_owned(), count.to_string()]),
    );
    let what = if report.dry_run {
        format!("would erase contact {id} of company {company}; nothing was changed")
    } else {
        format!("erased contact {id} of company {company} at {at}")
    };
    format!("{what}\n\n{table}")
}
