//! "Newest only": an endpoint that asked for it never receives an older version of a contact after a newer one.
//!
//! Only the owner of a lane sends its deliveries, so it knows which versions are in flight. An older version ends as
//! `superseded`, or the newer one waits for it.

use sqlx::PgConnection;
use uuid::Uuid;

use super::RowKey;
use crate::{
    domain::{event::Key, webhook::requested::DeliveryMessage},
    postgres::columns::key_columns,
};

/// A delivery that must not be sent now because of another version of its contact.
pub struct Yielded {
    /// The delivery.
    pub row: RowKey,
    /// A newer version ended it for good. Otherwise an older version is in flight, and this one is due again in a
    /// moment.
    pub is_superseded: bool,
    /// Its end counts for its chain: see `postgres::chain_results`.
    pub is_awaited: bool,
    /// May have been replayed or resent before, so it may have a dead letter.
    pub is_replayed: bool,
    trigger: String,
    event_id: String,
    source: String,
}

impl Yielded {
    /// The message of its dead letter.
    #[must_use]
    pub fn message(&self) -> DeliveryMessage<'_> {
        let Self { row, trigger, event_id, source, .. } = self;
        DeliveryMessage { delivery: &row.key, trigger, event_id, source }
    }
}

/// Supersedes those of `loaded` that have a newer version; for the others, supersedes every older version that is not
/// in flight. Postpones a delivery by 250 ms while an older version is in flight. All of `loaded` have `newest_only`,
/// and the caller owns their lanes; `in_flight` are the deliveries that it is sending. Returns the deliveries that must
/// not be sent, among them some that were not loaded.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn supersede(
    conn: &mut PgConnection,
    loaded: &[&Key],
    in_flight: &[Uuid],
) -> Result<Vec<Yielded>, sqlx::Error> {
    let (companies, ids) = key_columns(loaded.iter().copied());
    let rows =
        sqlx::query_file!("src/postgres/deliveries/supersede.sql", &companies as &[&str], &ids, in_flight,)
            .fetch_all(conn)
            .await?;
    let yielded = rows.into_iter().map(|row| Yielded {
        row: RowKey { key: Key { company: row.company, id: row.id }, created_at: row.created_at },
        is_superseded: row.is_superseded,
        is_awaited: row.is_awaited,
        is_replayed: row.is_replayed,
        trigger: row.trigger,
        event_id: row.event_id,
        source: row.source,
    });
    Ok(yielded.collect())
}
