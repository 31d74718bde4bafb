//! `dead-letter replay`, `discard` and `restore`: each is an operation.

use super::{
    super::{
        bulk::{Bulk, operate::Verb},
        exit::Exit,
    },
    Replay,
    select::DeadLetters,
};
use crate::{
    operator::{dead_letters::State, operations::Action},
    postgres::Database,
    settings::Settings,
};

pub(super) async fn replay(database: &Database, args: &Replay, settings: &Settings) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::Replay, name: "replay", past: "replayed" };
    args.bulk.operate(database, settings, verb, args.canary).await
}

pub(super) async fn discard(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::Discard, name: "discard", past: "discarded" };
    args.operate(database, settings, verb, false).await
}

pub(super) async fn restore(
    database: &Database,
    args: &Bulk<DeadLetters>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::Restore, name: "restore", past: "restored" };
    args.selecting(State::Discarded).operate(database, settings, verb, false).await
}
