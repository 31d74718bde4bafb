//! One endpoint with all details.

use std::{cmp::Reverse, collections::BTreeMap};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Endpoint, ResolveError, Terms};
use crate::{
    domain::event::Key,
    operator::documents::Documents,
    postgres::{
        Database,
        attempts::{self, Attempt},
        clock,
        deliveries::{self, Matching},
        endpoints as store,
    },
    settings::Webhook,
};

/// How far back the deliveries of an endpoint are counted.
const RECENT: time::Duration = time::Duration::DAY;

/// Deliveries whose attempts are shown, at most.
const ENDED: usize = 20;

/// One endpoint with all details.
#[derive(Clone)]
pub struct Shown {
    /// Its line of a listing.
    pub endpoint: Endpoint,
    /// The settings that apply to it.
    pub terms: Terms,
    /// Number of deliveries by state, of the last 24 hours, or of less if there were too many to look at all of them.
    pub states: BTreeMap<String, u64>,
    /// Since when they were created.
    pub states_since: OffsetDateTime,
    /// The last attempts, newest first.
    pub attempts: Vec<Attempt>,
}

/// One endpoint with all details.
///
/// # Errors
/// When it no longer exists, or the database fails.
pub async fn show(database: &Database, settings: &Webhook, key: &Key) -> Result<Shown, ResolveError> {
    let read = async |conn: &mut PgConnection| {
        let row = store::get(conn, key).await?;
        let now = clock::now(conn).await?;
        let filter = deliveries::Filter {
            company: Some(key.company.clone()),
            endpoints: Some(vec![key.id]),
            ..deliveries::Filter::default()
        };
        let recent =
            deliveries::by_slices(conn, &filter, now, now.saturating_sub(RECENT), usize::MAX).await?;
        let mut attempts = attempts::of_endpoint(conn, key, &ended_last(&recent.found)).await?;
        hide(conn, key, &mut attempts).await?;
        Ok::<_, sqlx::Error>((row, recent, attempts))
    };
    let (row, recent, attempts) = database.unit(read).await?;
    let endpoint = Endpoint::new(row.ok_or(ResolveError::Unknown)?);
    let terms = Terms::of(settings, &endpoint.company, &endpoint.url);
    let mut states = BTreeMap::new();
    for one in recent.found {
        *states.entry(one.state).or_default() += 1;
    }
    Ok(Shown { endpoint, terms, states, states_since: recent.searched_to, attempts })
}

/// Masks identity documents that receivers have sent back.
async fn hide(conn: &mut PgConnection, key: &Key, attempts: &mut [Attempt]) -> Result<(), sqlx::Error> {
    let of: Vec<Uuid> = attempts.iter().map(|attempt| attempt.delivery_id).collect();
    let documents = Documents::new(&deliveries::documents(conn, &key.company, None, &of).await?);
    for body in attempts.iter_mut().filter_map(|attempt| attempt.response_body.as_mut()) {
        *body = documents.hide(body).into_owned();
    }
    Ok(())
}

/// Those that had the last attempts, by id and time of creation.
fn ended_last(recent: &[Matching]) -> Vec<(Uuid, OffsetDateTime)> {
    let mut ended: Vec<&Matching> =
        recent.iter().filter(|one| one.finished_at.is_some() && one.attempts > 0).collect();
    ended.sort_by_key(|one| Reverse(one.finished_at));
    ended.into_iter().take(ENDED).map(|one| (one.key.id, one.created_at)).collect()
}
