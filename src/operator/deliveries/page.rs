//! Pages of the listing of deliveries.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Filter, Listed};
use crate::{
    operator::paging::{Cursor, Page},
    postgres::{
        Database, clock,
        deliveries::{self as store, Waiting},
        effects::search::Searched,
    },
};

/// A page of deliveries. It may have few rows or none and still a `next`: a search stops after a number of rows.
pub struct Found {
    /// The page.
    pub page: Page<Listed>,
    /// Whether all that wait for their first attempt could be searched.
    pub is_complete: bool,
}

/// At most `limit` of the deliveries that match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn page(database: &Database, filter: &Filter, limit: u32) -> Result<Found, sqlx::Error> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let read = async |conn: &mut PgConnection| {
        let since = filter.since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let now = clock::now(conn).await?;
        store::search(conn, filter, now, since, most).await
    };
    let (Searched { found, is_complete }, ended) = database.unit(read).await?;
    let of = |one: &Listed| Cursor::new(one.summary.created_at, one.summary.id);
    let mut page = Page::of(found.into_iter().map(Listed::new).collect(), limit, of);
    page.next = page.next.or_else(|| ended.map(|(at, id)| Cursor::new(at, id)));
    Ok(Found { page, is_complete })
}

/// At most `limit` of the pending deliveries that match, in the order of [`page`].
///
/// # Errors
/// When the database fails.
pub(in crate::operator) async fn waiting(
    database: &Database,
    filter: &Filter,
    limit: u32,
) -> Result<Page<Waiting>, sqlx::Error> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let read = async |conn: &mut PgConnection| store::search_waiting(conn, filter, most).await;
    let (found, ended) = database.unit(read).await?;
    let mut page = Page::of(found, limit, |one| Cursor::new(one.created_at, one.key.id));
    page.next = page.next.or_else(|| ended.map(|(at, id)| Cursor::new(at, id)));
    Ok(page)
}
