//! Reads dead letters for an export.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{super::Filter, Record};
use crate::{
    domain::event::Key,
    operator::{
        audit::{self, Actor, Change},
        dead_letters,
        paging::Cursor,
        selection::Selection,
    },
    postgres::{Database, dead_letters as store},
};

/// Dead letters that are read at a time. Each may have 1 MiB.
const CHUNK: u32 = 20;

/// A recorded export, which is read in pages. A dead letter that fails again in the meantime may be missing.
pub struct Export {
    database: Database,
    actor: Actor,
    left: Left,
    count: u64,
}

/// What is not exported yet.
enum Left {
    Keys(std::vec::IntoIter<Key>),
    Matching(Box<Filter>, Option<Cursor>),
    /// The count of those that matched.
    Count,
    Nothing,
}

impl Export {
    /// Records that these are about to be exported.
    ///
    /// # Errors
    /// When the database fails; nothing is exported then.
    pub async fn begin(
        database: &Database,
        actor: &Actor,
        selection: Selection<Filter>,
    ) -> Result<Self, sqlx::Error> {
        let (left, after) = match selection {
            Selection::Keys(keys) => {
                let count = json!({ "count": keys.len() });
                (Left::Keys(keys.into_iter()), count)
            }
            Selection::Matching(filter) => {
                let selection = json!({ "selection": dead_letters::shown(&filter) });
                (Left::Matching(filter, None), selection)
            }
        };
        let begin =
            async |conn: &mut PgConnection| audit::record(conn, actor, &exported(after.clone())).await;
        database.transact(|()| true, begin).await?;
        Ok(Self { database: database.clone(), actor: actor.clone(), left, count: 0 })
    }

    /// The next dead letters, without those that no longer exist: in the order of the keys, or for a filter newest first. `None`
    /// after the last one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page(&mut self) -> Result<Option<Vec<Record>>, sqlx::Error> {
        let keys: Vec<Key> = match &mut self.left {
            Left::Keys(keys) => keys.take(CHUNK as usize).collect(),
            Left::Matching(filter, after) => {
                let page = dead_letters::list(&self.database, filter, *after, CHUNK).await?;
                *after = page.next;
                if after.is_none() {
                    self.left = Left::Count;
                }
                page.items.into_iter().map(|row| Key { company: row.company, id: row.id }).collect()
            }
            Left::Count => {
                let (actor, change) = (&self.actor, exported(json!({ "count": self.count })));
                self.database.unit(async |conn| audit::record(conn, actor, &change).await).await?;
                self.left = Left::Nothing;
                return Ok(None);
            }
            Left::Nothing => return Ok(None),
        };
        if keys.is_empty() && matches!(self.left, Left::Keys(_)) {
            return Ok(None);
        }
        let read = self.database.unit(async |conn| store::get_all(conn, &keys).await).await?;
        self.count += read.len() as u64;
        Ok(Some(read.into_iter().map(Record::from).collect()))
    }
}

fn exported(after: Value) -> Change<'static> {
    let action = audit::DEAD_LETTER_EXPORT;
    Change { action, company: "", object: String::new(), before: None, after: Some(after) }
}
