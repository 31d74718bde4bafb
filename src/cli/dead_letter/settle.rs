//! `dead-letter replay` and `discard`, with a progress bar and a summary.

use serde_json::json;

use super::{
    super::{bulk::Bulk, exit::Exit, operation, output},
    Replay,
    select::DeadLetters,
};
use crate::{
    operator::{
        dead_letters::Progress,
        operations::{self, Action, Options, Selection, State},
    },
    postgres::Database,
    settings::Settings,
};

pub(super) async fn replay(database: &Database, args: &Replay, settings: &Settings) -> anyhow::Result<Exit> {
    let Replay { bulk, canary } = args;
    let options = Options { rate: bulk.rate, canary: *canary };
    settle(database, bulk, settings, (Action::Replay, "replay", "replayed"), options).await
}

pub(super) async fn discard(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let options = Options { rate: args.rate, canary: false };
    settle(database, args, settings, (Action::Discard, "discard", "discarded"), options).await
}

/// Plans an operation on the selected dead letters and works on it. If this process dies, a running service goes on.
async fn settle(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
    (action, verb, done): (Action, &str, &str),
    options: Options,
) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    let Some(keys) = args.confirmed(database, verb).await? else { return Ok(Exit::Done) };
    if keys.is_empty() {
        return finish(args, done, Progress::default());
    }
    let shown = args.shown();
    let planned = operations::plan(database, &actor, action, &Selection::Keys(keys), &shown, options).await?;
    let running = operations::run(database, &actor, planned.id).await?;
    let worked = operation::work(database, settings, &running, done).await;
    let operation = operations::get(database, running.id).await?.unwrap_or(running);
    let count = |count| u64::try_from(count).unwrap_or_default();
    let reached = Progress {
        done: count(operation.done),
        skipped: count(operation.skipped),
        failed: count(operation.failed),
    };
    finish(args, done, reached)?;
    if operation.state != State::Done.name() {
        output::note(format_args!(
            "operation {id} is {state}; see `operation show {id}`{because}",
            id = operation.id,
            state = operation.state,
            because = operation.paused_because.as_ref().map(|why| format!(": {why}")).unwrap_or_default(),
        ));
    }
    worked?;
    Ok(operation::exit(&operation))
}

fn finish(args: &Bulk<DeadLetters>, done: &str, reached: Progress) -> anyhow::Result<Exit> {
    let Progress { done: count, skipped, failed } = reached;
    let value = json!({ done: count, "skipped": skipped, "failed": failed });
    output::report(args.output.format, &value, |_| {
        format!("{done} {count}, skipped {skipped}, failed {failed}")
    })?;
    Ok(Exit::Done)
}
