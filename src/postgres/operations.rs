//! Operations on many dead letters or deliveries: the plan, the progress, and the outcome of each item.
//!
//! Rows of `operations` are locked before those of their items, and both before the rows that an item is about.

mod items;
mod outcomes;
mod work;

use serde_json::Value;
use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{columns::column, dead_letters::State as Letter};

pub use items::{ItemFilter, ItemResult, ItemState, ListedItem, NewItem, add_items, items};
pub use outcomes::{Outcome, Settled, end, name_outcomes, reopen_started, settle, start};
pub use work::{Claimed, Item, Verdict, claim, judge, lock, next_items, release, verdict};

/// What an operation does to each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// Sends a dead letter through its stage again.
    Replay,
    /// Discards a dead letter, and the delivery behind it.
    Discard,
    /// Reopens a discarded dead letter.
    Restore,
    /// Makes a delivery due again.
    Resend,
    /// Discards a delivery that waits.
    DiscardDeliveries,
}

/// What the items of an operation are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Dead letters.
    DeadLetter,
    /// Deliveries.
    Delivery,
}

impl Action {
    /// The name in JSON and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What its items are.
    #[must_use]
    pub const fn object(self) -> Object {
        match self {
            Self::Replay | Self::Discard | Self::Restore => Object::DeadLetter,
            Self::Resend | Self::DiscardDeliveries => Object::Delivery,
        }
    }

    /// Whether an item may fail later, so that a canary has something to judge.
    #[must_use]
    pub const fn may_fail(self) -> bool {
        matches!(self, Self::Replay | Self::Resend)
    }

    /// The states of dead letters that it can change.
    #[must_use]
    pub const fn default_states(self) -> &'static [Letter] {
        match self {
            Self::Replay | Self::Discard => &Letter::UNSETTLED,
            Self::Restore => &[Letter::Discarded],
            Self::Resend | Self::DiscardDeliveries => &[],
        }
    }
}

/// The state of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Its items are being chosen.
    Planning,
    /// Its items are chosen, and nothing has been done to them.
    Planned,
    /// A process works on it, or will.
    Running,
    /// It stopped between two items and can be resumed.
    Paused,
    /// Every item has an outcome.
    Done,
    /// An operator ended it. The items without an outcome stay as they are.
    Canceled,
}

impl State {
    /// The name in JSON and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An operation and its progress.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// The name of its [`Action`].
    pub action: String,
    /// The name of its [`State`].
    pub state: String,
    /// How its items were chosen.
    pub selection: Value,
    /// Why it is paused, if no operator paused it.
    pub paused_because: Option<String>,
    /// It is running, but no process works on it at the moment.
    pub is_waiting: bool,
    /// Its maximum of items per second.
    pub rate: Option<i32>,
    /// The items of the step that is judged before more follow; `None` without such a step.
    pub canary: Option<i32>,
    /// Number of items.
    pub total: i64,
    /// Items that it has replayed, discarded, restored or resent.
    pub done: i64,
    /// Items that it skipped.
    pub skipped: i64,
    /// Items that could not be published, and are open again.
    pub failed: i64,
    /// Who planned it, or, once it ran, who ran it.
    pub operator: String,
    /// Why, in that person's words.
    pub reason: Option<String>,
    /// When it was planned.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it first ran.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When its last item was settled, or when it was canceled.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

impl Operation {
    /// What its items are.
    #[must_use]
    pub fn object(&self) -> Object {
        // The schema allows no other action.
        self.action.parse().map_or(Object::DeadLetter, Action::object)
    }
}

/// A new operation.
pub struct New<'a> {
    /// Its id: the later, the greater.
    pub id: Uuid,
    /// What it does.
    pub action: Action,
    /// How its items are chosen.
    pub selection: &'a Value,
    /// Items per second.
    pub rate: Option<i32>,
    /// The items of its first step.
    pub canary: Option<i32>,
    /// Who plans it.
    pub operator: &'a str,
    /// On which surface.
    pub via: &'static str,
    /// Why.
    pub reason: Option<&'a str>,
}

/// Adds an operation without items, in state planning.
///
/// # Errors
/// When the database fails.
pub async fn create(conn: &mut PgConnection, new: &New<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO operations (operation_id, action, state, selection, rate, canary, operator, via, reason)
         VALUES ($1, $2, 'planning', $3, $4, $5, $6, $7, $8)",
        new.id,
        new.action.name(),
        new.selection,
        new.rate,
        new.canary,
        new.operator,
        new.via,
        new.reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the planning: the operation has `total` items.
///
/// # Errors
/// When the database fails.
pub async fn planned(conn: &mut PgConnection, operation: Uuid, total: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE operations SET state = 'planned', total = $2 WHERE operation_id = $1 AND state = 'planning'",
        operation,
        total,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How an operation runs, and who decided that.
pub struct Terms<'a> {
    /// Items per second.
    pub rate: Option<i32>,
    /// The items of its first step.
    pub canary: Option<i32>,
    /// Who runs it.
    pub operator: &'a str,
    /// On which surface.
    pub via: &'static str,
    /// Why.
    pub reason: Option<&'a str>,
}

/// Sets the terms of a locked operation, before its first item.
///
/// # Errors
/// When the database fails.
pub async fn set_terms(
    conn: &mut PgConnection,
    operation: Uuid,
    terms: &Terms<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE operations SET rate = $2, canary = $3, operator = $4, via = $5, reason = $6 WHERE operation_id = $1",
        operation,
        terms.rate,
        terms.canary,
        terms.operator,
        terms.via,
        terms.reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes the state from one of `from`. Returns the state before, or `None` if the operation does not exist; one in
/// another state stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn change(
    conn: &mut PgConnection,
    operation: Uuid,
    from: &[State],
    to: State,
) -> Result<Option<String>, sqlx::Error> {
    let was =
        sqlx::query_scalar!("SELECT state FROM operations WHERE operation_id = $1 FOR UPDATE", operation)
            .fetch_optional(&mut *conn)
            .await?;
    sqlx::query!(
        "UPDATE operations SET state = $2, paused_because = NULL,
             started_at = CASE WHEN $2 = 'running' THEN coalesce(started_at, now()) ELSE started_at END,
             finished_at = CASE WHEN $2 = 'canceled' THEN now() END
         WHERE operation_id = $1 AND state = ANY($3)",
        operation,
        to.name(),
        &column(from, |state| state.name()) as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(was)
}

/// One operation.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut PgConnection, operation: Uuid) -> Result<Option<Operation>, sqlx::Error> {
    sqlx::query_as!(
        Operation,
        r#"SELECT operation_id AS id, action, state, selection, paused_because,
               (state = 'running' AND owner_until <= now()) AS "is_waiting!", rate, canary, total, done, skipped, failed,
               operator, reason, created_at, started_at, finished_at
           FROM operations WHERE operation_id = $1"#,
        operation,
    )
    .fetch_optional(conn)
    .await
}

/// At most `limit` operations, newest first, from before the position `before` on.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut PgConnection,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Operation>, sqlx::Error> {
    let (at, id) = before.unzip();
    sqlx::query_as!(
        Operation,
        r#"SELECT operation_id AS id, action, state, selection, paused_because,
               (state = 'running' AND owner_until <= now()) AS "is_waiting!", rate, canary, total, done, skipped, failed,
               operator, reason, created_at, started_at, finished_at
           FROM operations
           WHERE (created_at, operation_id) < (coalesce($1, 'infinity'::timestamptz), coalesce($2, gen_random_uuid()))
           ORDER BY created_at DESC, operation_id DESC LIMIT $3"#,
        at,
        id,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The ids of operations in this inclusive range, which an abbreviated id spans.
///
/// # Errors
/// When the database fails.
pub async fn matching(
    conn: &mut PgConnection,
    (first, last): (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT operation_id FROM operations WHERE operation_id BETWEEN $1 AND $2 ORDER BY operation_id LIMIT $3",
        first,
        last,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Deletes operations that ended or began to wait for an operator before `before`: a portion of their items, and then
/// themselves. Returns how many rows that were; fewer than `portion` if none are left.
///
/// # Errors
/// When the database fails.
pub async fn delete_old(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    // First, so that nobody resumes an operation that loses its items.
    sqlx::query!(
        "UPDATE operations SET state = 'canceled', finished_at = created_at WHERE operation_id IN (
             SELECT operation_id FROM operations
             WHERE created_at < $1 AND owner_until < $1 AND state IN ('planning', 'planned', 'paused')
             ORDER BY created_at, operation_id LIMIT $2 FOR UPDATE SKIP LOCKED)",
        before,
        portion,
    )
    .execute(&mut *conn)
    .await?;
    let items = sqlx::query!(
        "DELETE FROM operation_items WHERE (operation_id, position) IN (
             SELECT i.operation_id, i.position
             FROM operations o JOIN operation_items i ON i.operation_id = o.operation_id
             WHERE o.created_at < $1 AND o.finished_at < $1
             ORDER BY o.created_at, o.operation_id LIMIT $2)",
        before,
        portion,
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if i64::try_from(items).unwrap_or(i64::MAX) >= portion {
        return Ok(items);
    }
    let deleted = sqlx::query!(
        "DELETE FROM operations WHERE operation_id IN (
             SELECT operation_id FROM operations o
             WHERE created_at < $1 AND finished_at < $1
               AND NOT EXISTS (SELECT FROM operation_items i WHERE i.operation_id = o.operation_id)
             ORDER BY created_at, operation_id LIMIT $2)",
        before,
        portion,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
