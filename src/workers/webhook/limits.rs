//! The limits of endpoints, from the settings into their rows: once, before the first claim, so that what waits
//! already is sent as the settings say by now. Endpoints that are made later get theirs from worker 1.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::PART;
use crate::{
    health::Health,
    postgres::{Database, endpoints},
    settings::EndpointTerms,
    telemetry::chain,
    workers::backoff::Backoff,
};

/// Goes through all rows, a page at a time, for as long as it takes the database to be there. `false` when stopped:
/// whatever was not written then is written by the next process.
pub(super) async fn align(
    database: &Database,
    terms: &EndpointTerms,
    health: &Health,
    stop: &CancellationToken,
) -> bool {
    let mut backoff = Backoff::default();
    let (mut after, mut written) = (None, 0);
    loop {
        let page = database.unit(async |conn| endpoints::align(conn, after.as_ref(), terms).await);
        // Cut off in the middle, too: a row may be locked for long, and what a page writes can be written again.
        match stop.run_until_cancelled(page).await {
            None => return false,
            Some(Ok(page)) => {
                backoff.reset();
                written += page.written;
                if page.next.is_none() {
                    break;
                }
                after = page.next;
            }
            Some(Err(error)) => {
                let error = chain(&error);
                warn!(error, "{PART} waits for the database");
                health.failing(PART, format!("database: {error}"));
                if !backoff.wait(stop).await {
                    return false;
                }
            }
        }
    }
    if written > 0 {
        info!(endpoints = written, "{PART} has written the limits that have changed, of {written} endpoints");
    }
    true
}
