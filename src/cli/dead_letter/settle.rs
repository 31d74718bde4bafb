//! `replay` and `discard`: select, show what is meant, ask, do it with progress, say what was done.

use serde_json::json;

use super::{
    super::{
        confirm,
        exit::{Exit, Usage},
        output::{self, Format},
        progress,
    },
    Discard, Settle, print,
};
use crate::{
    amqp::{Publisher, Topology},
    domain::event::Key,
    operator::dead_letters::{self, Progress},
    postgres::{Database, dead_letters::Summary},
    settings::Settings,
};

/// How many a dry run shows.
const SAMPLE: usize = 10;

pub(super) async fn replay(database: &Database, args: &Settle, settings: &Settings) -> anyhow::Result<Exit> {
    let Some(keys) = prepare(database, args, "replay").await? else { return Ok(Exit::Done) };
    let mut publisher = Publisher::connect(&settings.amqp, "replay").await?;
    let topology = Topology::new(&settings.amqp.namespace);
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "replaying"), Progress::default());
    let ended =
        dead_letters::replay(database, &mut publisher, &topology, &keys, args.many.rate, |progress| {
            reached = progress;
            bar.set_position(progress.done + progress.skipped + progress.failed);
        })
        .await;
    bar.finish_and_clear();
    finish(args, "replayed", reached)?;
    ended?;
    Ok(exit(reached))
}

pub(super) async fn discard(database: &Database, args: &Discard) -> anyhow::Result<Exit> {
    let operator = operator(args)?;
    let args = &args.settle;
    let Some(keys) = prepare(database, args, "discard").await? else { return Ok(Exit::Done) };
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "discarding"), Progress::default());
    let ended = dead_letters::discard(database, &keys, &operator, args.many.rate, |progress| {
        reached = progress;
        bar.set_position(progress.done + progress.skipped);
    })
    .await;
    bar.finish_and_clear();
    finish(args, "discarded", reached)?;
    ended?;
    Ok(exit(reached))
}

/// Who discards; a dry run needs nobody.
fn operator(args: &Discard) -> Result<String, Usage> {
    match confirm::operator(args.operator.as_deref()) {
        Some(name) => Ok(name),
        None if args.settle.many.dry_run => Ok(String::new()),
        None => Err(Usage("--operator must say who discards".to_owned())),
    }
}

/// The keys to go on with; `None` when there is nothing (more) to do.
async fn prepare(database: &Database, args: &Settle, verb: &str) -> anyhow::Result<Option<Vec<Key>>> {
    args.selection.check()?;
    args.many.askable(verb)?;
    let keys = args.selection.keys(database).await?;
    if args.many.dry_run {
        let sample = sample(database, &keys).await?;
        if args.output.format == Format::Table {
            print(args.output, &sample)?;
            output::line(format_args!("would {verb} {} dead letters; nothing was changed", keys.len()))?;
        } else {
            output::object(args.output.format, &json!({ "count": keys.len(), "sample": sample }), |_| {
                String::new()
            })?;
        }
        return Ok(None);
    }
    if keys.is_empty() {
        finish(args, if verb == "replay" { "replayed" } else { "discarded" }, Progress::default())?;
        return Ok(None);
    }
    args.many.ask(&format!("{verb} {} dead letters?", keys.len()))?;
    Ok(Some(keys))
}

async fn sample(database: &Database, keys: &[Key]) -> anyhow::Result<Vec<Summary>> {
    let mut sample = Vec::new();
    for key in keys.iter().take(SAMPLE) {
        sample.extend(dead_letters::get(database, key).await?.map(|dead_letter| dead_letter.summary));
    }
    Ok(sample)
}

fn finish(args: &Settle, done: &str, reached: Progress) -> anyhow::Result<()> {
    let Progress { done: count, skipped, failed } = reached;
    output::report(args.output.format, &json!({ done: count, "skipped": skipped, "failed": failed }), |_| {
        format!("{done} {count}, skipped {skipped}, failed {failed}")
    })
}

fn exit(reached: Progress) -> Exit {
    match reached {
        Progress { skipped: 0, failed: 0, .. } => Exit::Done,
        Progress { done: 0, skipped: 0, .. } => Exit::Failed,
        Progress { .. } => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_shows_in_the_code() {
        for (done, skipped, failed, code) in [
            (0, 0, 0, Exit::Done),
            (2, 0, 0, Exit::Done),
            (2, 1, 0, Exit::Partly),
            (0, 1, 0, Exit::Partly),
            (2, 0, 1, Exit::Partly),
            (0, 0, 1, Exit::Failed),
        ] {
            assert_eq!(exit(Progress { done, skipped, failed }), code);
        }
    }
}
