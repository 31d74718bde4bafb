//! The outcomes of items: marked before they are published, settled afterwards.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::event::Key;

/// Marks the items at `positions`, which are published after this transaction.
///
/// # Errors
/// When the database fails.
pub async fn start(conn: &mut PgConnection, operation: Uuid, positions: &[i64]) -> Result<(), sqlx::Error> {
    mark(conn, operation, positions, "started", None).await
}

/// Names the outcome of items near each other. The planner knows nothing of an operation that was planned a moment ago: without the
/// range, and joined with the positions, it would read all items of the operation each time.
async fn mark(
    conn: &mut PgConnection,
    operation: Uuid,
    positions: &[i64],
    outcome: &str,
    detail: Option<&str>,
) -> Result<(), sqlx::Error> {
    let (Some(first), Some(last)) = (positions.iter().min(), positions.iter().max()) else { return Ok(()) };
    sqlx::query!(
        "UPDATE operation_items SET outcome = $5, detail = $6
         WHERE operation_id = $1 AND position BETWEEN $2 AND $3 AND position = ANY($4)",
        operation,
        first,
        last,
        positions,
        outcome,
        detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The outcome of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was replayed, discarded, restored or resent. It may have further details.
    Done(Option<&'static str>),
    /// It was skipped, for this reason.
    Skipped(&'static str),
    /// It was not published, and is open again.
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Skipped(_) => "skipped",
            Self::Failed => "failed",
        }
    }

    const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Done(note) => note,
            Self::Skipped(why) => Some(why),
            Self::Failed => Some("not_published"),
        }
    }
}

/// An item and its outcome.
pub struct Settled {
    /// Its place.
    pub position: i64,
    /// Its outcome.
    pub outcome: Outcome,
}

/// Records the outcomes of the next items of a locked operation, and ends it after the last one, unless it was canceled.
///
/// # Errors
/// When the database fails.
pub async fn settle(conn: &mut PgConnection, operation: Uuid, items: &[Settled]) -> Result<(), sqlx::Error> {
    name_outcomes(&mut *conn, operation, items).await?;
    let count = |name| {
        i64::try_from(items.iter().filter(|item| item.outcome.name() == name).count()).unwrap_or(i64::MAX)
    };
    sqlx::query!(
        "UPDATE operations SET done = done + $2, skipped = skipped + $3, failed = failed + $4, canary_since = now(),
             state = CASE WHEN done + skipped + failed + $2 + $3 + $4 < total OR state = 'canceled' THEN state ELSE 'done' END,
             finished_at = CASE WHEN done + skipped + failed + $2 + $3 + $4 < total OR state = 'canceled' THEN finished_at
                 ELSE now() END
         WHERE operation_id = $1",
        operation,
        count("done"),
        count("skipped"),
        count("failed"),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the outcomes of items, without counting them.
///
/// # Errors
/// When the database fails.
pub async fn name_outcomes(
    conn: &mut PgConnection,
    operation: Uuid,
    items: &[Settled],
) -> Result<(), sqlx::Error> {
    let mut positions: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for Settled { position, outcome } in items {
        positions.entry((outcome.name(), outcome.detail())).or_default().push(*position);
    }
    for ((outcome, detail), positions) in &positions {
        mark(conn, operation, positions, outcome, *detail).await?;
    }
    Ok(())
}

/// Ends a locked operation that has no items left.
///
/// # Errors
/// When the database fails.
pub async fn end(conn: &mut PgConnection, operation: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE operations SET state = 'done', total = done + skipped + failed, finished_at = now()
         WHERE operation_id = $1 AND state = 'running'",
        operation,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reopens the dead letters of a locked operation that were marked and may not have been published, and returns their keys.
/// They are among the next `window` items, of which `left` have no outcome.
///
/// # Errors
/// When the database fails.
pub async fn reopen_started(
    conn: &mut PgConnection,
    operation: Uuid,
    left: i64,
    window: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "WITH started AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id
             FROM operation_items i
             JOIN dead_letters dl ON dl.company_id = i.company_id AND dl.dead_letter_id = i.object_id
             WHERE i.operation_id = $1 AND i.position > -$2::bigint AND i.position <= $3 - $2::bigint
               AND i.outcome = 'started' AND dl.state = 'replaying' AND dl.delivery_id IS NULL
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl SET state = 'open'
         FROM started s WHERE dl.company_id = s.company_id AND dl.dead_letter_id = s.dead_letter_id
         RETURNING dl.company_id AS company, dl.dead_letter_id AS id",
        operation,
        left,
        window,
    )
    .fetch_all(conn)
    .await
}
