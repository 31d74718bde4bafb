//! Reads deliveries by time, in slices from the newest one, and stops after a number of rows.
//!
//! No index exists by time alone, by endpoint, or by other filters: every delivery would pay for it. A BRIN index
//! finds a slice of time. So a search that finds little stops after the rows it has read and continues on request,
//! instead of taking longer the more rows there are.

use std::cmp::Reverse;

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    Filter, State, Summary, Waiting,
    read::{matching_unsent, without_rows},
    waiting,
};
use crate::{
    domain::event::Key,
    postgres::effects::search::{Searched, Unsent},
};

/// Rows of a slice. One that has more is read again in parts.
const MAX_SLICE: i64 = 5_000;

/// After this many rows a search ends with its current slice.
const MAX_READ: i64 = 15_000;

/// Deliveries that wait and that one search looks up: each by itself, so they cost more than those of a slice.
const MAX_LOOKED_UP: i64 = 4_000;

/// The first slice, which is enough for a page of a busy service.
const FIRST: Duration = Duration::seconds(5);

/// A slice is not divided further: the rows of one transaction have the same time.
const SHORTEST: Duration = Duration::milliseconds(1);

/// How much longer or shorter a slice becomes.
const FACTOR: i32 = 8;

/// Later than any delivery, by any clock.
const AHEAD: Duration = Duration::days(366);

/// A delivery that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// Its key.
    pub key: Key,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// The name of its state.
    pub state: String,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
    /// Its attempts; of a pending one, those until the last resend.
    pub attempts: i32,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Slices {
    /// The deliveries that match, newest first.
    pub found: Vec<Matching>,
    /// Everything since then was searched, unless more matched than requested.
    pub searched_to: OffsetDateTime,
    /// Whether that is the beginning of the time to search.
    pub is_complete: bool,
}

/// Searches from `filter.before`, or else from `now`, back to `since`, until it has `most` or has read enough. Pending deliveries
/// count only if they have a row.
///
/// # Errors
/// When the database fails.
pub async fn by_slices(
    conn: &mut PgConnection,
    filter: &Filter,
    now: OffsetDateTime,
    since: OffsetDateTime,
    most: usize,
) -> Result<Slices, sqlx::Error> {
    let (mut found, mut read, mut length) = (Vec::new(), 0, FIRST);
    let (mut end, mut end_id) = filter.before.unwrap_or((now.saturating_add(AHEAD), Uuid::nil()));
    let mut from = end.min(now);
    // The beginning of the last slice that had too many.
    let mut crowded = None;
    loop {
        let start = from.saturating_sub(length).max(since);
        let is_shortest = length <= SHORTEST;
        let limit = if is_shortest { i64::MAX } else { MAX_SLICE + 1 };
        let (rows, matching) = slice(conn, filter, start, (end, end_id), limit, most).await?;
        if rows > MAX_SLICE && !is_shortest {
            length = (length / FACTOR).max(SHORTEST);
            crowded = Some(start);
            continue;
        }
        found.extend(matching);
        read += rows;
        (end, end_id, from) = (start, Uuid::nil(), start);
        if start <= since || found.len() >= most || read >= MAX_READ {
            return Ok(Slices { found, searched_to: start, is_complete: start <= since });
        }
        length = length.saturating_mul(growth(rows, crowded.is_some_and(|crowded| start > crowded)));
    }
}

/// How much longer the next slice may be than one that had this many rows, to have half of the maximum. An empty one says
/// nothing if those after it are known to have many.
fn growth(rows: i64, is_crowded: bool) -> i32 {
    match rows {
        0 if is_crowded => 1,
        0 => FACTOR,
        rows => i32::try_from(MAX_SLICE / 2 / rows).map_or(FACTOR, |growth| growth.clamp(1, FACTOR)),
    }
}

/// At most `most` of the deliveries that match, newest first, and where the search ended, if it did not reach `since`. Among
/// them are those that are to be sent and have no row yet, as far as they could be searched. It reads only pending ones if no others match, and otherwise slice by slice.
///
/// # Errors
/// When the database fails.
pub async fn search(
    conn: &mut PgConnection,
    filter: &Filter,
    now: OffsetDateTime,
    since: OffsetDateTime,
    most: usize,
) -> Result<(Searched<Summary>, Option<(OffsetDateTime, Uuid)>), sqlx::Error> {
    // Before the rows: a delivery that gets one in between is still listed.
    let Searched { found: mut unsent, is_complete } = matching_unsent(conn, filter).await?;
    let (keys, end): (Vec<Key>, _) = if filter.states.as_deref() == Some(&[State::Pending]) {
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let (waiting, end) = waiting::newest(conn, filter, Some(limit), Some(MAX_LOOKED_UP)).await?;
        (waiting.into_iter().map(|one| one.key).collect(), end)
    } else {
        let slices = by_slices(conn, filter, now, since, most).await?;
        let end = (!slices.is_complete).then_some((slices.searched_to, Uuid::nil()));
        (slices.found.into_iter().map(|one| one.key).collect(), end)
    };
    unsent.retain(|one| end.is_none_or(|end| place(one) >= end));
    let mut listed = super::summaries(conn, &keys).await?;
    let unsent = without_rows(conn, unsent).await?;
    listed.extend(unsent.iter().map(Summary::unsent));
    listed.sort_by_key(|summary| Reverse((summary.created_at, summary.id)));
    listed.truncate(most);
    Ok((Searched { found: listed, is_complete }, end))
}

/// At most `most` of the pending deliveries that match, in the order of [`search`], and where the search ended. Whoever needs all of
/// them, page by page, does not need their summaries.
///
/// # Errors
/// When the database fails.
pub async fn search_waiting(
    conn: &mut PgConnection,
    filter: &Filter,
    most: usize,
) -> Result<(Vec<Waiting>, Option<(OffsetDateTime, Uuid)>), sqlx::Error> {
    // Before the rows: a delivery that gets one in between is still found.
    let mut unsent = matching_unsent(conn, filter).await?.found;
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let (mut found, end) = waiting::newest(conn, filter, Some(limit), Some(MAX_LOOKED_UP)).await?;
    unsent.retain(|one| end.is_none_or(|end| place(one) >= end));
    found.extend(without_rows(conn, unsent).await?.iter().map(Waiting::unsent));
    found.sort_by_key(|one| Reverse((one.created_at, one.key.id)));
    found.truncate(most);
    Ok((found, end))
}

fn place(one: &Unsent) -> (OffsetDateTime, Uuid) {
    (one.delivery.created_at, one.delivery.key.id)
}

/// The number of deliveries from `start` to `before`, up to `limit`, and at most `most` of them that match, newest first.
async fn slice(
    conn: &mut PgConnection,
    filter: &Filter,
    start: OffsetDateTime,
    before: (OffsetDateTime, Uuid),
    limit: i64,
    most: usize,
) -> Result<(i64, Vec<Matching>), sqlx::Error> {
    let states = filter.states();
    let rows = sqlx::query_file!(
        "src/postgres/deliveries/slice.sql",
        start,
        before.0,
        before.1,
        limit,
        filter.company,
        states.as_deref(),
        filter.endpoints.as_deref(),
        filter.event_id,
        filter.contact,
        filter.trigger,
        i64::try_from(most).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    let read = rows.first().map_or(0, |row| row.rows);
    let matching = rows.into_iter().filter_map(|row| {
        Some(Matching {
            key: Key { company: row.company?, id: row.id? },
            created_at: row.created_at?,
            state: row.state?,
            finished_at: row.finished_at,
            attempts: row.attempts?,
        })
    });
    Ok((read, matching.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_until_they_have_enough() {
        assert_eq!([0, 1, 1_000, 2_500, 5_000].map(|rows| growth(rows, false)), [8, 8, 2, 1, 1]);
        assert_eq!([0, 1].map(|rows| growth(rows, true)), [1, 8]);
    }
}
