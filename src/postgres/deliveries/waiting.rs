//! Finds the deliveries that wait, for operators, without reading those that have ended.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Filter;
use crate::domain::event::Key;

/// The last delivery that a search read.
pub(super) type End = (OffsetDateTime, Uuid);

/// The keys of at most `limit` of the pending deliveries that match and have a row, newest first; and where the search ended, if it
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
) -> Result<(Vec<Key>, Option<End>), sqlx::Error> {
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
    let keys = rows.into_iter().filter_map(|row| Some(Key { company: row.company?, id: row.id? }));
    Ok((keys.collect(), end))
}
