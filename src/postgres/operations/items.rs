//! The items of operations: how they are chosen, and how they are listed.

use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::{
    domain::event::Key,
    postgres::{columns::key_columns, dead_letters::State as Letter},
};

/// What came of an item, for a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ItemResult {
    /// Nothing has been done yet.
    Waiting,
    /// It is being published.
    Started,
    /// It was replayed, discarded or restored.
    Done,
    /// It was left alone.
    Skipped,
    /// It was not published, and is open again.
    Failed,
}

impl ItemResult {
    /// The name in JSON and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Which items of an operation. `None` does not narrow.
#[derive(Clone, Copy, Debug, Default)]
pub struct ItemFilter {
    /// By what came of them.
    pub result: Option<ItemResult>,
    /// By the state that their dead letter has now.
    pub state: Option<Letter>,
}

/// One item, for a listing.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedItem {
    /// Its place in the order of the operation, from 1.
    pub position: i64,
    /// The company's id.
    pub company: String,
    /// The id of the dead letter.
    pub id: Uuid,
    /// `started`, `done`, `skipped` or `failed`; `None` while it waits.
    pub outcome: Option<String>,
    /// Why it was skipped or failed.
    pub detail: Option<String>,
    /// The state of the dead letter now: after a replay, whether it was resolved or failed again.
    pub state: Option<String>,
}

/// Adds items, from the newest to the oldest, after the `chosen` ones that were added before.
///
/// # Errors
/// When the database fails.
pub async fn add_items(
    conn: &mut PgConnection,
    operation: Uuid,
    chosen: i64,
    keys: &[Key],
) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "INSERT INTO operation_items (operation_id, position, company_id, object_id, replays)
         SELECT $1, 1 - $2::bigint - u.place, u.company_id, u.object_id, coalesce(dl.replays, 0)
         FROM UNNEST($3::text[], $4::uuid[]) WITH ORDINALITY AS u(company_id, object_id, place)
         LEFT JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.object_id",
        operation,
        chosen,
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// At most `limit` items of an operation that has `total`, in the order in which it works on them, after the first `after`.
///
/// # Errors
/// When the database fails.
pub async fn items(
    conn: &mut PgConnection,
    operation: Uuid,
    total: i64,
    filter: ItemFilter,
    after: i64,
    limit: i64,
) -> Result<Vec<ListedItem>, sqlx::Error> {
    sqlx::query_as!(
        ListedItem,
        r#"SELECT i.position + $2 AS "position!", i.company_id AS company, i.object_id AS id, i.outcome, i.detail,
               dl.state AS "state?"
           FROM operation_items i
           LEFT JOIN dead_letters dl ON dl.company_id = i.company_id AND dl.dead_letter_id = i.object_id
           WHERE i.operation_id = $1 AND i.position > $3 - $2
             AND ($5::text IS NULL OR coalesce(i.outcome, 'waiting') = $5) AND ($6::text IS NULL OR dl.state = $6)
           ORDER BY i.position LIMIT $4"#,
        operation,
        total,
        after,
        limit,
        filter.result.map(ItemResult::name),
        filter.state.map(Letter::name),
    )
    .fetch_all(conn)
    .await
}
