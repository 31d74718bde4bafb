//! `dead-letter replay`, `discard` and `restore`, with a progress bar and a summary.

use serde_json::json;

use super::{
    super::{bulk::Bulk, exit::Exit, output, progress},
    select::DeadLetters,
};
use crate::{
    amqp::{Publisher, Topology},
    operator::dead_letters::{self, Progress, State},
    postgres::Database,
    settings::Settings,
};

pub(super) async fn replay(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    let Some(keys) = args.confirmed(database, "replay").await? else { return Ok(Exit::Done) };
    if keys.is_empty() {
        return finish(args, "replayed", &Progress::default());
    }
    let mut publisher = Publisher::connect(&settings.amqp, "replay").await?;
    let topology = Topology::new(&settings.amqp.namespace);
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "replaying"), Progress::default());
    let progress = |progress: &Progress| {
        reached.clone_from(progress);
        bar.set_position(progress.done + progress.skipped + progress.failed);
    };
    let ended =
        dead_letters::replay(database, &actor, &mut publisher, &topology, &keys, args.rate, progress).await;
    bar.finish_and_clear();
    let exit = finish(args, "replayed", &reached)?;
    ended?;
    Ok(exit)
}

pub(super) async fn discard(database: &Database, args: &Bulk<DeadLetters>) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    let Some(keys) = args.confirmed(database, "discard").await? else { return Ok(Exit::Done) };
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "discarding"), Progress::default());
    let ended = dead_letters::discard(database, &actor, &keys, args.rate, |progress| {
        reached.clone_from(progress);
        bar.set_position(progress.done + progress.skipped);
    })
    .await;
    bar.finish_and_clear();
    let exit = finish(args, "discarded", &reached)?;
    ended?;
    Ok(exit)
}

pub(super) async fn restore(database: &Database, args: &Bulk<DeadLetters>) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    let Some(keys) = args.selecting(State::Discarded).confirmed(database, "restore").await? else {
        return Ok(Exit::Done);
    };
    let (bar, mut reached) = (progress::bar(Some(keys.len() as u64), "restoring"), Progress::default());
    let ended = dead_letters::restore(database, &actor, &keys, args.rate, |progress| {
        reached.clone_from(progress);
        bar.set_position(progress.done + progress.skipped);
    })
    .await;
    bar.finish_and_clear();
    let exit = finish(args, "restored", &reached)?;
    ended?;
    Ok(exit)
}

fn finish(args: &Bulk<DeadLetters>, done: &str, reached: &Progress) -> anyhow::Result<Exit> {
    let Progress { done: count, skipped, failed, .. } = reached;
    let value = json!({ done: count, "skipped": skipped, "failed": failed });
    output::report(args.output.format, &value, |_| {
        format!("{done} {count}, skipped {skipped}, failed {failed}")
    })?;
    Ok(exit(reached))
}

fn exit(reached: &Progress) -> Exit {
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
    fn exit_code_says_whether_all_were_settled() {
        for (done, skipped, failed, code) in [
            (0, 0, 0, Exit::Done),
            (2, 0, 0, Exit::Done),
            (2, 1, 0, Exit::Partly),
            (0, 1, 0, Exit::Partly),
            (2, 0, 1, Exit::Partly),
            (0, 0, 1, Exit::Failed),
        ] {
            assert_eq!(exit(&Progress { done, skipped, failed, left: Vec::new() }), code);
        }
    }
}
