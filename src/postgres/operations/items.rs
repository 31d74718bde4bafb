//! The items of operations: how they are chosen, and how they are listed.

use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::{Object, Operation};
use crate::{
    domain::event::Key,
    postgres::{
        columns::{column, key_columns},
        dead_letters::State as Letter,
        deliveries::State as Delivery,
    },
};

/// The outcome of an item, for a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ItemResult {
    /// Nothing has been done yet.
    Waiting,
    /// It is being published.
    Started,
    /// It was replayed, discarded, restored or resent.
    Done,
    /// It was skipped.
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

/// The state of what an item is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// Of a dead letter.
    DeadLetter(Letter),
    /// Of a delivery.
    Delivery(Delivery),
}

impl ItemState {
    /// Every state that an item may have.
    pub fn all() -> impl Iterator<Item = Self> {
        let letters = Letter::VARIANTS.iter().map(|state| Self::DeadLetter(*state));
        let deliveries = Delivery::VARIANTS.iter().map(|state| Self::Delivery(*state));
        // `discarded` is a state of both.
        letters.chain(deliveries.filter(|state| *state != Self::Delivery(Delivery::Discarded)))
    }

    /// Every state that an item of such an object may have.
    pub fn of(object: Object) -> impl Iterator<Item = Self> {
        let of = move |state: &Self| matches!(state, Self::DeadLetter(_)) == (object == Object::DeadLetter);
        let letters = Letter::VARIANTS.iter().map(|state| Self::DeadLetter(*state));
        letters.chain(Delivery::VARIANTS.iter().map(|state| Self::Delivery(*state))).filter(of)
    }

    /// The state with this name.
    ///
    /// # Errors
    /// When the name is unknown; lists the known ones.
    pub fn parse(name: &str) -> Result<Self, String> {
        let names = || Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
        Self::all().find(|state| state.name() == name).ok_or_else(|| format!("expected one of {}", names()))
    }

    /// The name in JSON and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadLetter(state) => state.name(),
            Self::Delivery(state) => state.name(),
        }
    }
}

/// Which items of an operation. `None` does not narrow.
#[derive(Clone, Copy, Debug, Default)]
pub struct ItemFilter {
    /// By their outcome.
    pub result: Option<ItemResult>,
    /// By the state that their dead letter or delivery has now.
    pub state: Option<ItemState>,
}

/// One item, for a listing.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedItem {
    /// Its place in the order of the operation, from 1.
    pub position: i64,
    /// The company's id.
    pub company: String,
    /// The id of the dead letter or delivery.
    pub id: Uuid,
    /// `started`, `done`, `skipped` or `failed`; `None` while it waits.
    pub outcome: Option<String>,
    /// Why it was skipped or failed. If it was done, further details.
    pub detail: Option<String>,
    /// The state of the dead letter or delivery now: after a replay or resend, its result.
    pub state: Option<String>,
}

/// An item that is added to an operation.
pub struct NewItem {
    /// The dead letter or delivery.
    pub key: Key,
    /// How often the dead letter had been replayed, or the delivery attempted, when it was chosen.
    pub tries: i32,
}

/// Adds items, from the newest to the oldest, after the `chosen` ones that were added before.
///
/// # Errors
/// When the database fails.
pub async fn add_items(
    conn: &mut PgConnection,
    operation: Uuid,
    chosen: i64,
    items: &[NewItem],
) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(items.iter().map(|item| &item.key));
    sqlx::query!(
        "INSERT INTO operation_items (operation_id, position, company_id, object_id, tries)
         SELECT $1, 1 - $2::bigint - u.place, u.company_id, u.object_id, u.tries
         FROM UNNEST($3::text[], $4::uuid[], $5::integer[]) WITH ORDINALITY AS u(company_id, object_id, tries, place)",
        operation,
        chosen,
        &companies as &[&str],
        &ids,
        &column(items, |item| item.tries),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// At most `limit` items of an operation, in the order in which it works on them, after the first `after`.
///
/// # Errors
/// When the database fails.
pub async fn items(
    conn: &mut PgConnection,
    operation: &Operation,
    filter: ItemFilter,
    after: i64,
    limit: i64,
) -> Result<Vec<ListedItem>, sqlx::Error> {
    sqlx::query_as!(
        ListedItem,
        r#"SELECT i.position + $2 AS "position!", i.company_id AS company, i.object_id AS id, i.outcome, i.detail,
               o.state AS "state?"
           FROM operation_items i
           LEFT JOIN LATERAL (
               SELECT state FROM dead_letters
               WHERE NOT $7 AND company_id = i.company_id AND dead_letter_id = i.object_id
               UNION ALL
               SELECT state FROM webhook_deliveries
               WHERE $7 AND company_id = i.company_id AND delivery_id = i.object_id
           ) o ON true
           WHERE i.operation_id = $1 AND i.position > $3 - $2
             AND ($5::text IS NULL OR coalesce(i.outcome, 'waiting') = $5) AND ($6::text IS NULL OR o.state = $6)
           ORDER BY i.position LIMIT $4"#,
        operation.id,
        operation.total,
        after,
        limit,
        filter.result.map(ItemResult::name),
        filter.state.map(ItemState::name),
        operation.object() == Object::Delivery,
    )
    .fetch_all(conn)
    .await
}
