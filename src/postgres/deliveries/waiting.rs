//! Finds the deliveries that wait, for operators, without reading those that have ended.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Filter;
use crate::{domain::event::Key, postgres::effects::search::Unsent};

/// The last delivery that a search read.
pub(super) type End = (OffsetDateTime, Uuid);

/// A delivery that waits, without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its key.
    pub key: Key,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// Attempts so far.
    pub attempts: i32,
}

impl Waiting {
    /// A delivery that has no row yet.
    pub(super) fn unsent(Unsent { delivery, .. }: &Unsent) -> Self {
        Self { key: delivery.key.clone(), created_at: delivery.created_at, attempts: 0 }
    }
}

/// At most `limit` of the pending deliveries that match and have a row, newest first; and where the search ended, if it
/// looked up `most` of them. It looks them up if the filter asks for what only their delivery has, like the trigger: no index finds
/// that.
///
/// # Errors
/// When the database fails.
pub(super) async fn newest(
    conn: &mut PgConnection,
    filter: &Filter,
    limit: Option<i64>,
    most: Option<i64>,
) -> Result<(Vec<Waiting>, Option<End>), sqlx::Error> {
    let is_looked_up = filter.event_id.is_some() || filter.contact.is_some() || filter.trigger.is_some();
    let (before_at, before_id) = filter.before.unzip();
    let rows = sqlx::query_file!(
        "src/postgres/deliveries/waiting.sql",
        filter.company,
        filter.endpoints.as_deref(),
        filter.since,
        before_at,
        before_id,
        if is_looked_up { most } else { limit },
        filter.event_id,
        filter.contact,
        filter.trigger,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let end = rows.iter().find_map(|row| Some((row.ended_at?, row.ended_id?))).filter(|_| is_looked_up);
    let found = rows.into_iter().filter_map(|row| {
        let key = Key { company: row.company?, id: row.id? };
        Some(Waiting { key, created_at: row.created_at?, attempts: row.attempts? })
    });
    Ok((found.collect(), end))
}
