//! Records attempts of pending deliveries: the attempt itself, and the next state of the delivery.

use std::{collections::HashSet, time::Duration};

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;

use super::State;
use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::{Next, Outcome},
            delivery::{Delivery, Progress},
        },
    },
    postgres::columns::{column, interval},
};

/// A finished attempt and its consequence.
pub struct Attempted<'a> {
    /// The delivery.
    pub delivery: &'a Delivery,
    /// How far it had come before the attempt.
    pub progress: Progress,
    /// When the attempt began.
    pub started_at: OffsetDateTime,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// What happens to the delivery next.
    pub next: &'a Next,
}

/// Records attempts in the caller's transaction, in one statement. Each delivery is in the batch at most once. The owner
/// of a lane releases it once its attempts are recorded, so a retry schedules no lane.
///
/// Returns the deliveries that are no longer pending, or that another process has attempted in the meantime: they stay as
/// they are, and this outcome is not recorded.
///
/// # Errors
/// When the database fails; the call can be repeated after a rollback.
pub async fn record(conn: &mut PgConnection, batch: &[Attempted<'_>]) -> Result<Vec<Key>, sqlx::Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    // All processes lock deliveries in this order.
    let mut sorted: Vec<&Attempted<'_>> = batch.iter().collect();
    sorted.sort_by_key(|one| &one.delivery.key);
    let held = write(conn, &sorted).await?;
    let lost = batch.iter().map(|one| &one.delivery.key).filter(|key| !held.contains(key));
    Ok(lost.cloned().collect())
}

/// Writes attempts and states, and returns the deliveries whose attempt it was.
async fn write(conn: &mut PgConnection, batch: &[&Attempted<'_>]) -> Result<HashSet<Key>, sqlx::Error> {
    let rows = sqlx::query_file!(
        "src/postgres/deliveries/record.sql",
        &column(batch, |one| one.delivery.key.company.as_str()) as &[&str],
        &column(batch, |one| one.delivery.key.id),
        &column(batch, |one| i32::try_from(one.progress.attempts.saturating_add(1)).unwrap_or(i32::MAX)),
        &column(batch, |one| one.started_at),
        &column(batch, |one| milliseconds(one.outcome.duration)),
        &column(batch, |one| one.outcome.class.name()) as &[&str],
        &column(batch, |one| one.outcome.status.map(i32::from)) as &[Option<i32>],
        &column(batch, |one| one.outcome.error.as_deref()) as &[Option<&str>],
        &column(batch, |one| response_body(one.outcome)) as &[Option<&[u8]>],
        &column(batch, |one| next_state(one.next).name()) as &[&str],
        &column(batch, |one| delay(one.next)),
        &column(batch, |one| matches!(one.next, Next::Retry { counted: false, .. })),
        &column(batch, |one| one.outcome.timing.connect.map(milliseconds)) as &[Option<i32>],
        &column(batch, |one| one.outcome.timing.answer.map(milliseconds)) as &[Option<i32>],
        &column(batch, |one| one.delivery.created_at),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| Key { company: row.company, id: row.id }).collect())
}

/// Inserts first attempts: delivery, start, outcome.
pub(super) async fn log(
    conn: &mut PgConnection,
    attempts: &[(&Delivery, OffsetDateTime, &Outcome)],
) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms, outcome,
             status, error, response_body, connect_ms, answer_ms)
         SELECT u.company_id, u.created_at, u.delivery_id, 1, u.started_at, u.duration_ms, u.outcome, u.status, u.error,
             u.response_body, u.connect_ms, u.answer_ms
         FROM UNNEST($1::text[], $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::integer[], $6::text[],
             $7::integer[], $8::text[], $9::bytea[], $10::integer[], $11::integer[])
             AS u(company_id, created_at, delivery_id, started_at, duration_ms, outcome, status, error, response_body,
                 connect_ms, answer_ms)",
        &column(attempts, |(delivery, ..)| delivery.key.company.as_str()) as &[&str],
        &column(attempts, |(delivery, ..)| delivery.created_at),
        &column(attempts, |(delivery, ..)| delivery.key.id),
        &column(attempts, |(_, started_at, _)| *started_at),
        &column(attempts, |(.., outcome)| milliseconds(outcome.duration)),
        &column(attempts, |(.., outcome)| outcome.class.name()) as &[&str],
        &column(attempts, |(.., outcome)| outcome.status.map(i32::from)) as &[Option<i32>],
        &column(attempts, |(.., outcome)| outcome.error.as_deref()) as &[Option<&str>],
        &column(attempts, |(.., outcome)| response_body(outcome)) as &[Option<&[u8]>],
        &column(attempts, |(.., outcome)| outcome.timing.connect.map(milliseconds)) as &[Option<i32>],
        &column(attempts, |(.., outcome)| outcome.timing.answer.map(milliseconds)) as &[Option<i32>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

pub(super) fn response_body(outcome: &Outcome) -> Option<&[u8]> {
    Some(outcome.response_body.as_slice()).filter(|body| !body.is_empty())
}

pub(super) fn next_state(next: &Next) -> State {
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
