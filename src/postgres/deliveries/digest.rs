//! Making digests: deliveries that waited for the end of their window become one that is sent.

use std::{collections::BTreeMap, time::Duration};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{claim::read_headers, headers, microseconds};
use crate::{
    domain::webhook::{digest, endpoint::Profile, request::WebhookRequest},
    postgres::endpoints::EndpointKey,
};

/// Most members that one transaction takes of a lane.
const MOST: i64 = 500;

struct Member {
    lane: EndpointKey,
    id: Uuid,
    request: WebhookRequest,
}

/// Makes digests of what is due in these lanes, in the caller's transaction: of what was claimed with `token`
/// and of what no claim took. What is alone is given back, to be sent as it is, and so is what cannot be read,
/// to be told of.
///
/// # Errors
/// When the database refuses or is away; what was claimed then becomes due again with its lease.
pub async fn fold(
    conn: &mut PgConnection,
    lanes: &BTreeMap<EndpointKey, Profile>,
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
        let (folded, others) = waiting.split_at(combined.as_ref().map_or(1, |(_, count)| *count));
        match combined {
            Some((request, _)) => insert(conn, folded, &request, token).await?,
            None => send_alone(conn, &first.lane.company, first.id, token).await?,
        }
        waiting = others;
    }
    Ok(())
}

/// Leases what else is due, and reads all of it: what fits together stands together, in the order in which
/// it was made.
async fn gather(
    conn: &mut PgConnection,
    lanes: &BTreeMap<EndpointKey, Profile>,
    token: Uuid,
    lease: Duration,
) -> Result<Vec<Member>, sqlx::Error> {
    let (companies, endpoints): (Vec<&str>, Vec<Uuid>) =
        lanes.keys().map(|lane| (lane.company.as_str(), lane.id)).unzip();
    sqlx::query!(
        "WITH due AS MATERIALIZED (
             SELECT l.company_id, first.delivery_id FROM UNNEST($1::text[], $2::uuid[]) AS l(company_id, endpoint_id)
             CROSS JOIN LATERAL (
                 SELECT d.delivery_id FROM webhook_deliveries d
                 WHERE d.company_id = l.company_id AND d.endpoint_id = l.endpoint_id AND d.state = 'pending'
                   AND d.next_attempt_at <= now() AND d.digest
                 ORDER BY d.next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED) first)
         UPDATE webhook_deliveries d
         SET lease_token = $4, next_attempt_at = now() + $5::bigint * interval '1 microsecond'
         FROM due WHERE d.company_id = due.company_id AND d.delivery_id = due.delivery_id",
        &companies as &[&str],
        &endpoints,
        MOST,
        token,
        microseconds(lease),
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT d.company_id, d.endpoint_id, d.delivery_id, d.method, d.url, d.headers, d.body
         FROM UNNEST($1::text[], $2::uuid[]) AS l(company_id, endpoint_id)
         JOIN webhook_deliveries d ON d.company_id = l.company_id AND d.endpoint_id = l.endpoint_id
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
            // Whoever claims it alone tells of it.
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
    /// `None` where the stored request cannot be read.
    fn member(self) -> Option<Member> {
        let request = WebhookRequest {
            method: self.method.parse().ok()?,
            headers: read_headers(&self.headers)?,
            url: self.url,
            body: self.body,
        };
        let lane = EndpointKey { company: self.company_id, id: self.endpoint_id };
        Some(Member { lane, id: self.delivery_id, request })
    }
}

/// Writes the digest, due now, and closes its members. It is told of with the event of the first, and belongs
/// to no event.
async fn insert(
    conn: &mut PgConnection,
    members: &[Member],
    request: &WebhookRequest,
    token: Uuid,
) -> Result<(), sqlx::Error> {
    let Some(first) = members.first() else { return Ok(()) };
    let ids: Vec<Uuid> = members.iter().map(|member| member.id).collect();
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
         FROM made, UNNEST($5::uuid[]) AS k(delivery_id)
         WHERE d.company_id = $1 AND d.delivery_id = k.delivery_id AND d.lease_token = $6",
        &first.lane.company,
        first.id,
        headers(request),
        request.body.as_deref(),
        &ids,
        token,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes it a delivery like any other, due now.
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
