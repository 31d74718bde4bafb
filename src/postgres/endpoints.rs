//! Webhook endpoints: the row of each, made with its first delivery, what attempts say about it, and what
//! operators see and change of it.

mod control;
mod read;

use std::{collections::BTreeSet, time::Duration};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub use control::{enable, pause, resume};
pub use read::{EndpointKey, EndpointRow, Lane, attempts, get, list, matching, states};

use super::deliveries::{ClaimedDelivery, microseconds};
use crate::{
    domain::webhook::{
        breaker::{Breaker, State},
        endpoint::{Endpoint, Terms},
    },
    settings::EndpointTerms,
};

/// Rows of a page of [`align`].
const PAGE: i64 = 1_000;

/// Makes the rows of endpoints that have none, and writes what the settings say by now into the others. In the
/// order of their ids, so that two transactions that make the same ones wait and do not lock each other out.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
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

/// Brings a page of rows in line with the settings: looks at the next ones `after` this key, in the order of keys,
/// and writes those that differ. Without a transaction around it, it locks what it writes and nothing else.
///
/// # Errors
/// When the database refuses or is away.
pub async fn align(
    conn: &mut PgConnection,
    after: Option<&EndpointKey>,
    terms: &EndpointTerms,
) -> Result<Aligned, sqlx::Error> {
    // No company's id is empty.
    let (company, id) = after.map_or(("", Uuid::nil()), |key| (&key.company, key.id));
    let rows = sqlx::query!(
        "SELECT company_id, endpoint_id, url, max_in_flight, send_interval_us FROM webhook_endpoints
         WHERE (company_id, endpoint_id) > ($1, $2) ORDER BY company_id, endpoint_id LIMIT $3",
        company,
        id,
        PAGE,
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
    let next = last.map(|row| EndpointKey { company: row.company_id, id: row.endpoint_id });
    Ok(Aligned { next, written })
}

/// What [`align`] did.
#[derive(Debug)]
pub struct Aligned {
    /// After which key to go on; `None` where no rows were left.
    pub next: Option<EndpointKey>,
    /// Rows that differed.
    pub written: u64,
}

/// What an endpoint's row has from the settings.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Limits {
    max_in_flight: i32,
    /// 0 where there is no limit.
    send_interval_us: i64,
}

impl Limits {
    fn of(terms: &Terms) -> Self {
        Self {
            max_in_flight: i32::try_from(terms.max_in_flight).unwrap_or(i32::MAX),
            send_interval_us: terms.send_interval.map_or(0, microseconds),
        }
    }
}

struct Row<'a> {
    company: &'a str,
    id: Uuid,
    url: &'a str,
    limits: Limits,
}

/// Makes these rows, or writes their limits where they differ; returns how many it made or wrote.
async fn write(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let companies: Vec<&str> = rows.iter().map(|row| row.company).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let urls: Vec<&str> = rows.iter().map(|row| row.url).collect();
    let limits: Vec<i32> = rows.iter().map(|row| row.limits.max_in_flight).collect();
    let intervals: Vec<i64> = rows.iter().map(|row| row.limits.send_interval_us).collect();
    let done = sqlx::query!(
        "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, send_interval_us)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bigint[])
             AS u(company_id, endpoint_id, url, max_in_flight, send_interval_us)
         ORDER BY u.company_id, u.endpoint_id
         ON CONFLICT (company_id, endpoint_id) DO UPDATE
         SET max_in_flight = excluded.max_in_flight, send_interval_us = excluded.send_interval_us,
             -- The slot that a slower rate gave away may be far off.
             next_slot_at = LEAST(webhook_endpoints.next_slot_at,
                 now() + excluded.send_interval_us * interval '1 microsecond')
         WHERE webhook_endpoints.max_in_flight <> excluded.max_in_flight
            OR webhook_endpoints.send_interval_us <> excluded.send_interval_us",
        &companies as &[&str],
        &ids,
        &urls as &[&str],
        &limits,
        &intervals,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// An endpoint as it stands, locked, and what is to become of it.
#[derive(Debug)]
pub struct Change {
    /// Which.
    pub key: EndpointKey,
    /// Its breaker's state before.
    pub was: State,
    /// Its breaker; to be changed.
    pub breaker: Breaker,
    /// Most requests at once of one process.
    pub most_in_flight: u32,
    /// The database's clock.
    pub now: OffsetDateTime,
    /// To be set: nothing is sent for this long.
    pub hold: Option<Duration>,
    /// To be set: it said that it is gone.
    pub is_gone: bool,
    /// To be set: it answered as it should.
    pub has_succeeded: bool,
    /// To be set: what went wrong last.
    pub error: Option<String>,
}

impl Change {
    /// How long its breaker stays open from now on.
    #[must_use]
    pub fn opens_for(&self) -> Option<Duration> {
        let open = self.breaker.state == State::Open;
        open.then(|| Duration::try_from(self.breaker.until - self.now).unwrap_or_default())
    }
}

/// Ends the wait for those of these deliveries that are probes and find nothing out, because they are not sent:
/// the next claim takes another one. Without it nobody would probe until the lease of this one ends.
///
/// # Errors
/// When the database refuses or is away.
pub async fn release_probes(
    conn: &mut PgConnection,
    deliveries: impl IntoIterator<Item = &ClaimedDelivery>,
) -> Result<(), sqlx::Error> {
    let probes = deliveries.into_iter().filter(|delivery| delivery.is_probe);
    // One order for all workers.
    let lanes: BTreeSet<(&str, Uuid)> =
        probes.map(|probe| (probe.lane.company.as_str(), probe.lane.id)).collect();
    if lanes.is_empty() {
        return Ok(());
    }
    let (companies, ids): (Vec<&str>, Vec<Uuid>) = lanes.into_iter().unzip();
    sqlx::query!(
        "UPDATE webhook_endpoints e SET breaker_until = now()
         FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, endpoint_id)
         WHERE e.company_id = k.company_id AND e.endpoint_id = k.endpoint_id AND e.breaker = 'half_open'",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the rows of these endpoints, in the order of their keys. One that has no row is left out.
///
/// # Errors
/// When the database refuses or is away.
pub async fn lock(conn: &mut PgConnection, keys: &[&EndpointKey]) -> Result<Vec<Change>, sqlx::Error> {
    let companies: Vec<&str> = keys.iter().map(|key| key.company.as_str()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|key| key.id).collect();
    let rows = sqlx::query!(
        r#"SELECT e.company_id, e.endpoint_id, e.breaker, e.breaker_until, e.openings, e.allowance, e.failures,
             e.failing_since, e.max_in_flight, now() AS "now!"
         FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, endpoint_id)
         JOIN webhook_endpoints e ON e.company_id = k.company_id AND e.endpoint_id = k.endpoint_id
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
            key: EndpointKey { company: row.company_id, id: row.endpoint_id },
            was: state,
            breaker: Breaker {
                state,
                until: row.breaker_until,
                openings: counted(row.openings),
                allowance: counted(row.allowance),
                failures: counted(row.failures),
                failing_since: row.failing_since,
            },
            most_in_flight: counted(row.max_in_flight),
            now: row.now,
            hold: None,
            is_gone: false,
            has_succeeded: false,
            error: None,
        }
    });
    Ok(changes.collect())
}

/// Writes what became of endpoints that [`lock`] gave, in the same transaction.
///
/// # Errors
/// When the database refuses or is away.
pub async fn save(conn: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let companies: Vec<&str> = changes.iter().map(|change| change.key.company.as_str()).collect();
    let ids: Vec<Uuid> = changes.iter().map(|change| change.key.id).collect();
    let states: Vec<&str> = changes.iter().map(|change| change.breaker.state.name()).collect();
    let until: Vec<OffsetDateTime> = changes.iter().map(|change| change.breaker.until).collect();
    let stored = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let openings: Vec<i32> = changes.iter().map(|change| stored(change.breaker.openings)).collect();
    let allowances: Vec<i32> = changes.iter().map(|change| stored(change.breaker.allowance)).collect();
    let failures: Vec<i32> = changes.iter().map(|change| stored(change.breaker.failures)).collect();
    let since: Vec<Option<OffsetDateTime>> =
        changes.iter().map(|change| change.breaker.failing_since).collect();
    let holds: Vec<Option<i64>> = changes.iter().map(|change| change.hold.map(microseconds)).collect();
    let gone: Vec<bool> = changes.iter().map(|change| change.is_gone).collect();
    let succeeded: Vec<bool> = changes.iter().map(|change| change.has_succeeded).collect();
    let errors: Vec<Option<&str>> = changes.iter().map(|change| change.error.as_deref()).collect();
    sqlx::query!(
        "UPDATE webhook_endpoints e
         SET breaker = u.breaker, breaker_until = u.until, openings = u.openings, allowance = u.allowance,
             failures = u.failures, failing_since = u.since,
             held_until = GREATEST(e.held_until, now() + u.hold_us * interval '1 microsecond'),
             disabled_at = CASE WHEN u.gone THEN COALESCE(e.disabled_at, now()) ELSE e.disabled_at END,
             disabled_because = CASE WHEN u.gone THEN u.error ELSE e.disabled_because END,
             last_success_at = CASE WHEN u.succeeded THEN now() ELSE e.last_success_at END,
             last_failure_at = CASE WHEN u.error IS NOT NULL THEN now() ELSE e.last_failure_at END,
             last_error = COALESCE(u.error, e.last_error)
         FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::integer[], $6::integer[],
             $7::integer[], $8::timestamptz[], $9::bigint[], $10::boolean[], $11::boolean[], $12::text[])
             AS u(company_id, endpoint_id, breaker, until, openings, allowance, failures, since, hold_us, gone,
                 succeeded, error)
         WHERE e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id",
        &companies as &[&str],
        &ids,
        &states as &[&str],
        &until,
        &openings,
        &allowances,
        &failures,
        &since as &[Option<OffsetDateTime>],
        &holds as &[Option<i64>],
        &gone,
        &succeeded,
        &errors as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
