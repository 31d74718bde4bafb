//! Claims due deliveries under a lease, lane by lane, and releases them.
//!
//! A lane is an endpoint's queue of deliveries. The index `webhook_deliveries_lanes` finds the first of each lane
//! with one lookup. So a claim costs a lookup for each endpoint that has deliveries waiting, and a row for each
//! delivery that it returns; it never reads the queue behind a closed lane.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        event::Key,
        trace_context::TraceContext,
        webhook::{request::WebhookRequest, requested::WebhookRequested},
    },
    postgres::columns::{column, interval},
};

/// A delivery that this worker may attempt until its lease ends.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub struct ClaimedDelivery {
    /// Its key.
    pub key: Key,
    /// Fences the claim: once the row has another token, its outcome is not recorded.
    pub lease_token: Uuid,
    /// `CloudEvents` `source` of the event.
    pub source: String,
    /// `CloudEvents` `id` of the event.
    pub event_id: String,
    /// Name of the trigger.
    pub trigger: String,
    /// The trace context of the event.
    pub trace: TraceContext,
    /// The request, or why it can never be sent.
    pub request: Result<WebhookRequest, String>,
    /// Attempts so far, in all rounds.
    pub attempts: u32,
    /// Attempts so far in this round, which began when the delivery was created, replayed or resent. Without those
    /// that do not count.
    pub attempts_in_round: u32,
    /// Time since this round began.
    pub age: Duration,
    /// The endpoint whose lane it came from; the nil id without an endpoint.
    pub lane: Key,
    /// The endpoint's address as written; empty without an endpoint.
    pub endpoint_url: String,
    /// Maximum number of concurrent requests of one process to this endpoint.
    pub max_in_flight: u32,
    /// The endpoint's breaker is closed and its last attempt did not fail.
    pub is_calm: bool,
    /// Maximum number of claimed deliveries of its lane in this process.
    pub cap: u32,
    /// The most deliveries of its lane that this claim could take, if the lane had room for more.
    pub share: Option<u32>,
    /// Waited longer than its maximum age for an unreachable endpoint. It must end without an attempt.
    pub is_expired: bool,
    /// The breaker's single request that tests whether the endpoint recovered.
    pub is_probe: bool,
    /// Goes out in a digest.
    pub is_digest: bool,
    /// Its end counts for its chain: see `postgres::chain_results`.
    pub is_awaited: bool,
    /// An older version of its contact must not follow a newer one.
    pub newest_only: bool,
}

impl ClaimedDelivery {
    /// The message of its dead letter.
    #[must_use]
    pub fn requested(&self) -> WebhookRequested<'_> {
        let Self { key, trigger, event_id, source, .. } = self;
        WebhookRequested { delivery: key, trigger, event_id, source }
    }
}

/// The limits of a claim.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Maximum number of deliveries.
    pub limit: usize,
    /// How long the deliveries are ours.
    pub lease: Duration,
    /// The token of the lease.
    pub token: Uuid,
    /// By endpoint, how many deliveries this process has claimed and not recorded, and how many it would send in a
    /// moment: `{"<uuid>": [claimed, throughput]}`. A lane without failures holds twice its `max_in_flight`, or its
    /// throughput if that is more.
    pub busy: &'a serde_json::Value,
    /// A delivery this old whose endpoint is unreachable is claimed as expired.
    pub max_age: Duration,
}

#[expect(clippy::struct_excessive_bools, reason = "columns of independent flags")]
struct Row {
    company_id: String,
    delivery_id: Uuid,
    source: String,
    event_id: String,
    trigger_name: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
    method: String,
    url: String,
    headers: serde_json::Value,
    body: Option<Vec<u8>>,
    fault: Option<String>,
    attempts: i32,
    schedule_from: i32,
    age_ms: f64,
    endpoint_id: Uuid,
    endpoint_url: String,
    max_in_flight: i32,
    is_calm: bool,
    cap: i32,
    share: i64,
    has_room: bool,
    is_expired: bool,
    is_probe: bool,
    is_digest: bool,
    is_awaited: bool,
    newest_only: bool,
}

impl Row {
    fn claimed(self, lease_token: Uuid) -> ClaimedDelivery {
        let attempts_in_round = self.attempts.saturating_sub(self.schedule_from);
        let request = match (self.fault, self.method.parse().ok(), read_headers(&self.headers)) {
            (Some(fault), ..) => Err(fault),
            (None, Some(method), Some(headers)) => {
                Ok(WebhookRequest { method, url: self.url, headers, body: self.body })
            }
            (None, ..) => Err("the stored request is unreadable".to_owned()),
        };
        ClaimedDelivery {
            lease_token,
            source: self.source,
            event_id: self.event_id,
            trigger: self.trigger_name,
            trace: TraceContext::new(self.traceparent.as_deref(), self.tracestate.as_deref()),
            request,
            attempts: u32::try_from(self.attempts).unwrap_or_default(),
            attempts_in_round: u32::try_from(attempts_in_round).unwrap_or_default(),
            age: Duration::try_from_secs_f64(self.age_ms / 1000.0).unwrap_or_default(),
            lane: Key { company: self.company_id.clone(), id: self.endpoint_id },
            endpoint_url: self.endpoint_url,
            max_in_flight: u32::try_from(self.max_in_flight).unwrap_or(1),
            is_calm: self.is_calm,
            cap: u32::try_from(self.cap).unwrap_or(1),
            share: u32::try_from(self.share).ok().filter(|_| self.has_room),
            is_expired: self.is_expired,
            is_probe: self.is_probe,
            is_digest: self.is_digest,
            is_awaited: self.is_awaited,
            newest_only: self.newest_only,
            key: Key { company: self.company_id, id: self.delivery_id },
        }
    }
}

pub(super) fn read_headers(stored: &serde_json::Value) -> Option<Vec<(String, String)>> {
    let pair = |entry: &serde_json::Value| match entry.as_array()?.as_slice() {
        [name, value] => Some((name.as_str()?.to_owned(), value.as_str()?.to_owned())),
        _ => None,
    };
    stored.as_array()?.iter().map(pair).collect()
}

/// Takes due deliveries of every lane that is open and has room, those that have been due longest first, and
/// leaves the rest to other workers. All lanes have an equal share of a claim, so no lane waits for another.
///
/// A lane whose row must change with the claim (it has a rate limit, or its breaker needs a probe) is locked;
/// another worker that finds it locked skips it.
///
/// # Errors
/// When the database fails. Claimed deliveries then become due when their lease expires.
pub async fn claim(conn: &mut PgConnection, claim: &Claim<'_>) -> Result<Vec<ClaimedDelivery>, sqlx::Error> {
    // Does not wait for the disk: a lease that is lost in a crash of the database costs one more request with the
    // same id.
    let rows = sqlx::query_file_as!(
        Row,
        "src/postgres/deliveries/claim.sql",
        i64::try_from(claim.limit).unwrap_or(i64::MAX),
        interval(claim.lease),
        claim.token,
        claim.busy,
        interval(claim.max_age),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.claimed(claim.token)).collect())
}

/// The time until the next delivery is due, zero if one is due already. Ignores lanes that are paused or disabled,
/// or whose endpoint is in `full`. `None` if nothing is pending.
///
/// # Errors
/// When the database fails.
pub async fn next_due(conn: &mut PgConnection, full: &[Uuid]) -> Result<Option<Duration>, sqlx::Error> {
    let wait = sqlx::query_scalar!(
        "WITH RECURSIVE waiting AS (
             (SELECT company_id, endpoint_id, next_attempt_at FROM webhook_deliveries
              WHERE state = 'pending' ORDER BY company_id, endpoint_id, next_attempt_at LIMIT 1)
             UNION ALL
             SELECT next.* FROM waiting w CROSS JOIN LATERAL (
                 SELECT d.company_id, d.endpoint_id, d.next_attempt_at FROM webhook_deliveries d
                 WHERE d.state = 'pending' AND (d.company_id, d.endpoint_id) > (w.company_id, w.endpoint_id)
                 ORDER BY d.company_id, d.endpoint_id, d.next_attempt_at LIMIT 1) next)
         SELECT (extract(epoch FROM min(greatest(w.next_attempt_at, e.held_until, e.next_slot_at,
             CASE WHEN e.breaker IN ('open', 'half_open') THEN e.breaker_until END)) - now()) * 1000)::double precision
         FROM waiting w
         LEFT JOIN webhook_endpoints e ON e.company_id = w.company_id AND e.endpoint_id = w.endpoint_id
         WHERE e.paused_at IS NULL AND e.disabled_at IS NULL AND w.endpoint_id <> ALL($1)",
        full
    )
    .fetch_one(conn)
    .await?;
    // Negative once it is due, which is not a valid `Duration`.
    Ok(wait.map(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()))
}

/// Releases claimed deliveries that were not attempted: they are due again.
///
/// # Errors
/// When the database fails; they then become due when their lease expires.
pub async fn release(conn: &mut PgConnection, claims: &[ClaimedDelivery]) -> Result<(), sqlx::Error> {
    if claims.is_empty() {
        return Ok(());
    }
    // All workers lock deliveries in this order.
    let mut claims: Vec<&ClaimedDelivery> = claims.iter().collect();
    claims.sort_by_key(|claim| &claim.key);
    sqlx::query!(
        "UPDATE webhook_deliveries d SET next_attempt_at = now(), lease_token = NULL
         FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS u(company_id, delivery_id, token)
         WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.lease_token = u.token
           AND d.state IS NOT DISTINCT FROM 'pending'",
        &column(&claims, |claim| claim.key.company.as_str()) as &[&str],
        &column(&claims, |claim| claim.key.id),
        &column(&claims, |claim| claim.lease_token),
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::webhook::request::Method;

    fn row(method: &str, headers: serde_json::Value, fault: Option<&str>) -> Row {
        Row {
            company_id: "acme".to_owned(),
            delivery_id: Uuid::nil(),
            source: "/s".to_owned(),
            event_id: "e".to_owned(),
            trigger_name: "t".to_owned(),
            traceparent: None,
            tracestate: None,
            method: method.to_owned(),
            url: "https://hooks.example/".to_owned(),
            headers,
            body: None,
            fault: fault.map(str::to_owned),
            attempts: 7,
            schedule_from: 5,
            age_ms: 1500.0,
            endpoint_id: Uuid::nil(),
            endpoint_url: String::new(),
            max_in_flight: 1,
            is_calm: true,
            cap: 4,
            share: 1,
            has_room: false,
            is_expired: false,
            is_probe: false,
            is_digest: false,
            is_awaited: false,
            newest_only: false,
        }
    }

    #[test]
    fn row_becomes_a_request() {
        let claimed = row("PUT", json!([["a", "1"], ["a", "2"]]), None).claimed(Uuid::max());
        assert_eq!((claimed.attempts, claimed.attempts_in_round), (7, 2));
        let request = claimed.request.unwrap();
        assert_eq!(request.method, Method::Put);
        assert_eq!(request.headers, [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn unreadable_row_becomes_a_fault() {
        let fault = |row: Row| row.claimed(Uuid::nil()).request.unwrap_err();
        let unreadable = "the stored request is unreadable";
        assert_eq!(fault(row("HEAD", json!([]), None)), unreadable);
        assert_eq!(fault(row("GET", json!({"a": "b"}), None)), unreadable);
        assert_eq!(fault(row("GET", json!([["a"]]), None)), unreadable);
        assert_eq!(fault(row("GET", json!([["a", 1]]), None)), unreadable);
        assert_eq!(fault(row("GET", json!([]), Some("no host"))), "no host");
    }
}
