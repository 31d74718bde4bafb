//! Webhook endpoints. Each has a row from its first delivery on, with the state of its lane: workers update it after
//! attempts, operators list and change it.

mod control;
mod read;

use std::{collections::BTreeSet, time::Duration};

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

pub use control::{enable, pause, resume};
pub use read::{EndpointRow, Lane, get, list, matching, states};

use super::columns::{column, interval, key_columns};
use crate::{
    domain::{
        event::Key,
        webhook::{
            breaker::{Breaker, State},
            endpoint::{Endpoint, Terms},
        },
    },
    settings::EndpointTerms,
};

/// Maximum number of rows that [`align`] reads.
const PAGE_SIZE: i64 = 1_000;

/// Inserts the rows of new endpoints, and updates the limits of the others to the settings. In the order of their
/// keys, so that two transactions with the same endpoints wait for each other without a deadlock.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn register(conn: &mut PgConnection, endpoints: &[(&Endpoint, Terms)]) -> Result<(), sqlx::Error> {
    let endpoints = endpoints.iter().map(|(endpoint, terms)| Row {
        company: endpoint.company().as_str(),
        id: endpoint.id(),
        url: endpoint.url(),
        limits: Limits::of(terms),
    });
    write(conn, &endpoints.collect::<Vec<_>>()).await?;
    Ok(())
}

/// Updates the limits in the next page of rows, those `after` this key in the order of keys, to the settings.
/// Writes only rows that differ. Call it outside a transaction, so that it locks only those.
///
/// # Errors
/// When the database fails.
pub async fn align(
    conn: &mut PgConnection,
    after: Option<&Key>,
    terms: &EndpointTerms,
) -> Result<Aligned, sqlx::Error> {
    // Sorts before every key: a company id is not empty.
    let (company, id) = after.map_or(("", Uuid::nil()), |key| (&key.company, key.id));
    let rows = sqlx::query!(
        "SELECT company_id, endpoint_id, url, max_in_flight, send_interval_us FROM webhook_endpoints
         WHERE (company_id, endpoint_id) > ($1, $2) ORDER BY company_id, endpoint_id LIMIT $3",
        company,
        id,
        PAGE_SIZE,
    )
    .fetch_all(&mut *conn)
    .await?;
    let differing = rows.iter().filter_map(|row| {
        let limits = Limits::of(&terms.of(&row.company_id, &row.url));
        let stored = Limits { max_in_flight: row.max_in_flight, send_interval_us: row.send_interval_us };
        (limits != stored).then(|| Row {
            company: &row.company_id,
            id: row.endpoint_id,
            url: &row.url,
            limits,
        })
    });
    let written = write(conn, &differing.collect::<Vec<_>>()).await?;
    let last = rows.into_iter().last();
    let next = last.map(|row| Key { company: row.company_id, id: row.endpoint_id });
    Ok(Aligned { next, written })
}

/// The result of [`align`].
#[derive(Debug)]
pub struct Aligned {
    /// The key after which the next page begins; `None` at the end.
    pub next: Option<Key>,
    /// How many rows differed.
    pub written: u64,
}

/// The columns that copy the settings.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Limits {
    max_in_flight: i32,
    /// 0 without a rate limit.
    send_interval_us: i64,
}

impl Limits {
    fn of(terms: &Terms) -> Self {
        Self {
            max_in_flight: i32::try_from(terms.max_in_flight).unwrap_or(i32::MAX),
            send_interval_us: terms.send_interval.map_or(0, |wait| interval(wait).microseconds),
        }
    }
}

struct Row<'a> {
    company: &'a str,
    id: Uuid,
    url: &'a str,
    limits: Limits,
}

/// Inserts rows, or updates their limits if they differ. Returns how many rows it wrote.
async fn write(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "INSERT INTO webhook_endpoints AS e (company_id, endpoint_id, url, max_in_flight, send_interval_us)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bigint[])
             AS u(company_id, endpoint_id, url, max_in_flight, send_interval_us)
         ORDER BY u.company_id, u.endpoint_id
         ON CONFLICT (company_id, endpoint_id) DO UPDATE
         SET max_in_flight = excluded.max_in_flight, send_interval_us = excluded.send_interval_us,
             -- The next slot of a slower rate may be far away.
             next_slot_at = least(e.next_slot_at, now() + excluded.send_interval_us * interval '1 microsecond')
         WHERE e.max_in_flight <> excluded.max_in_flight OR e.send_interval_us <> excluded.send_interval_us",
        &column(rows, |row| row.company) as &[&str],
        &column(rows, |row| row.id),
        &column(rows, |row| row.url) as &[&str],
        &column(rows, |row| row.limits.max_in_flight),
        &column(rows, |row| row.limits.send_interval_us),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The state of a locked endpoint, and the changes to be saved.
#[derive(Debug)]
pub struct Change {
    /// The endpoint.
    pub key: Key,
    /// The state of its breaker when it was locked.
    pub was: State,
    /// Its breaker, to be changed.
    pub breaker: Breaker,
    /// Maximum number of concurrent requests of one process.
    pub max_in_flight: u32,
    /// The database's `now()`.
    pub now: OffsetDateTime,
    /// To be set: the receiver's `Retry-After`.
    pub hold: Option<Duration>,
    /// To be set: it answered 410 Gone.
    pub is_gone: bool,
    /// To be set: it accepts requests.
    pub has_succeeded: bool,
    /// To be set: the last error.
    pub error: Option<String>,
}

impl Change {
    /// How long its breaker stays open; `None` if it is not open.
    #[must_use]
    pub fn opens_for(&self) -> Option<Duration> {
        let open = self.breaker.state == State::Open;
        open.then(|| Duration::try_from(self.breaker.until - self.now).unwrap_or_default())
    }
}

/// Lets the next claim probe these endpoints, because their probe is not sent after all. Without this, no worker would
/// probe them until the lease of that probe expires.
///
/// # Errors
/// When the database fails.
pub async fn release_probes<'a>(
    conn: &mut PgConnection,
    endpoints: impl IntoIterator<Item = &'a Key>,
) -> Result<(), sqlx::Error> {
    // All workers lock endpoints in this order.
    let endpoints: BTreeSet<&Key> = endpoints.into_iter().collect();
    if endpoints.is_empty() {
        return Ok(());
    }
    let (companies, ids) = key_columns(endpoints);
    sqlx::query!(
        "UPDATE webhook_endpoints e SET breaker_until = now()
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
         WHERE e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id AND e.breaker = 'half_open'",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks endpoints, in the order of their keys. Leaves out keys that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn lock(conn: &mut PgConnection, keys: &[&Key]) -> Result<Vec<Change>, sqlx::Error> {
    let (companies, ids) = key_columns(keys.iter().copied());
    let rows = sqlx::query!(
        r#"SELECT e.company_id, e.endpoint_id, e.breaker, e.breaker_until, e.openings, e.allowance, e.failures,
             e.failing_since, e.max_in_flight, now() AS "now!"
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
         JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
         ORDER BY e.company_id, e.endpoint_id FOR UPDATE OF e"#,
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let counted = |number: i32| u32::try_from(number).unwrap_or_default();
    let changes = rows.into_iter().map(|row| {
        // The schema allows no other state.
        let state = row.breaker.parse().unwrap_or(State::Closed);
        Change {
            key: Key { company: row.company_id, id: row.endpoint_id },
            was: state,
            breaker: Breaker {
                state,
                until: row.breaker_until,
                openings: counted(row.openings),
                allowance: counted(row.allowance),
                failures: counted(row.failures),
                failing_since: row.failing_since,
            },
            max_in_flight: counted(row.max_in_flight),
            now: row.now,
            hold: None,
            is_gone: false,
            has_succeeded: false,
            error: None,
        }
    });
    Ok(changes.collect())
}

/// Saves changes of endpoints that [`lock`] returned in the same transaction.
///
/// # Errors
/// When the database fails.
pub async fn save(conn: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let stored = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    sqlx::query!(
        "UPDATE webhook_endpoints e
         SET breaker = u.breaker, breaker_until = u.until, openings = u.openings, allowance = u.allowance,
             failures = u.failures, failing_since = u.since,
             held_until = greatest(e.held_until, now() + u.hold),
             disabled_at = CASE WHEN u.gone THEN coalesce(e.disabled_at, now()) ELSE e.disabled_at END,
             disabled_because = CASE WHEN u.gone THEN u.error ELSE e.disabled_because END,
             last_success_at = CASE WHEN u.succeeded THEN now() ELSE e.last_success_at END,
             last_failure_at = CASE WHEN u.error IS NOT NULL THEN now() ELSE e.last_failure_at END,
             last_error = coalesce(u.error, e.last_error)
         FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::integer[], $6::integer[],
             $7::integer[], $8::timestamptz[], $9::interval[], $10::boolean[], $11::boolean[], $12::text[])
             AS u(company_id, endpoint_id, breaker, until, openings, allowance, failures, since, hold, gone,
                 succeeded, error)
         WHERE e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id",
        &column(changes, |change| change.key.company.as_str()) as &[&str],
        &column(changes, |change| change.key.id),
        &column(changes, |change| change.breaker.state.name()) as &[&str],
        &column(changes, |change| change.breaker.until),
        &column(changes, |change| stored(change.breaker.openings)),
        &column(changes, |change| stored(change.breaker.allowance)),
        &column(changes, |change| stored(change.breaker.failures)),
        &column(changes, |change| change.breaker.failing_since) as &[Option<OffsetDateTime>],
        &column(changes, |change| change.hold.map(interval)) as &[Option<PgInterval>],
        &column(changes, |change| change.is_gone),
        &column(changes, |change| change.has_succeeded),
        &column(changes, |change| change.error.as_deref()) as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
