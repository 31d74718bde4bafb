//! Records attempts: the attempt itself, and the next state of its delivery.

use std::{collections::HashSet, time::Duration};

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ClaimedDelivery, State};
use crate::{
    domain::{
        event::Key,
        webhook::attempt::{Next, Outcome},
    },
    postgres::columns::{column, interval},
};

/// A finished attempt and its consequence.
#[derive(Debug)]
pub struct Recorded {
    /// The delivery as it was claimed.
    pub delivery: ClaimedDelivery,
    /// When the attempt began.
    pub started_at: OffsetDateTime,
    /// How it ended.
    pub outcome: Outcome,
    /// The next step of the delivery.
    pub next: Next,
}

/// Records attempts in the caller's transaction, in one statement. Each delivery is in the batch at most once.
///
/// Returns the deliveries whose lease was lost to another worker or an operator: they stay as they are, and their
/// outcome is not recorded.
///
/// # Errors
/// When the database fails; the call can be repeated after a rollback.
pub async fn record(conn: &mut PgConnection, batch: &[Recorded]) -> Result<Vec<Key>, sqlx::Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let held = update(conn, batch).await?;
    let is_lost = |delivery: &&ClaimedDelivery| {
        let Key { company, id } = &delivery.key;
        !held.contains(&(company.clone(), *id, delivery.lease_token))
    };
    let lost = batch.iter().map(|entry| &entry.delivery).filter(is_lost);
    Ok(lost.map(|delivery| delivery.key.clone()).collect())
}

/// Writes attempts and states. Returns the claims (company, delivery, token) that still held their lease.
///
/// Each step of the statement passes every value on, so no step joins two lists. IS NOT DISTINCT FROM keeps the
/// planner from walking the index of all pending deliveries, which it may use for `=` in place of the primary key.
async fn update(
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<HashSet<(String, Uuid, Uuid)>, sqlx::Error> {
    let batch = in_lock_order(batch);
    let rows = sqlx::query!(
        r#"WITH done AS (
               UPDATE webhook_deliveries d
               SET state = u.state, attempts = d.attempts + 1,
                   schedule_from = d.schedule_from + u.uncounted::integer, lease_token = NULL,
                   last_status = u.status, last_error = u.error, next_attempt_at = now() + u.delay,
                   finished_at = CASE WHEN u.state <> 'pending' THEN now() END
               FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::integer[], $6::text[],
                   $7::integer[], $8::text[], $9::bytea[], $10::text[], $11::interval[], $12::boolean[],
                   $13::integer[], $14::integer[])
                   AS u(company_id, delivery_id, token, started_at, duration_ms, outcome, status, error,
                       response_body, state, delay, uncounted, connect_ms, answer_ms)
               WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.lease_token = u.token
                   AND d.state IS NOT DISTINCT FROM 'pending'
               RETURNING d.attempts AS attempt, u.*),
           logged AS (
               INSERT INTO webhook_attempts (company_id, delivery_id, attempt, started_at, duration_ms, outcome,
                   status, error, response_body, connect_ms, answer_ms)
               SELECT company_id, delivery_id, attempt, started_at, duration_ms, outcome, status, error,
                   response_body, connect_ms, answer_ms
               FROM done)
           SELECT company_id AS "company_id!", delivery_id AS "delivery_id!", token AS "token!" FROM done"#,
        &column(&batch, |entry| entry.delivery.key.company.as_str()) as &[&str],
        &column(&batch, |entry| entry.delivery.key.id),
        &column(&batch, |entry| entry.delivery.lease_token),
        &column(&batch, |entry| entry.started_at),
        &column(&batch, |entry| milliseconds(entry.outcome.duration)),
        &column(&batch, |entry| entry.outcome.class.name()) as &[&str],
        &column(&batch, |entry| entry.outcome.status.map(i32::from)) as &[Option<i32>],
        &column(&batch, |entry| entry.outcome.error.as_deref()) as &[Option<&str>],
        &column(&batch, |entry| response_body(&entry.outcome)) as &[Option<&[u8]>],
        &column(&batch, |entry| state(&entry.next).name()) as &[&str],
        &column(&batch, |entry| delay(&entry.next)),
        &column(&batch, |entry| matches!(entry.next, Next::Retry { counted: false, .. })),
        &column(&batch, |entry| entry.outcome.timing.connect.map(milliseconds)) as &[Option<i32>],
        &column(&batch, |entry| entry.outcome.timing.answer.map(milliseconds)) as &[Option<i32>],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.company_id, row.delivery_id, row.token)).collect())
}

/// All workers lock deliveries in this order.
fn in_lock_order(batch: &[Recorded]) -> Vec<&Recorded> {
    let mut batch: Vec<&Recorded> = batch.iter().collect();
    batch.sort_by(|a, b| a.delivery.key.cmp(&b.delivery.key));
    batch
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn response_body(outcome: &Outcome) -> Option<&[u8]> {
    Some(outcome.response_body.as_slice()).filter(|body| !body.is_empty())
}

fn state(next: &Next) -> State {
    match next {
        Next::Delivered => State::Delivered,
        Next::Retry { .. } => State::Pending,
        Next::Dead(..) => State::Dead,
    }
}

fn delay(next: &Next) -> PgInterval {
    match next {
        Next::Retry { after, .. } => interval(*after),
        Next::Delivered | Next::Dead(..) => PgInterval::default(),
    }
}
