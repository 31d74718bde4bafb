//! Makes digests: combines deliveries whose window has ended into one that is sent.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{RowKey, read_headers, write_headers};
use crate::{
    domain::{
        event::Key,
        webhook::{digest, endpoint::Profile, request::WebhookRequest},
    },
    postgres::columns::{column, key_columns},
};

/// Maximum number of members that one transaction combines in a lane.
const MAX_MEMBERS: i64 = 500;

/// Once the requests of a lane's members are larger, in bytes, no further one is read. A digest has at most 1 MiB.
const MAX_BYTES: i64 = 4 << 20;

struct Member {
    lane: Key,
    row: RowKey,
    request: WebhookRequest,
}

/// Combines the deliveries that are due in these lanes into digests, in a transaction of the lanes' owner: as many as fit
/// into memory, the rest stays due. A delivery that fits no other is then sent alone, and one that is unreadable becomes a
/// dead letter.
///
/// # Errors
/// When the database fails; the transaction can be repeated.
pub async fn make_digests(
    conn: &mut PgConnection,
    lanes: &BTreeMap<Key, Profile>,
) -> Result<(), sqlx::Error> {
    let members = gather(conn, lanes).await?;
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
            Some((request, _)) => insert(conn, members, &request).await?,
            None => send_alone(conn, &first.row).await?,
        }
        waiting = others;
    }
    Ok(())
}

/// Locks and reads the deliveries that are due, except those that others have locked. Those that fit together are adjacent,
/// oldest first.
async fn gather(conn: &mut PgConnection, lanes: &BTreeMap<Key, Profile>) -> Result<Vec<Member>, sqlx::Error> {
    let (companies, endpoints) = key_columns(lanes.keys());
    let rows = sqlx::query_as!(
        Row,
        "SELECT company_id, endpoint_id, delivery_id, created_at, method, url, headers, body FROM (
             SELECT d.company_id, d.endpoint_id, d.delivery_id, d.created_at, d.method, d.url, d.headers, d.body,
                 sum(coalesce(octet_length(d.body), 0) + octet_length(d.headers)) OVER (
                     PARTITION BY d.company_id, d.endpoint_id ORDER BY due.due_at, d.delivery_id
                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS size_before
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
         CROSS JOIN LATERAL (
             SELECT p.delivery_id, p.created_at, p.due_at FROM webhook_pending p
             WHERE p.company_id = u.company_id AND p.endpoint_id = u.endpoint_id AND p.due_at <= now()
             ORDER BY p.due_at, p.delivery_id LIMIT $3 FOR UPDATE SKIP LOCKED) due
         -- OFFSET keeps the planner from beginning with all deliveries of the company.
         CROSS JOIN LATERAL (
             SELECT * FROM webhook_deliveries d
             WHERE d.company_id = u.company_id AND d.delivery_id = due.delivery_id AND d.created_at = due.created_at
                 AND d.digest OFFSET 0 FOR UPDATE SKIP LOCKED) d) sized
         WHERE coalesce(size_before, 0) < $4
         ORDER BY company_id, endpoint_id, method, url, headers, created_at, delivery_id",
        &companies as &[&str],
        &endpoints,
        MAX_MEMBERS,
        MAX_BYTES,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        let key = row.key();
        match row.member() {
            Some(member) => members.push(member),
            // It is loaded again, found unreadable, and ended.
            None => send_alone(conn, &key).await?,
        }
    }
    Ok(members)
}

struct Row {
    company_id: String,
    endpoint_id: Uuid,
    delivery_id: Uuid,
    created_at: OffsetDateTime,
    method: String,
    url: String,
    headers: String,
    body: Option<Vec<u8>>,
}

impl Row {
    fn key(&self) -> RowKey {
        let key = Key { company: self.company_id.clone(), id: self.delivery_id };
        RowKey { key, created_at: self.created_at }
    }

    /// `None` if the stored request is unreadable.
    fn member(self) -> Option<Member> {
        let row = self.key();
        let request = WebhookRequest {
            method: self.method.parse().ok()?,
            headers: read_headers(&self.headers)?,
            url: self.url,
            body: self.body,
        };
        let lane = Key { company: self.company_id, id: self.endpoint_id };
        Some(Member { lane, row, request })
    }
}

/// Inserts the digest, due now, and ends its members. It shows the event of its first member, but has an event key
/// of its own, so its end counts for no chain.
async fn insert(
    conn: &mut PgConnection,
    members: &[Member],
    request: &WebhookRequest,
) -> Result<(), sqlx::Error> {
    let Some(first) = members.first() else { return Ok(()) };
    let ids = column(members, |member| member.row.key.id);
    sqlx::query!(
        "WITH made AS (
             INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
                 trigger_name, traceparent, tracestate, method, url, headers, body, endpoint_id, newest_only, awaited,
                 digest, state)
             SELECT company_id, gen_random_uuid(), now(), gen_random_uuid(), step, source, event_id,
                 trigger_name, traceparent, tracestate, method, url, $3, $4, endpoint_id, false, false, false, 'pending'
             FROM webhook_deliveries WHERE company_id = $1 AND delivery_id = $2 AND created_at = $6
             RETURNING company_id, delivery_id, created_at, endpoint_id),
         due AS (
             INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts,
                 schedule_from, round_started_at)
             SELECT company_id, delivery_id, created_at, endpoint_id, now(), 0, 0, now() FROM made),
         -- OFFSET keeps the planner from beginning with all that the company has pending.
         members AS (SELECT $1 AS company_id, id FROM UNNEST($5::uuid[]) AS id OFFSET 0),
         ended AS (
             DELETE FROM webhook_pending p USING members m
             WHERE p.company_id = m.company_id AND p.delivery_id = m.id
             RETURNING p.company_id, p.delivery_id, p.created_at)
         UPDATE webhook_deliveries d
         SET state = 'digested', digest_id = made.delivery_id, finished_at = now()
         FROM made, ended
         WHERE d.company_id = ended.company_id AND d.delivery_id = ended.delivery_id
             AND d.created_at = ended.created_at",
        &first.lane.company,
        first.row.key.id,
        write_headers(request),
        request.body.as_deref(),
        &ids,
        first.row.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the member into an ordinary delivery. It is still due.
async fn send_alone(conn: &mut PgConnection, member: &RowKey) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webhook_deliveries SET digest = false
         WHERE company_id = $1 AND delivery_id = $2 AND created_at = $3",
        member.key.company,
        member.key.id,
        member.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
