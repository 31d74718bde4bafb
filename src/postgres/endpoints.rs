//! Webhook endpoints. Each has a row from its first delivery on, with the state of its lane: workers update it after
//! attempts, operators list and change it.

mod control;
mod idle;
mod read;
mod schedule;
pub(in crate::postgres) mod state;

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

pub use control::{enable, pause, resume};
pub use idle::{Removed, delete_idle};
pub use read::{EndpointRow, Lane, get, matching, page, page_in_states};
pub use schedule::{
    BUCKETS, ClaimLimits, claim, lanes, next_due, release, release_forgotten, release_owned, save_slots,
    schedule,
};
pub use state::{ClaimedLane, LaneRow};

use super::{
    columns::{column, interval, key_columns},
    free::query_free,
};
use crate::{
    domain::{
        event::Key,
        webhook::{
            breaker::{Breaker, State},
            endpoint::Terms,
        },
    },
    settings::EndpointTerms,
};

/// Maximum number of rows that [`align`] reads.
const PAGE_SIZE: i64 = 1_000;

/// The row of an endpoint, as the settings want it.
pub struct Registration<'a> {
    /// Company and endpoint.
    pub key: Key,
    /// Its address as written.
    pub url: &'a str,
    /// Its terms.
    pub terms: Terms,
}

/// Inserts the rows of new endpoints, and notes that the others are used. In the order of their keys, and without locking
/// those that were used within an hour, so that two transactions with the same endpoints wait for each other without a
/// deadlock. Until the transaction ends, retention removes none of them.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn register(conn: &mut PgConnection, endpoints: &[Registration<'_>]) -> Result<(), sqlx::Error> {
    if endpoints.is_empty() {
        return Ok(());
    }
    let limits = column(endpoints, |one| Limits::of(&one.terms));
    // First: the next statement sees whether retention was faster.
    let (companies, ids) = key_columns(endpoints.iter().map(|one| &one.key));
    sqlx::query!(
        "WITH locked AS MATERIALIZED (
             SELECT e.company_id, e.endpoint_id FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
             JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
             WHERE e.used_at < now() - interval '1 hour'
             ORDER BY e.company_id, e.endpoint_id FOR UPDATE OF e)
         UPDATE webhook_endpoints e SET used_at = now()
         FROM locked WHERE e.company_id = locked.company_id AND e.endpoint_id = locked.endpoint_id",
        &companies as &[&str],
        &ids,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, send_interval_us)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bigint[])
             AS u(company_id, endpoint_id, url, max_in_flight, send_interval_us)
         ORDER BY u.company_id, u.endpoint_id
         ON CONFLICT DO NOTHING",
        &column(endpoints, |one| one.key.company.as_str()) as &[&str],
        &column(endpoints, |one| one.key.id),
        &column(endpoints, |one| one.url) as &[&str],
        &column(&limits, |limits| limits.max_in_flight),
        &column(&limits, |limits| limits.send_interval_us),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of these endpoints whose row somebody else has locked. Waits for nobody.
///
/// # Errors
/// When the database fails.
pub async fn locked<'a>(
    conn: &mut PgConnection,
    keys: impl IntoIterator<Item = &'a Key>,
) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    query_free!(
        "endpoint_id",
        "",
        "UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
         JOIN webhook_endpoints r ON r.company_id = u.company_id AND r.endpoint_id = u.endpoint_id
         WHERE true",
        "",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await
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
        (limits != stored).then(|| Row { company: &row.company_id, id: row.endpoint_id, limits })
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
    limits: Limits,
}

/// Updates the limits of rows. Returns how many rows it wrote.
async fn write(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "WITH locked AS MATERIALIZED (
             SELECT e.company_id, e.endpoint_id, u.max_in_flight, u.send_interval_us
             FROM UNNEST($1::text[], $2::uuid[], $3::integer[], $4::bigint[])
                 AS u(company_id, endpoint_id, max_in_flight, send_interval_us)
             JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
             ORDER BY e.company_id, e.endpoint_id FOR UPDATE OF e)
         UPDATE webhook_endpoints e
         SET max_in_flight = u.max_in_flight, send_interval_us = u.send_interval_us,
             -- The next slot of a slower rate may be far away.
             next_slot_at = least(e.next_slot_at, now() + u.send_interval_us * interval '1 microsecond'),
             next_due_at = now()
         FROM locked u WHERE e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id",
        &column(rows, |row| row.company) as &[&str],
        &column(rows, |row| row.id),
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
    /// It had no failures when it was locked.
    pub had_no_failures: bool,
    /// Its breaker, to be changed.
    pub breaker: Breaker,
    /// Maximum number of concurrent requests.
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
        let breaker = Breaker {
            state,
            until: row.breaker_until,
            openings: counted(row.openings),
            allowance: counted(row.allowance),
            failures: counted(row.failures),
            failing_since: row.failing_since,
        };
        Change {
            key: Key { company: row.company_id, id: row.endpoint_id },
            was: state,
            had_no_failures: breaker.has_no_failures(),
            breaker,
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
             last_error = coalesce(u.error, e.last_error),
             -- A late success opens the lane earlier than it was scheduled.
             next_due_at = CASE WHEN e.breaker = 'open' AND u.breaker <> 'open' THEN least(e.next_due_at, now())
                 ELSE e.next_due_at END
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
