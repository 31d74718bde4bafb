//! `dead-letter replay`, `discard` and `restore`: each is an operation, with a progress bar and a summary.

use serde_json::json;

use super::{
    super::{bulk::Bulk, exit::Exit, operation, output},
    Replay,
    select::DeadLetters,
};
use crate::{
    operator::{
        dead_letters,
        operations::{self, Action, Options, Selection, State},
    },
    postgres::Database,
    settings::Settings,
};

/// The command, and what it has done to each dead letter.
struct Verb {
    action: Action,
    name: &'static str,
    past: &'static str,
}

pub(super) async fn replay(database: &Database, args: &Replay, settings: &Settings) -> anyhow::Result<Exit> {
    let Replay { bulk, canary } = args;
    let options = Options { rate: bulk.rate, canary: *canary };
    let verb = Verb { action: Action::Replay, name: "replay", past: "replayed" };
    settle(database, bulk, settings, &verb, options).await
}

pub(super) async fn discard(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::Discard, name: "discard", past: "discarded" };
    settle(database, args, settings, &verb, Options { rate: args.rate, canary: false }).await
}

pub(super) async fn restore(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::Restore, name: "restore", past: "restored" };
    let args = args.selecting(dead_letters::State::Discarded);
    settle(database, &args, settings, &verb, Options { rate: args.rate, canary: false }).await
}

/// Plans an operation on the selected dead letters and works on it. If this process dies, a running service goes on.
async fn settle(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
    verb: &Verb,
    options: Options,
) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    let Some(keys) = args.confirmed(database, verb.name).await? else { return Ok(Exit::Done) };
    if keys.is_empty() {
        report(args, verb, [0; 3])?;
        return Ok(Exit::Done);
    }
    let mut executor = operation::executor(database, settings);
    if verb.action == Action::Replay {
        // Without a broker nothing is planned.
        executor.connect().await?;
    }
    let (selection, shown) = (Selection::Keys(keys), args.shown());
    let planned = operations::plan(database, &actor, verb.action, &selection, &shown, options).await?;
    let running = operations::run(database, &actor, planned.id).await?;
    let worked = operation::work(database, executor, &running, verb.name).await;
    let operation = operations::get(database, running.id).await?.unwrap_or(running);
    report(args, verb, [operation.done, operation.skipped, operation.failed])?;
    if operation.state != State::Done.name() {
        let because = operation.paused_because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        output::note(format_args!(
            "operation {id} is {state}{because}; see `operation show {id}`",
            id = operation.id,
            state = operation.state,
        ));
    }
    worked?;
    Ok(operation::exit(&operation))
}

fn report(args: &Bulk<DeadLetters>, verb: &Verb, [done, skipped, failed]: [i64; 3]) -> anyhow::Result<()> {
    let past = verb.past;
    let value = json!({ past: done, "skipped": skipped, "failed": failed });
    output::report(args.output.format, &value, |_| {
        format!("{past} {done}, skipped {skipped}, failed {failed}")
    })
}
