//! Recording what attempts came to: the attempt itself, the delivery's next state, dead letters.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ClaimedDelivery, DeliveryKey, message::message, microseconds};
use crate::{
    domain::{
        fault::Stage,
        webhook::attempt::{Next, Outcome},
    },
    postgres::dead_letters::{self, NewDeadLetter},
};

/// A finished attempt and what follows from it.
#[derive(Debug)]
pub struct Recorded {
    /// The delivery as it was claimed.
    pub delivery: ClaimedDelivery,
    /// When the attempt began.
    pub started_at: OffsetDateTime,
    /// How it ended.
    pub outcome: Outcome,
    /// What follows.
    pub next: Next,
}

/// Records attempts, each delivery at most once in a batch, in the caller's transaction. One statement
/// for all, and few more where there are dead letters.
///
/// Returns those whose lease was lost meanwhile (to another worker, or to an operator): they were
/// left as they are, and their outcome is not recorded.
///
/// # Errors
/// When the database refuses or is away; the same call can be made again after a rollback.
pub async fn record(conn: &mut PgConnection, batch: &[Recorded]) -> Result<Vec<DeliveryKey>, sqlx::Error> {
    let ours = update(conn, batch).await?;
    let is_held = |entry: &&Recorded| {
        let DeliveryKey { company, id } = &entry.delivery.key;
        ours.contains(&(company.clone(), *id, entry.delivery.lease_token))
    };
    let (held, lost): (Vec<&Recorded>, Vec<&Recorded>) = batch.iter().partition(is_held);
    let dead: Vec<NewDeadLetter> = held.iter().filter_map(|entry| dead_letter(entry)).collect();
    dead_letters::insert(conn, &dead).await?;
    let delivered = held.iter().filter(|entry| entry.next == Next::Delivered);
    let replayed = delivered
        .map(|entry| &entry.delivery)
        .filter(|delivery| delivery.attempts > delivery.attempts_in_round)
        .map(|delivery| (delivery.key.company.clone(), body(delivery)));
    resolve(conn, replayed.collect()).await?;
    Ok(lost.into_iter().map(|entry| entry.delivery.key.clone()).collect())
}

/// Writes attempts and states, and returns the claims (company, delivery, token) that still stood.
async fn update(
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<HashSet<(String, Uuid, Uuid)>, sqlx::Error> {
    let batch = in_lock_order(batch);
    let companies: Vec<String> = batch.iter().map(|entry| entry.delivery.key.company.clone()).collect();
    let ids: Vec<Uuid> = batch.iter().map(|entry| entry.delivery.key.id).collect();
    let tokens: Vec<Uuid> = batch.iter().map(|entry| entry.delivery.lease_token).collect();
    let started: Vec<OffsetDateTime> = batch.iter().map(|entry| entry.started_at).collect();
    let durations: Vec<i32> = batch.iter().map(|entry| milliseconds(entry.outcome.duration)).collect();
    let outcomes: Vec<String> = batch.iter().map(|entry| entry.outcome.class.name().to_owned()).collect();
    let statuses: Vec<Option<i32>> = batch.iter().map(|entry| entry.outcome.status.map(i32::from)).collect();
    let errors: Vec<Option<String>> = batch.iter().map(|entry| entry.outcome.error.clone()).collect();
    let bodies: Vec<Option<&[u8]>> = batch
        .iter()
        .map(|entry| Some(entry.outcome.response_body.as_slice()).filter(|body| !body.is_empty()))
        .collect();
    let states: Vec<String> = batch.iter().map(|entry| state(&entry.next).to_owned()).collect();
    let uncounted: Vec<bool> =
        batch.iter().map(|entry| matches!(entry.next, Next::Retry { counted: false, .. })).collect();
    let connected: Vec<Option<i32>> =
        batch.iter().map(|entry| entry.outcome.timing.connect.map(milliseconds)).collect();
    let answered: Vec<Option<i32>> =
        batch.iter().map(|entry| entry.outcome.timing.answer.map(milliseconds)).collect();
    let delays: Vec<i64> = batch.iter().map(|entry| delay(&entry.next)).collect();
    // `done` carries every value on, so that no step joins two lists. IS NOT DISTINCT FROM keeps the planner
    // from walking the index of all pending deliveries, which `=` would let it take for the key's.
    let rows = sqlx::query_file!(
        "src/postgres/deliveries/record.sql",
        &companies,
        &ids,
        &tokens,
        &started,
        &durations,
        &outcomes,
        &statuses as &[Option<i32>],
        &errors as &[Option<String>],
        &bodies as &[Option<&[u8]>],
        &states,
        &delays,
        &uncounted,
        &connected as &[Option<i32>],
        &answered as &[Option<i32>],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.company_id, row.delivery_id, row.token)).collect())
}

/// One order for all workers.
fn in_lock_order(batch: &[Recorded]) -> Vec<&Recorded> {
    let mut batch: Vec<&Recorded> = batch.iter().collect();
    batch.sort_by(|a, b| a.delivery.key.cmp(&b.delivery.key));
    batch
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn state(next: &Next) -> &'static str {
    match next {
        Next::Delivered => "delivered",
        Next::Retry { .. } => "pending",
        Next::Dead(..) => "dead",
    }
}

fn delay(next: &Next) -> i64 {
    match next {
        Next::Retry { after, .. } => microseconds(*after),
        Next::Delivered | Next::Dead(..) => 0,
    }
}

/// Settles the dead letters of deliveries that ended well in a later round, each given by its company and its
/// message.
pub(super) async fn resolve(
    conn: &mut PgConnection,
    replayed: Vec<(String, Vec<u8>)>,
) -> Result<(), sqlx::Error> {
    if replayed.is_empty() {
        return Ok(());
    }
    let (companies, digests): (Vec<String>, Vec<Vec<u8>>) =
        replayed.into_iter().map(|(company, message)| (company, Sha256::digest(message).to_vec())).unzip();
    sqlx::query!(
        "UPDATE dead_letters d SET state = 'resolved', settled_at = now()
         FROM UNNEST($1::text[], $2::bytea[]) AS k(company_id, digest)
         WHERE d.company_id = k.company_id AND d.stage = 'webhook' AND d.digest = k.digest
           AND d.state IN ('open', 'replaying')",
        &companies,
        &digests,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn dead_letter(entry: &Recorded) -> Option<NewDeadLetter> {
    let Next::Dead(reason, message) = &entry.next else { return None };
    let delivery = &entry.delivery;
    let properties = json!({
        "contentType": "application/cloudevents+json", "deliveryMode": 2, "messageId": delivery.key.id,
        "correlationId": delivery.event_id, "type": "webhook.requested",
    });
    Some(NewDeadLetter {
        company: delivery.key.company.clone(),
        stage: Stage::Webhook,
        reason: *reason,
        message: message.clone(),
        body: body(delivery),
        routing_key: "webhook.requested".to_owned(),
        properties,
        source: Some(delivery.source.clone()),
        event_id: Some(delivery.event_id.clone()),
        trigger: Some(delivery.trigger.clone()),
        delivery_id: Some(delivery.key.id),
        attempts: i32::try_from(delivery.attempts_in_round.saturating_add(1)).unwrap_or(i32::MAX),
        replays: None,
    })
}

/// The message that stands for the delivery in a dead letter, and that a replay publishes to wake the
/// worker.
fn body(delivery: &ClaimedDelivery) -> Vec<u8> {
    message(&delivery.key, &delivery.trigger, &delivery.event_id, &delivery.source)
}
