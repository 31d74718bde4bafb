//! `delivery resend`: select, show what is meant, ask, do it with progress, say what was done.

use serde_json::{Map, Value, json};

use super::{
    super::{
        confirm::Many,
        exit::Exit,
        output::{self, Format, Output},
        progress,
    },
    print,
    select::Selection,
};
use crate::{
    operator::{
        deliveries::{self, DeliveryKey, Resent},
        wake_up::{WakeUp, WakeUpError},
    },
    postgres::Database,
    settings::Settings,
    telemetry,
};

pub(super) const HELP: &str = "\
What was delivered, is dead, discarded or superseded becomes pending again with a whole schedule ahead; its dead
letter is replaying until it is delivered. What is pending becomes due at once, unless it is in flight. Receivers
tell by webhook-id that they have had it. Where only the newest version of a contact may be sent, a superseded one
is closed again by the worker. Exits 3 when some could not be resent.

Examples:
  contact-relay delivery resend 4e4f86f0-3309
  contact-relay delivery resend --state dead --endpoint https://hooks.example/sales --since 2d --dry-run";

/// How many a dry run shows.
const SAMPLE: usize = 10;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resend {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    many: Many,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(database: &Database, args: &Resend, settings: &Settings) -> anyhow::Result<Exit> {
    args.selection.check()?;
    args.many.askable("resend")?;
    let keys = args.selection.keys(database).await?;
    if args.many.dry_run {
        return plan(database, args, &keys).await;
    }
    if !keys.is_empty() {
        args.many.ask(&format!("resend {} deliveries?", keys.len()))?;
    }
    let mut wake_up = if keys.is_empty() { None } else { connect(settings).await };
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "resending"), Resent::default());
    let ended = deliveries::resend(database, wake_up.as_mut(), &keys, args.many.rate, |progress| {
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

/// Wakes the worker once, as well as it can be.
pub(in crate::cli) async fn wake(settings: &Settings) {
    if let Some(mut worker) = connect(settings).await
        && let Err(error) = worker.send().await
    {
        not_woken(&error, settings);
    }
}

/// A connection to wake the worker by; without one it finds by itself what is due.
async fn connect(settings: &Settings) -> Option<WakeUp> {
    WakeUp::connect(&settings.amqp).await.inspect_err(|error| not_woken(error, settings)).ok()
}

/// Tells that the worker was not woken, and what that costs.
fn not_woken(error: &WakeUpError, settings: &Settings) {
    let (error, wait) = (telemetry::chain(error), settings.webhook.poll_interval.as_secs_f64());
    output::note(format_args!("the worker is not woken and looks within {wait} s by itself: {error}"));
}

async fn plan(database: &Database, args: &Resend, keys: &[DeliveryKey]) -> anyhow::Result<Exit> {
    let sample = deliveries::summaries(database, keys.get(..SAMPLE).unwrap_or(keys)).await?;
    if args.output.format == Format::Table {
        print(args.output, &sample)?;
        output::line(format_args!("would resend {} deliveries; nothing was changed", keys.len()))?;
    } else {
        let value = json!({ "count": keys.len(), "sample": sample });
        output::object(args.output.format, &value, |_| String::new())?;
    }
    Ok(Exit::Done)
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
            "{} had been superseded; the worker closes those again whose contact has gone out in a newer version",
            reached.superseded
        ));
    }
    Ok(())
}

fn exit(reached: &Resent) -> Exit {
    if reached.skipped() == 0 { Exit::Done } else { Exit::Partly }
}
