//! Lists dead letters, optionally those with a text in their message, trigger or event id.
//!
//! No index finds a substring: it would cost every dead letter more than its row. So a search reads a limited number
//! of the dead letters that match otherwise, newest first, and continues from there on request.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    filter::{Filter, Parameters, State},
    read::{Summary, list_of_kind},
    without_nul,
};
use crate::{
    domain::fault::{Reason, Stage},
    postgres::planning,
};

/// Dead letters that one search reads.
const MAX_SEARCHED: i64 = 10_000;

/// Where a search ended before the last dead letter.
type End = (OffsetDateTime, Uuid);

/// At most `limit` of the dead letters that match, newest first, from the one after `before`, and where the search for a text
/// stopped, if it had read enough before the last one.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<(Vec<Summary>, Option<End>), sqlx::Error> {
    let (unsettled, settled): (Vec<State>, Vec<State>) =
        filter.states.iter().partition(|state| State::UNSETTLED.contains(state));
    // Each kind has its own index.
    let (mut found, mut end) = (Vec::new(), None);
    for states in [unsettled, settled].into_iter().filter(|states| !states.is_empty()) {
        let filter = Filter { states, ..filter.clone() };
        if filter.text.is_some() {
            let (more, ended) = of_kind(conn, &filter, before, limit).await?;
            found.extend(more);
            // Older ones have not been searched in both.
            end = end.max(ended);
        } else {
            found.extend(list_of_kind(conn, &filter, before, limit).await?);
        }
    }
    found.retain(|row| end.is_none_or(|end| (row.last_seen_at, row.id) >= end));
    found.sort_by_key(|row| std::cmp::Reverse((row.last_seen_at, row.id)));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok((found, end))
}

/// At most `limit` of the dead letters that match, newest first, after `before`, and where the search stopped, if it did. The
/// states of the filter are all unsettled ones, or all settled ones.
async fn of_kind(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<(Vec<Summary>, Option<End>), sqlx::Error> {
    let Parameters { states, unsettled, signature, text } = filter.parameters();
    let (before_at, before_id) = before.unzip();
    let mut transaction = planning::for_arguments(conn).await?;
    let rows = sqlx::query_file!(
        "src/postgres/dead_letters/search.sql",
        filter.reason.map(Reason::name),
        filter.stage.map(Stage::name),
        filter.company.as_deref().map(without_nul),
        filter.trigger.as_deref().map(without_nul),
        filter.since,
        &states as &[&str],
        filter.until,
        filter.endpoint,
        filter.event_id.as_deref().map(without_nul),
        signature,
        unsettled,
        before_at,
        before_id,
        MAX_SEARCHED,
        text,
        limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let end = rows.first().and_then(|row| Some((row.ended_at?, row.ended_id?)));
    let found = rows.into_iter().filter_map(|row| {
        Some(Summary {
            id: row.id?,
            reason: row.reason?,
            stage: row.stage?,
            state: row.state?,
            company: row.company?,
            trigger: row.trigger,
            event_id: row.event_id,
            attempts: row.attempts?,
            replays: row.replays?,
            first_seen_at: row.first_seen_at?,
            last_seen_at: row.last_seen_at?,
            message: row.message?,
            endpoint_id: row.endpoint_id,
            signature: row.signature?,
        })
    });
    Ok((found.collect(), end))
}
