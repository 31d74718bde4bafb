//! `delivery resend`: makes deliveries due again and wakes the worker.

use super::{
    super::{
        bulk::{Bulk, operate::Verb},
        exit::Exit,
    },
    select::Filters,
};
use crate::{operator::operations::Action, postgres::Database, settings::Settings};

pub(super) const HELP: &str = "\
A delivered, dead, discarded or superseded delivery becomes pending again and starts its retry schedule over; its
dead letter is replaying until it is delivered. A pending delivery becomes due at once, unless it is in flight.
Receivers recognize a repeated delivery by its webhook-id. If an endpoint accepts only the newest version of a contact,
the worker closes a superseded delivery again. A resend is an operation: if it is interrupted, a running service goes on with
it, and `operation` lists, pauses, resumes and cancels it. Exits 3 when some could not be resent.

Examples:
  contact-relay delivery resend 4e4f86f0-3309
  contact-relay delivery resend --state dead --endpoint https://hooks.example/sales --since 2d --dry-run
  contact-relay delivery resend --state discarded --company acme";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resend {
    #[command(flatten)]
    bulk: Bulk<Filters>,
    /// Resend 1, then 10, then 100 before all others, and pause if most of them fail again
    #[arg(long)]
    canary: bool,
}

pub(super) async fn run(database: &Database, args: &Resend, settings: &Settings) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::Resend, name: "resend", past: "resent" };
    args.bulk.operate(database, settings, verb, args.canary).await
}
