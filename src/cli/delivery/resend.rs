//! `delivery resend`: makes deliveries due again and wakes the worker.

use serde_json::{Map, Value, json};

use super::{
    super::{
        bulk::Bulk,
        exit::Exit,
        output::{self, Output},
        progress,
    },
    select::Filters,
};
use crate::{
    operator::{
        deliveries::{self, Resent},
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
the worker closes a superseded delivery again. Exits 3 when some could not be resent.

Examples:
  contact-relay delivery resend 4e4f86f0-3309
  contact-relay delivery resend --state dead --endpoint https://hooks.example/sales --since 2d --dry-run";

pub(super) async fn run(
    database: &Database,
    args: &Bulk<Filters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    let Some(keys) = args.confirmed(database, "resend").await? else { return Ok(Exit::Done) };
    let mut wake_up = if keys.is_empty() { None } else { connect(settings).await };
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "resending"), Resent::default());
    let ended = deliveries::resend(database, &actor, wake_up.as_mut(), &keys, args.rate, |progress| {
        reached.clone_from(progress);
        bar.set_position(progress.done + progress.skipped());
    })
    .await;
    bar.finish_and_clear();
    finish(args.output, &reached)?;
    if let (_, Err(error)) = ended? {
        not_woken(&error, settings);
    }
    Ok(exit(&reached))
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

fn finish(output: Output, reached: &Resent) -> anyhow::Result<()> {
    let reasons: Map<String, Value> =
        reached.refused.iter().map(|(refusal, count)| (refusal.name().to_owned(), (*count).into())).collect();
    let value = json!({ "resent": reached.done, "skipped": reached.skipped(), "reasons": reasons });
    output::report(output.format, &value, |_| {
        let reasons =
            reached.refused.iter().map(|(refusal, count)| format!("\n  {count} {}", refusal.text()));
        let reasons: String = reasons.collect();
        format!("resent {}, skipped {}{reasons}", reached.done, reached.skipped())
    })?;
    if reached.superseded > 0 {
        output::note(format_args!(
            "{} had been superseded; the worker closes those again whose contact was sent in a newer version",
            reached.superseded
        ));
    }
    Ok(())
}

fn exit(reached: &Resent) -> Exit {
    if reached.skipped() == 0 { Exit::Done } else { Exit::Partly }
}
