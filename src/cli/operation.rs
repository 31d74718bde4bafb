//! `operation list|show|run|pause|resume|cancel`, and how commands work on an operation.

use std::{sync::Arc, time::Duration};

use clap::Subcommand;
use uuid::Uuid;

use super::{
    confirm::Who,
    exit::Exit,
    exported,
    output::{self, Output, moment},
    progress,
    value::variant,
};
use crate::{
    operator::{
        operations::{
            self, Changes, ItemFilter, ItemResult, ItemState, Operation, Rate, State,
            executor::{Executor, Step, WorkError},
        },
        paging::Cursor,
    },
    postgres::Database,
    settings::Settings,
};

/// Rows of a listing without `--limit`.
const DEFAULT_LIMIT: u32 = 100;

/// The remark on a running operation that no process works on.
const WAITS: &str = "for a process with the role dead-letter";

/// Time between two checks of another process's progress.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List operations, newest first
    List(List),
    /// Show one operation, and the outcome of its items
    Show(Show),
    /// Run a planned operation, and work on it, or watch the process that does, until it ends
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Pause a running operation between two items
    Pause(Changing),
    /// Resume a paused operation and work on it, or watch the process that does, until it ends
    #[command(after_help = RUN_HELP)]
    Resume(Resume),
    /// End an operation; items without an outcome stay as they are
    Cancel(Changing),
}

const RUN_HELP: &str = "\
Interrupting this command does no harm: a running service goes on with the operation.
Exits 3 when some items were skipped or failed, or the operation was paused again.";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// At most N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Continue after this cursor of an earlier listing
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Operation id, or its first 8 or more digits
    id: String,
    /// Also its items, at most N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    items: Option<u32>,
    /// Items after the one with this position
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u32,
    /// Only items with this outcome
    #[arg(long, value_parser = variant::<ItemResult>(), requires = "items")]
    outcome: Option<ItemResult>,
    /// Only items whose dead letter or delivery is in this state now
    #[arg(long, value_parser = ItemState::parse, requires = "items")]
    state: Option<ItemState>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Changing {
    /// Operation id, or its first 8 or more digits
    id: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    of: Changing,
    /// Maximum per second, or `unlimited`, instead of the planned rate
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<Rate>,
    /// Do 1, then 10, then 100 before all others, and pause if most of them fail again, even if that was not planned
    #[arg(long)]
    canary: bool,
    /// Do all of them, even if a canary was planned
    #[arg(long, conflicts_with = "canary")]
    no_canary: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    #[command(flatten)]
    of: Changing,
    /// Maximum per second from now on, or `unlimited`
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<Rate>,
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == Rate::UNLIMITED {
        return Ok(Rate::Unlimited);
    }
    text.parse().map(Rate::PerSecond).map_err(|_| format!("expected 1 or more, or {}", Rate::UNLIMITED))
}

pub(super) async fn run(command: Command, database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list(database, &args).await,
        Command::Show(args) => show(database, &args).await,
        Command::Run(Run { of, rate, canary, no_canary }) => {
            let id = operations::resolve(database, &of.id).await?.id;
            let changes = Changes { rate, canary: (canary || no_canary).then_some(canary) };
            let running = operations::run(database, &of.who.actor()?, id, changes).await?;
            until_end(database, &of, settings, running).await
        }
        Command::Pause(args) => {
            let id = operations::resolve(database, &args.id).await?.id;
            print(args.output, &operations::pause(database, &args.who.actor()?, id).await?)
        }
        Command::Cancel(args) => {
            let id = operations::resolve(database, &args.id).await?.id;
            print(args.output, &operations::cancel(database, &args.who.actor()?, id).await?)
        }
        Command::Resume(Resume { of, rate }) => {
            let id = operations::resolve(database, &of.id).await?.id;
            let resumed = operations::resume(database, &of.who.actor()?, id, rate).await?;
            until_end(database, &of, settings, resumed).await
        }
    }
}

async fn list(database: &Database, args: &List) -> anyhow::Result<Exit> {
    let limit = args.limit.unwrap_or(DEFAULT_LIMIT);
    let page = operations::list(database, args.after, limit).await?;
    let columns = ["id", "action", "state", "total", "done", "skipped", "failed", "operator", "created"];
    output::listing(args.output.format, columns, &page.items, |row| {
        [
            row.id.to_string(),
            row.action.clone(),
            row.state.clone(),
            row.total.to_string(),
            row.done.to_string(),
            row.skipped.to_string(),
            row.failed.to_string(),
            row.operator.clone(),
            moment(row.created_at),
        ]
    })?;
    if let Some(next) = page.next {
        output::note(format_args!("there are more; continue with --after {next}"));
    }
    Ok(Exit::Done)
}

async fn show(database: &Database, args: &Show) -> anyhow::Result<Exit> {
    let operation = operations::resolve(database, &args.id).await?;
    let Some(limit) = args.items else { return print(args.output, &operation) };
    let filter = ItemFilter { result: args.outcome, state: args.state };
    let found = operations::items(database, &operation, filter, args.after, limit).await?;
    let columns = ["position", "company", "id", "outcome", "detail", "state"];
    output::listing(args.output.format, columns, &found.items, |item| {
        [
            item.position.to_string(),
            item.company.clone(),
            item.id.to_string(),
            item.outcome.clone().unwrap_or_default(),
            item.detail.clone().unwrap_or_default(),
            item.state.clone().unwrap_or_default(),
        ]
    })?;
    if let Some(next) = found.next {
        output::note(format_args!("there are more; continue with --after {next}"));
    }
    Ok(Exit::Done)
}

async fn until_end(
    database: &Database,
    args: &Changing,
    settings: &Settings,
    running: Operation,
) -> anyhow::Result<Exit> {
    let worked = work(database, settings, executor(database, settings), (&running, "working")).await;
    let operation = operations::get(database, running.id).await?.unwrap_or(running);
    print(args.output, &operation)?;
    worked?;
    Ok(exit(&operation))
}

/// Works on operations in this process.
pub(super) fn executor(database: &Database, settings: &Settings) -> Executor {
    Executor::new(database.clone(), Arc::new(settings.clone()))
}

/// Works on a running operation in this process, or watches the process that does, until it is done, paused or canceled.
pub(super) async fn work(
    database: &Database,
    settings: &Settings,
    executor: Executor,
    (operation, message): (&Operation, &str),
) -> Result<(), WorkError> {
    let traces = exported::Traces::start(settings);
    let mut executor = executor.traced(traces.traces());
    let bar = progress::bar(u64::try_from(operation.total).ok(), message);
    let worked =
        until_ended(database, &mut executor, operation.id, |settled| bar.set_position(settled)).await;
    bar.finish_and_clear();
    // Otherwise a service would wait until the lease has ended.
    let released = executor.release(operation.id).await;
    traces.end().await;
    worked?;
    Ok(released?)
}

async fn until_ended(
    database: &Database,
    executor: &mut Executor,
    id: Uuid,
    progress: impl Fn(u64),
) -> Result<(), WorkError> {
    let mut owns = false;
    loop {
        owns = owns || executor.claim(Some(id)).await?.is_some();
        let step = if owns { executor.step(id).await? } else { Step::Waits(WATCH_INTERVAL) };
        let Some(operation) = operations::get(database, id).await? else { return Ok(()) };
        progress(u64::try_from(operation.done + operation.skipped + operation.failed).unwrap_or_default());
        if operation.state != State::Running.name() {
            return Ok(());
        }
        match step {
            Step::Worked => {}
            Step::Waits(time) => tokio::time::sleep(time).await,
            Step::Ended => owns = false,
        }
    }
}

/// Whether everything was done.
pub(super) fn exit(operation: &Operation) -> Exit {
    match (operation.state == State::Done.name(), operation.done, operation.skipped, operation.failed) {
        (true, _, 0, 0) => Exit::Done,
        (true, 0, 0, _) => Exit::Failed,
        _ => Exit::Partly,
    }
}

fn print(output: Output, operation: &Operation) -> anyhow::Result<Exit> {
    output::report(output.format, operation, |operation| {
        let facts = vec![
            ("operation", operation.id.to_string()),
            ("action", operation.action.clone()),
            ("state", operation.state.clone()),
            ("waits", if operation.is_waiting { WAITS } else { "" }.to_owned()),
            ("because", operation.paused_because.clone().unwrap_or_default()),
            ("selection", operation.selection.to_string()),
            ("items", operation.total.to_string()),
            ("done", operation.done.to_string()),
            ("skipped", operation.skipped.to_string()),
            ("failed", operation.failed.to_string()),
            ("rate", operation.rate.map(|rate| format!("{rate}/s")).unwrap_or_default()),
            ("canary", operation.canary.map(|items| format!("judged after {items}")).unwrap_or_default()),
            ("operator", operation.operator.clone()),
            ("reason", operation.reason.clone().unwrap_or_default()),
            ("created", moment(operation.created_at)),
            ("started", operation.started_at.map(moment).unwrap_or_default()),
            ("finished", operation.finished_at.map(moment).unwrap_or_default()),
        ];
        output::facts(12, facts).join("\n")
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn exit_code_says_whether_all_items_were_done() {
        for (state, done, skipped, failed, code) in [
            ("done", 0, 0, 0, Exit::Done),
            ("done", 2, 0, 0, Exit::Done),
            ("done", 2, 1, 0, Exit::Partly),
            ("done", 0, 1, 0, Exit::Partly),
            ("done", 2, 0, 1, Exit::Partly),
            ("done", 0, 0, 1, Exit::Failed),
            ("paused", 2, 0, 0, Exit::Partly),
            ("canceled", 0, 0, 0, Exit::Partly),
        ] {
            let operation = Operation {
                id: Uuid::nil(),
                action: String::new(),
                state: state.to_owned(),
                selection: serde_json::Value::Null,
                paused_because: None,
                is_waiting: false,
                rate: None,
                canary: None,
                total: done + skipped + failed,
                done,
                skipped,
                failed,
                operator: String::new(),
                reason: None,
                created_at: OffsetDateTime::UNIX_EPOCH,
                started_at: None,
                finished_at: None,
            };
            assert_eq!(exit(&operation), code, "{state} {done} {skipped} {failed}");
        }
    }
}
