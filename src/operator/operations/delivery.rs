//! One window of an operation that resends or discards deliveries. It is done in one transaction: nothing has to be published,
//! because a row that is due is enough.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::event::Key,
    operator::{
        audit::Actor,
        deliveries::{self, Refusal, State},
    },
    postgres::{
        Database,
        operations::{self as store, Item, Outcome, Settled},
    },
    telemetry::chain,
};

/// A window that is settled.
pub(super) struct Window {
    /// Whether any delivery is due.
    pub(super) has_due: bool,
    /// The items without a row.
    pub(super) missing: Vec<(i64, Key)>,
}

/// What was done to each delivery that has a row: the state that it had, or why it was left alone.
type Done = Vec<(Key, Result<State, Refusal>)>;

/// Makes deliveries due and settles their items.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn resend(
    conn: &mut PgConnection,
    actor: &Actor,
    operation: Uuid,
    items: &[Item],
) -> Result<Window, sqlx::Error> {
    let chosen: Vec<(Key, Option<i32>)> =
        items.iter().map(|item| (item.key.clone(), Some(item.tries))).collect();
    let done = deliveries::resend_window(conn, actor, &chosen).await?;
    let has_due = done.iter().any(|(_, outcome)| outcome.is_ok());
    Ok(Window { has_due, missing: settle(conn, operation, items, done).await? })
}

/// Discards deliveries that wait and settles their items. `source` is the CloudEvents `source` of the results of their chains.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn discard(
    conn: &mut PgConnection,
    actor: &Actor,
    operation: Uuid,
    items: &[Item],
    source: &str,
) -> Result<Window, sqlx::Error> {
    let chosen: Vec<(Key, i32)> = items.iter().map(|item| (item.key.clone(), item.tries)).collect();
    let done = deliveries::discard_window(conn, actor, &chosen, source).await?;
    Ok(Window { has_due: false, missing: settle(conn, operation, items, done).await? })
}

/// Settles the items, and returns those without a row.
async fn settle(
    conn: &mut PgConnection,
    operation: Uuid,
    items: &[Item],
    done: Done,
) -> Result<Vec<(i64, Key)>, sqlx::Error> {
    let done: HashMap<Key, _> = done.into_iter().collect();
    let (mut settled, mut missing) = (Vec::with_capacity(items.len()), Vec::new());
    for Item { position, key, .. } in items {
        let outcome = match done.get(key) {
            Some(Ok(State::Superseded)) => Outcome::Done(Some(State::Superseded.name())),
            Some(Ok(_)) => Outcome::Done(None),
            Some(Err(refusal)) => Outcome::Skipped(refusal.name()),
            None => {
                missing.push((*position, key.clone()));
                Outcome::Skipped(Refusal::Unsearched.name())
            }
        };
        settled.push(Settled { position: *position, outcome });
    }
    store::settle(conn, operation, &settled).await?;
    Ok(missing)
}

/// Finds out whether items without a row wait for their first attempt or are gone. After the transaction, which has locks. If
/// that fails, their outcome says that it is one of the two.
pub(super) async fn explain(database: &Database, operation: Uuid, missing: Vec<(i64, Key)>) {
    if missing.is_empty() {
        return;
    }
    if let Err(error) = try_explain(database, operation, missing).await {
        tracing::warn!(%operation, error = chain(&error), "could not look for deliveries of operation {operation}");
    }
}

async fn try_explain(
    database: &Database,
    operation: Uuid,
    missing: Vec<(i64, Key)>,
) -> Result<(), sqlx::Error> {
    let (positions, keys): (Vec<i64>, Vec<Key>) = missing.into_iter().unzip();
    let why = deliveries::without_row(database, &keys).await?;
    let outcome =
        |(position, why): (i64, Refusal)| Settled { position, outcome: Outcome::Skipped(why.name()) };
    let items: Vec<Settled> = positions.into_iter().zip(why).map(outcome).collect();
    database.transact(|()| true, async |conn| store::name_outcomes(conn, operation, &items).await).await
}
