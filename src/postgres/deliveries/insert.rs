//! Inserts deliveries: those that wait, and those whose first attempt has ended.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    State,
    record::{log, milliseconds, next_state, response_body},
    write_headers,
};
use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::{Next, Outcome},
            delivery::Delivery,
        },
    },
    postgres::{
        columns::{column, interval, key_columns},
        endpoints,
    },
};

/// A delivery that has no row yet.
pub struct NewDelivery<'a> {
    /// The delivery.
    pub delivery: &'a Delivery,
    /// Its first attempt; `None` if it was not attempted.
    pub first: Option<First<'a>>,
}

/// The first attempt of a delivery.
pub struct First<'a> {
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// What happens to the delivery next.
    pub next: &'a Next,
}

impl NewDelivery<'_> {
    fn state(&self) -> State {
        self.first.as_ref().map_or(State::Pending, |first| next_state(first.next))
    }

    /// The attempt, if it is kept on the row.
    fn kept(&self) -> Option<&First<'_>> {
        self.first.as_ref().filter(|first| *first.next == Next::Delivered)
    }

    /// Attempts that the retry schedule does not count.
    fn uncounted(&self) -> i32 {
        self.first
            .as_ref()
            .map_or(0, |first| i32::from(matches!(first.next, Next::Retry { counted: false, .. })))
    }

    fn delay(&self) -> Duration {
        match self.first.as_ref().map(|first| first.next) {
            Some(Next::Retry { after, .. }) => *after,
            _ => Duration::ZERO,
        }
    }
}

/// Inserts deliveries with their first attempts, and schedules the lanes of those that wait: due at once, after the
/// wait for a retry, or at the end of the digest window.
///
/// Plain inserts, which cost half of those that check for a conflict first. A row that already exists is a unique
/// violation, and the caller starts over without it, see [`existing`].
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert(conn: &mut PgConnection, rows: &[NewDelivery<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    insert_rows(conn, rows).await?;
    let logged = rows.iter().filter(|row| row.kept().is_none());
    let logged = logged.filter_map(|row| {
        let first = row.first.as_ref()?;
        Some((row.delivery, first.started_at, first.outcome))
    });
    log(conn, &logged.collect::<Vec<_>>()).await?;
    let waiting: Vec<&NewDelivery<'_>> = rows.iter().filter(|row| row.state() == State::Pending).collect();
    wait(conn, &waiting).await
}

async fn insert_rows(conn: &mut PgConnection, rows: &[NewDelivery<'_>]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
             trigger_name, contact_id, contact_version, traceparent, tracestate, endpoint_id, method, url, headers,
             body, fault, newest_only, awaited, digest, state, attempts, last_status, last_error, started_at,
             duration_ms, connect_ms, answer_ms, response_body, finished_at)
         SELECT u.*, CASE WHEN u.state <> 'pending' THEN now() END
         FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::smallint[], $6::text[], $7::text[],
             $8::text[], $9::uuid[], $10::bigint[], $11::text[], $12::text[], $13::uuid[], $14::text[], $15::text[],
             $16::text[], $17::bytea[], $18::text[], $19::boolean[], $20::boolean[], $21::boolean[], $22::text[],
             $23::integer[], $24::integer[], $25::text[], $26::timestamptz[], $27::integer[], $28::integer[],
             $29::integer[], $30::bytea[])
             AS u(company_id, delivery_id, created_at, event_key, step, source, event_id, trigger_name, contact_id,
                 contact_version, traceparent, tracestate, endpoint_id, method, url, headers, body, fault,
                 newest_only, awaited, digest, state, attempts, last_status, last_error, started_at, duration_ms,
                 connect_ms, answer_ms, response_body)",
        &column(rows, |row| row.delivery.key.company.as_str()) as &[&str],
        &column(rows, |row| row.delivery.key.id),
        &column(rows, |row| row.delivery.created_at),
        &column(rows, |row| row.delivery.event_key),
        &column(rows, |row| i16::try_from(row.delivery.step).unwrap_or(i16::MAX)),
        &column(rows, |row| row.delivery.source.as_str()) as &[&str],
        &column(rows, |row| row.delivery.event_id.as_str()) as &[&str],
        &column(rows, |row| row.delivery.trigger.as_str()) as &[&str],
        &column(rows, |row| row.delivery.contact.map(|(contact, _)| contact.0)) as &[Option<Uuid>],
        &column(rows, |row| row.delivery.contact.map(|(_, version)| version)) as &[Option<i64>],
        &column(rows, |row| row.delivery.trace.traceparent()) as &[Option<&str>],
        &column(rows, |row| row.delivery.trace.tracestate()) as &[Option<&str>],
        &column(rows, |row| row.delivery.endpoint_id),
        &column(rows, |row| row.delivery.request.method.name()) as &[&str],
        &column(rows, |row| row.delivery.request.url.as_str()) as &[&str],
        &column(rows, |row| write_headers(&row.delivery.request)),
        &column(rows, |row| row.delivery.request.body.as_deref()) as &[Option<&[u8]>],
        &column(rows, |row| row.delivery.fault.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.delivery.newest_only),
        &column(rows, |row| row.delivery.awaited),
        &column(rows, |row| row.delivery.digest_window.is_some()),
        &column(rows, |row| row.state().name()) as &[&str],
        &column(rows, |row| i32::from(row.first.is_some())),
        &column(rows, |row| row.first.as_ref()?.outcome.status.map(i32::from)) as &[Option<i32>],
        &column(rows, |row| row.first.as_ref()?.outcome.error.as_deref()) as &[Option<&str>],
        &column(rows, |row| Some(row.kept()?.started_at)) as &[Option<OffsetDateTime>],
        &column(rows, |row| Some(milliseconds(row.kept()?.outcome.duration))) as &[Option<i32>],
        &column(rows, |row| row.kept()?.outcome.timing.connect.map(milliseconds)) as &[Option<i32>],
        &column(rows, |row| row.kept()?.outcome.timing.answer.map(milliseconds)) as &[Option<i32>],
        &column(rows, |row| response_body(row.kept()?.outcome)) as &[Option<&[u8]>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Inserts the pending rows, and schedules their lanes.
async fn wait(conn: &mut PgConnection, rows: &[&NewDelivery<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let due = sqlx::query!(
        r#"INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
             round_started_at, contact_id, contact_version)
         SELECT u.company_id, u.delivery_id, u.created_at, u.endpoint_id,
             CASE WHEN u.digest_window IS NULL THEN now() + u.delay
                  ELSE date_bin(u.digest_window, now(), 'epoch') + u.digest_window END,
             u.attempts, u.schedule_from, now(), u.contact_id, u.contact_version
         FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::interval[], $6::interval[],
             $7::integer[], $8::integer[], $9::uuid[], $10::bigint[])
             AS u(company_id, delivery_id, created_at, endpoint_id, digest_window, delay, attempts, schedule_from,
                 contact_id, contact_version)
         RETURNING company_id, endpoint_id, due_at"#,
        &column(rows, |row| row.delivery.key.company.as_str()) as &[&str],
        &column(rows, |row| row.delivery.key.id),
        &column(rows, |row| row.delivery.created_at),
        &column(rows, |row| row.delivery.endpoint_id),
        // Only the first attempt waits for the digest.
        &column(rows, |row| row.delivery.digest_window.map(interval).filter(|_| row.first.is_none()))
            as &[Option<PgInterval>],
        &column(rows, |row| interval(row.delay())),
        &column(rows, |row| i32::from(row.first.is_some())),
        &column(rows, |row| row.uncounted()),
        &column(rows, |row| row.delivery.contact.filter(|_| row.delivery.newest_only).map(|(contact, _)| contact.0))
            as &[Option<Uuid>],
        &column(rows, |row| row.delivery.contact.filter(|_| row.delivery.newest_only).map(|(_, version)| version))
            as &[Option<i64>],
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut lanes = BTreeMap::new();
    for row in due {
        let lane = Key { company: row.company_id, id: row.endpoint_id };
        lanes
            .entry(lane)
            .and_modify(|at: &mut OffsetDateTime| *at = row.due_at.min(*at))
            .or_insert(row.due_at);
    }
    endpoints::schedule(conn, &lanes).await
}

/// The keys of those of these deliveries that have a row.
///
/// # Errors
/// When the database fails.
pub async fn existing<'a>(
    conn: &mut PgConnection,
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> Result<HashSet<Key>, sqlx::Error> {
    let deliveries: Vec<&Delivery> = deliveries.into_iter().collect();
    let (companies, ids) = key_columns(deliveries.iter().map(|delivery| &delivery.key));
    let keys = sqlx::query_as!(
        Key,
        "SELECT d.company_id AS company, d.delivery_id AS id
         FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[]) AS u(company_id, delivery_id, created_at)
         JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
             AND d.created_at = u.created_at",
        &companies as &[&str],
        &ids,
        &column(&deliveries, |delivery| delivery.created_at),
    )
    .fetch_all(conn)
    .await?;
    Ok(keys.into_iter().collect())
}
