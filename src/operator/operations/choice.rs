//! Which items an operation has. They are read newest first, in portions, and worked on oldest first.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Chosen, Cursor, Selection, dead_letters, deliveries};
use crate::{
    domain::event::Key,
    postgres::{
        Database,
        deliveries::Waiting,
        operations::{self as store, NewItem},
    },
};

/// Dead letters that one transaction adds to a plan.
const PORTION: u32 = 2_000;

/// The same for deliveries, and for items chosen one by one.
const SMALL_PORTION: u32 = 500;

/// The same for deliveries that wait. Each portion sorts all that match, so it is large.
const WAITING_PORTION: u32 = 5_000;

/// Items in portions, and where the next one begins.
type Portion = (Vec<NewItem>, Option<Cursor>);

/// Adds the chosen items to a new operation, and returns their number.
pub(super) async fn add(database: &Database, operation: Uuid, chosen: &Chosen) -> Result<i64, sqlx::Error> {
    let plan = Plan { database, operation };
    match chosen {
        Chosen::DeadLetters(Selection::Keys(keys)) => {
            plan.add_keys(keys, async |keys: &[Key]| {
                let rows = dead_letters::summaries(database, keys).await?;
                Ok(rows.into_iter().map(of_dead_letter).collect())
            })
            .await
        }
        Chosen::Deliveries(Selection::Keys(keys)) => {
            plan.add_keys(keys, async |keys: &[Key]| {
                let rows = deliveries::summaries(database, keys).await?;
                Ok(rows.into_iter().map(of_delivery).collect())
            })
            .await
        }
        Chosen::DeadLetters(Selection::Matching(filter)) => {
            plan.add_portions(filter.limit, async |after| {
                let page = dead_letters::list(database, filter, after, PORTION).await?;
                Ok((page.items.into_iter().map(of_dead_letter).collect(), page.next))
            })
            .await
        }
        Chosen::Deliveries(Selection::Matching(filter))
            if filter.states.as_deref() == Some(&[deliveries::State::Pending]) =>
        {
            plan.add_portions(filter.limit, async |after| {
                let page = deliveries::waiting(database, &from(filter, after), WAITING_PORTION).await?;
                Ok((page.items.into_iter().map(of_waiting).collect(), page.next))
            })
            .await
        }
        Chosen::Deliveries(Selection::Matching(filter)) => {
            plan.add_portions(filter.limit, async |after| {
                let page = deliveries::page(database, &from(filter, after), SMALL_PORTION).await?.page;
                Ok((page.items.into_iter().map(of_delivery).collect(), page.next))
            })
            .await
        }
    }
}

fn of_dead_letter(row: dead_letters::Summary) -> NewItem {
    NewItem { key: Key { company: row.company, id: row.id }, tries: row.replays }
}

/// The filter from a place on.
fn from(filter: &deliveries::Filter, after: Option<Cursor>) -> deliveries::Filter {
    let before = after.map(Cursor::position).or(filter.before);
    deliveries::Filter { before, ..filter.clone() }
}

fn of_waiting(one: Waiting) -> NewItem {
    NewItem { key: one.key, tries: one.attempts }
}

fn of_delivery(row: deliveries::Listed) -> NewItem {
    let row = row.summary;
    NewItem { key: Key { company: row.company, id: row.id }, tries: row.attempts }
}

struct Plan<'a> {
    database: &'a Database,
    operation: Uuid,
}

impl Plan<'_> {
    /// Including those that do not exist: their outcome says so.
    async fn add_keys(
        &self,
        keys: &[Key],
        look_up: impl AsyncFn(&[Key]) -> Result<Vec<NewItem>, sqlx::Error>,
    ) -> Result<i64, sqlx::Error> {
        let newest_first: Vec<Key> = keys.iter().rev().cloned().collect();
        let mut count = 0;
        for keys in newest_first.chunks(SMALL_PORTION as usize) {
            let known: HashMap<Key, i32> =
                look_up(keys).await?.into_iter().map(|item| (item.key, item.tries)).collect();
            let item =
                |key: &Key| NewItem { key: key.clone(), tries: known.get(key).copied().unwrap_or_default() };
            count += self.add(count, &keys.iter().map(item).collect::<Vec<_>>()).await?;
        }
        Ok(count)
    }

    async fn add_portions(
        &self,
        limit: Option<i64>,
        read: impl AsyncFn(Option<Cursor>) -> Result<Portion, sqlx::Error>,
    ) -> Result<i64, sqlx::Error> {
        let (mut after, mut count) = (None, 0);
        loop {
            let (mut items, next) = read(after).await?;
            let left = limit.map_or(i64::MAX, |limit| limit - count);
            items.truncate(usize::try_from(left).unwrap_or_default());
            count += self.add(count, &items).await?;
            match next {
                Some(next) if limit.is_none_or(|limit| count < limit) => after = Some(next),
                _ => return Ok(count),
            }
        }
    }

    async fn add(&self, count: i64, items: &[NewItem]) -> Result<i64, sqlx::Error> {
        let operation = self.operation;
        let add = async |conn: &mut sqlx::PgConnection| store::add_items(conn, operation, count, items).await;
        self.database.transact(|()| true, add).await?;
        Ok(i64::try_from(items.len()).unwrap_or_default())
    }
}
