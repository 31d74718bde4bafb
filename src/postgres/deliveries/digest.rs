//! Makes digests: combines deliveries whose window has ended into one that is sent.

use std::{collections::BTreeMap, time::Duration};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{claim::read_headers, headers};
use crate::{
    domain::{
        event::Key,
        webhook::{digest, endpoint::Profile, request::WebhookRequest},
    },
    postgres::columns::{column, interval, key_columns},
};

/// Maximum number of members that one transaction leases in a lane.
const MAX_MEMBERS: i64 = 500;

struct Member {
    lane: Key,
    id: Uuid,
    request: WebhookRequest,
}

/// Combines the deliveries that are due in these lanes into digests, in the caller's transaction: those
/// claimed with `token`, and those that no claim took. Releases a delivery that fits no other, to be sent
/// alone, and one that is unreadable, to become a dead letter.
///
/// # Errors
/// When the database fails; claimed deliveries then become due when their lease expires.
pub async fn make_digests(
    conn: &mut PgConnection,
    lanes: &BTreeMap<Key, Profile>,
    token: Uuid,
    lease: Duration,
) -> Result<(), sqlx::Error> {
    let members = gather(conn, lanes, token, lease).await?;
    let mut waiting: &[Member] = &members;
    while let Some(first) = waiting.first() {
        let alike = |other: &&Member| {
            other.lane == first.lane && digest::fit_together(&other.request, &first.request)
        };
        let requests: Vec<&WebhookRequest> =
            waiting.iter().take_while(alike).map(|member| &member.request).collect();
        let profile = lanes.get(&first.lane).copied().unwrap_or_default();
        let combined = digest::combine(profile, &requests).filter(|(_, count)| *count > 1);
        let (members, others) = waiting.split_at(combined.as_ref().map_or(1, |(_, count)| *count));
        match combined {
            Some((request, _)) => insert(conn, members, &request, token).await?,
            None => send_alone(conn, &first.lane.company, first.id, token).await?,
        }
        waiting = others;
    }
    Ok(())
}

/// Leases the other deliveries that are due, and reads all of them. Those that fit together are adjacent,
/// oldest first.
async fn gather(
    conn: &mut PgConnection,
    lanes: &BTreeMap<Key, Profile>,
    token: Uuid,
    lease: Duration,
) -> Result<Vec<Member>, sqlx::Error> {
    let (companies, endpoints) = key_columns(lanes.keys());
    sqlx::query!(
        "WITH due AS MATERIALIZED (
             SELECT u.company_id, first.delivery_id FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
             CROSS JOIN LATERAL (
                 SELECT d.delivery_id FROM webhook_deliveries d
                 WHERE d.company_id = u.company_id AND d.endpoint_id = u.endpoint_id AND d.state = 'pending'
                   AND d.next_attempt_at <= now() AND d.digest
                 ORDER BY d.next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED) first)
         UPDATE webhook_deliveries d
         SET lease_token = $4, next_attempt_at = now() + $5::interval
         FROM due WHERE d.company_id = due.company_id AND d.delivery_id = due.delivery_id",
        &companies as &[&str],
        &endpoints,
        MAX_MEMBERS,
        token,
        interval(lease),
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT d.company_id, d.endpoint_id, d.delivery_id, d.method, d.url, d.headers, d.body
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
         JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.endpoint_id = u.endpoint_id
             AND d.state = 'pending' AND d.lease_token = $3 AND d.digest
         ORDER BY d.company_id, d.endpoint_id, d.method, d.url, d.headers::text, d.created_at, d.delivery_id",
        &companies as &[&str],
        &endpoints,
        token,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        let (company, id) = (row.company_id.clone(), row.delivery_id);
        match row.member() {
            Some(member) => members.push(member),
            // The next claim finds it unreadable and ends it.
            None => send_alone(conn, &company, id, token).await?,
        }
    }
    Ok(members)
}

struct Row {
    company_id: String,
    endpoint_id: Uuid,
    delivery_id: Uuid,
    method: String,
    url: String,
    headers: serde_json::Value,
    body: Option<Vec<u8>>,
}

impl Row {
    /// `None` if the stored request is unreadable.
    fn member(self) -> Option<Member> {
        let request = WebhookRequest {
            method: self.method.parse().ok()?,
            headers: read_headers(&self.headers)?,
            url: self.url,
            body: self.body,
        };
        let lane = Key { company: self.company_id, id: self.endpoint_id };
        Some(Member { lane, id: self.delivery_id, request })
    }
}

/// Inserts the digest, due now, and ends its members. It shows the event of its first member, but has an event key
/// of its own: its end counts for no chain.
async fn insert(
    conn: &mut PgConnection,
    members: &[Member],
    request: &WebhookRequest,
    token: Uuid,
) -> Result<(), sqlx::Error> {
    let Some(first) = members.first() else { return Ok(()) };
    sqlx::query!(
        "WITH made AS (
             INSERT INTO webhook_deliveries (company_id, delivery_id, event_key, step, source, event_id, trigger_name,
                 traceparent, tracestate, method, url, headers, body, endpoint_id, state, next_attempt_at)
             SELECT company_id, gen_random_uuid(), gen_random_uuid(), step, source, event_id, trigger_name,
                 traceparent, tracestate, method, url, $3, $4, endpoint_id, 'pending', now()
             FROM webhook_deliveries WHERE company_id = $1 AND delivery_id = $2
             RETURNING delivery_id)
         UPDATE webhook_deliveries d
         SET state = 'digested', digest_id = made.delivery_id, finished_at = now(), lease_token = NULL
         FROM made, UNNEST($5::uuid[]) AS u(delivery_id)
         WHERE d.company_id = $1 AND d.delivery_id = u.delivery_id AND d.lease_token = $6",
        &first.lane.company,
        first.id,
        headers(request),
        request.body.as_deref(),
        &column(members, |member| member.id),
        token,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the member into an ordinary delivery, due now.
async fn send_alone(
    conn: &mut PgConnection,
    company: &str,
    id: Uuid,
    token: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webhook_deliveries SET digest = false, next_attempt_at = now(), lease_token = NULL
         WHERE company_id = $1 AND delivery_id = $2 AND lease_token = $3",
        company,
        id,
        token,
    )
    .execute(conn)
    .await?;
    Ok(())
}
