//! Writes the limits of endpoints from the settings into their rows, once, before the first claim, so that
//! pending deliveries are sent under the current settings. Worker 1 writes the limits of new endpoints.

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    health::Health,
    postgres::{Database, endpoints},
    settings::EndpointTerms,
    workers::{component::WEBHOOK_WORKER, retry},
};

/// Goes through all rows, a page at a time, and waits for the database where necessary. `false` when stopped:
/// the next process writes the rest.
pub(super) async fn align(
    database: &Database,
    terms: &EndpointTerms,
    health: &Health,
    stop: &CancellationToken,
) -> bool {
    let (mut last, mut written) = (None, 0);
    loop {
        let key = last.as_ref();
        let unit = || database.unit(async move |conn| endpoints::align(conn, key, terms).await);
        let page = retry::until_answered(WEBHOOK_WORKER, health, stop, unit);
        // A stop also cancels a page midway: a row may stay locked for a long time, and writing it twice does
        // no harm.
        let Some(Some(page)) = stop.run_until_cancelled(page).await else { return false };
        written += page.written;
        if page.next.is_none() {
            break;
        }
        last = page.next;
    }
    if written > 0 {
        info!(component = WEBHOOK_WORKER, endpoints = written, "updated the limits of {written} endpoints");
    }
    true
}
