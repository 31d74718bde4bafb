//! One window of an operation that resends deliveries. It is done in one transaction: nothing has to be published, because a row
//! that is due is enough.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::event::Key,
    operator::{
        audit::Actor,
        deliveries::{self, Refusal},
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

/// Makes deliveries due and settles their items.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn window(
    conn: &mut PgConnection,
    actor: &Actor,
    operation: Uuid,
    items: &[Item],
) -> Result<Window, sqlx::Error> {
    let chosen: Vec<(Key, Option<i32>)> =
        items.iter().map(|item| (item.key.clone(), Some(item.tries))).collect();
    let done = deliveries::resend_window(conn, actor, &chosen).await?;
    let done: HashMap<Key, _> = done.into_iter().collect();
    let (mut settled, mut missing) = (Vec::with_capacity(items.len()), Vec::new());
    for Item { position, key, .. } in items {
        let outcome = match done.get(key) {
            Some(Ok(deliveries::State::Superseded)) => {
                Outcome::Done(Some(deliveries::State::Superseded.name()))
            }
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
    Ok(Window { has_due: done.values().any(Result::is_ok), missing })
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
