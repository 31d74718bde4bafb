//! `dead-letter replay`, `discard` and `restore`: each is an operation, with a progress bar and a summary.

use std::collections::VecDeque;

use serde_json::json;

use super::{
    super::{
        bulk::{Bulk, SAMPLE},
        exit::Exit,
        operation, output,
    },
    Replay,
    select::DeadLetters,
};
use crate::{
    operator::{
        dead_letters::{self, Filter, Summary},
        operations::{self, Action, Options, Selection, State},
        paging::MAX_PAGE,
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

/// Plans an operation on the selected dead letters, and works on it once the operator has confirmed its count. If this
/// process dies, a running service goes on.
async fn settle(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
    verb: &Verb,
    options: Options,
) -> anyhow::Result<Exit> {
    let actor = args.actor()?;
    args.check_before(verb.name)?;
    let selection = match args.by_ids(database).await? {
        Some(keys) => Selection::Keys(keys),
        None => Selection::Matching(Box::new(args.filters.filter()?)),
    };
    if args.dry_run {
        return dry_run(database, args, verb, &selection).await;
    }
    if is_empty(database, &selection).await? {
        report(args, verb, [0; 3])?;
        return Ok(Exit::Done);
    }
    let mut executor = operation::executor(database, settings);
    if verb.action == Action::Replay {
        // Without a broker nothing is planned.
        executor.connect().await?;
    }
    let planned = operations::plan(database, &actor, verb.action, &selection, &args.shown(), options).await?;
    if let Err(declined) = args.ask(verb.name, planned.total) {
        operations::cancel(database, &actor, planned.id).await?;
        return Err(declined);
    }
    let running = operations::run(database, &actor, planned.id, None).await?;
    let worked = operation::work(database, settings, executor, (&running, verb.name)).await;
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

async fn is_empty(database: &Database, selection: &Selection) -> anyhow::Result<bool> {
    match selection {
        Selection::Keys(keys) => Ok(keys.is_empty()),
        Selection::Matching(filter) => {
            Ok(dead_letters::list(database, filter, None, 1).await?.items.is_empty())
        }
    }
}

/// Counts what is selected, and shows the first ones.
async fn dry_run(
    database: &Database,
    args: &Bulk<DeadLetters>,
    verb: &Verb,
    selection: &Selection,
) -> anyhow::Result<Exit> {
    let (count, sample) = match selection {
        Selection::Keys(keys) => (keys.len(), args.sample(database, keys).await?),
        Selection::Matching(filter) => count(database, filter).await?,
    };
    args.print_plan(verb.name, i64::try_from(count).unwrap_or(i64::MAX), &sample)?;
    Ok(Exit::Done)
}

/// How many match, and the oldest of them, oldest first. Page by page, because there may be millions.
async fn count(database: &Database, filter: &Filter) -> anyhow::Result<(usize, Vec<Summary>)> {
    let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or_default());
    let (mut count, mut after, mut oldest) = (0, None, VecDeque::new());
    loop {
        let page = dead_letters::list(database, filter, after, MAX_PAGE).await?;
        for row in page.items.into_iter().take(limit - count) {
            count += 1;
            oldest.push_front(row);
            oldest.truncate(SAMPLE);
        }
        match page.next {
            Some(next) if count < limit => after = Some(next),
            _ => return Ok((count, oldest.into())),
        }
    }
}

fn report(args: &Bulk<DeadLetters>, verb: &Verb, [done, skipped, failed]: [i64; 3]) -> anyhow::Result<()> {
    let past = verb.past;
    let value = json!({ past: done, "skipped": skipped, "failed": failed });
    output::report(args.output.format, &value, |_| {
        format!("{past} {done}, skipped {skipped}, failed {failed}")
    })
}
