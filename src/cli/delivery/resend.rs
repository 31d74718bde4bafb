//! `delivery resend`: makes deliveries due again and wakes the worker.

use super::{
    super::{
        bulk::{Bulk, operate::Verb},
        exit::Exit,
        output,
    },
    select::Filters,
};
use crate::{
    operator::{
        operations::Action,
        wake_up::{WakeUp, WakeUpError},
    },
    postgres::Database,
    settings::Settings,
    telemetry,
};

pub(super) const HELP: &str = "\
A delivered, dead, discarded or superseded delivery becomes pending again and starts its retry schedule over; its
dead letter is replaying until it is delivered. A pending delivery becomes due at once, unless it is in flight.
Receivers recognize a repeated delivery by its webhook-id. If an endpoint accepts only the newest version of a contact,
the worker closes a superseded delivery again. A resend is an operation: if it is interrupted, a running service goes on with
it, and `operation` lists, pauses, resumes and cancels it. Exits 3 when some could not be resent.

Examples:
  contact-relay delivery resend 4e4f86f0-3309
  contact-relay delivery resend --state dead --endpoint https://hooks.example/sales --since 2d --dry-run";

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
    let (exit, operation) = args.bulk.operate(database, settings, verb, args.canary).await?;
    if operation.is_some_and(|operation| operation.done > 0) {
        wake(settings).await;
    }
    Ok(exit)
}

/// Wakes the worker once, or notes why that failed.
pub(in crate::cli) async fn wake(settings: &Settings) {
    if let Some(mut worker) = connect(settings).await
        && let Err(error) = worker.send().await
    {
        not_woken(&error, settings);
    }
}

/// A connection to wake the worker with. Without one, the worker finds due deliveries at its next poll.
async fn connect(settings: &Settings) -> Option<WakeUp> {
    WakeUp::connect(&settings.amqp).await.inspect_err(|error| not_woken(error, settings)).ok()
}

fn not_woken(error: &WakeUpError, settings: &Settings) {
    let (error, wait) = (telemetry::chain(error), settings.webhook.poll_interval.as_secs_f64());
    output::note(format_args!("could not wake the worker, which polls every {wait} s: {error}"));
}
