//! Taking due deliveries under a lease, lane by lane, and giving them back.
//!
//! A lane is an endpoint's waiting deliveries. The index `webhook_deliveries_lanes` gives the first of each
//! with one look, so a claim costs a look for each endpoint that has anything waiting, and a row for each
//! delivery that it returns: what waits behind a closed lane is never read.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{microseconds, order};
use crate::{
    domain::{
        trace_context::TraceContext,
        webhook::request::{Method, WebhookRequest},
    },
    postgres::endpoints::EndpointKey,
};

/// Names a delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The company's id.
    pub company: String,
    /// The delivery.
    pub id: Uuid,
}

/// A delivery that this worker may attempt until its lease ends.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "none excludes another")]
pub struct ClaimedDelivery {
    /// Which.
    pub key: DeliveryKey,
    /// Proof of the claim.
    pub lease_token: Uuid,
    /// `CloudEvents` `source` of the trigger event.
    pub source: String,
    /// `CloudEvents` `id` of the trigger event.
    pub event_id: String,
    /// Name of the trigger.
    pub trigger: String,
    /// The trace of the trigger event.
    pub trace: TraceContext,
    /// What to send, or why it can never be sent.
    pub request: Result<WebhookRequest, String>,
    /// Attempts so far, of all rounds.
    pub attempts: u32,
    /// Attempts so far that counted, of this round: since the delivery was made or replayed.
    pub attempts_in_round: u32,
    /// Time since this round began.
    pub age: Duration,
    /// The endpoint whose lane it came from; nil where it has none.
    pub lane: EndpointKey,
    /// The endpoint's address as written; empty where it has none.
    pub endpoint_url: String,
    /// Most requests at once to this endpoint, of one process.
    pub most_in_flight: u32,
    /// Whether the endpoint has had no failure of late.
    pub is_calm: bool,
    /// Most deliveries of its lane that this process may hold claimed.
    pub cap: u32,
    /// Most deliveries of its lane that this claim took, where the lane had room for more: as many may wait.
    pub share: Option<u32>,
    /// It has waited too long for an endpoint that is not to be reached, and is not to be sent.
    pub is_expired: bool,
    /// Whether it is to find out for a breaker whether the endpoint answers again.
    pub is_probe: bool,
    /// Whether it is to be sent with others as one digest.
    pub is_digest: bool,
    /// Whether its end has to be counted: see `postgres::chain_results`.
    pub is_awaited: bool,
    /// Whether an older version of its contact must not follow a newer one.
    pub newest_only: bool,
}

/// What a claim may take.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Most deliveries.
    pub limit: usize,
    /// How long they are ours.
    pub lease: Duration,
    /// Proof of that.
    pub token: Uuid,
    /// For each endpoint, deliveries claimed by this process and not recorded, and how many it would get done
    /// in a moment: `{"<uuid>": [claimed, throughput]}`. A lane without failures is given twice its requests at once,
    /// or its throughput where that is more.
    pub busy: &'a serde_json::Value,
    /// What has waited this long for an endpoint that is not to be reached is taken, to be ended.
    pub max_age: Duration,
    /// CloudEvents `source` of the results of chains that end because what is claimed is superseded.
    pub source: &'a str,
    /// When they end, by the worker's clock.
    pub now: OffsetDateTime,
}

/// A row as it is stored.
#[expect(clippy::struct_excessive_bools, reason = "columns, and none excludes another")]
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
    most_in_flight: i32,
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
        let request = match (self.fault, Method::from_name(&self.method), read_headers(&self.headers)) {
            (Some(fault), ..) => Err(fault),
            (None, Some(method), Some(headers)) => {
                Ok(WebhookRequest { method, url: self.url, headers, body: self.body })
            }
            (None, ..) => Err("the stored request cannot be read".to_owned()),
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
            lane: EndpointKey { company: self.company_id.clone(), id: self.endpoint_id },
            endpoint_url: self.endpoint_url,
            most_in_flight: u32::try_from(self.most_in_flight).unwrap_or(1),
            is_calm: self.is_calm,
            cap: u32::try_from(self.cap).unwrap_or(1),
            share: u32::try_from(self.share).ok().filter(|_| self.has_room),
            is_expired: self.is_expired,
            is_probe: self.is_probe,
            is_digest: self.is_digest,
            is_awaited: self.is_awaited,
            newest_only: self.newest_only,
            key: DeliveryKey { company: self.company_id, id: self.delivery_id },
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

/// Takes due deliveries of every lane that is open and has room, the longest due of each, and leaves the
/// others to other workers. A lane's share of a claim is even, so that none waits for another.
///
/// Lanes whose row must change with the claim (a limited rate, the probe of a breaker) are locked; another
/// worker that meets the lock passes them by.
///
/// # Errors
/// When the database refuses or is away. What was claimed then becomes due again with its lease.
pub async fn claim(conn: &mut PgConnection, claim: &Claim<'_>) -> Result<Vec<ClaimedDelivery>, sqlx::Error> {
    // A lease that a crash of the database forgets only means one request more, with the same id; so
    // nothing waits for the disk here.
    let rows = sqlx::query_file_as!(
        Row,
        "src/postgres/deliveries/claim.sql",
        i64::try_from(claim.limit).unwrap_or(i64::MAX),
        microseconds(claim.lease),
        claim.token,
        claim.busy,
        microseconds(claim.max_age),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut claimed: Vec<ClaimedDelivery> = rows.into_iter().map(|row| row.claimed(claim.token)).collect();
    if claimed.iter().any(|delivery| delivery.newest_only) {
        order::keep(conn, claim, &mut claimed).await?;
    }
    Ok(claimed)
}

/// How long until the next delivery of a lane that is neither paused nor disabled nor one of `full` is due,
/// zero when one is; `None` when none is pending.
///
/// # Errors
/// When the database refuses or is away.
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
         SELECT (extract(epoch FROM min(GREATEST(w.next_attempt_at, e.held_until, e.next_slot_at,
             CASE WHEN e.breaker IN ('open', 'half_open') THEN e.breaker_until END)) - now()) * 1000)::double precision
         FROM waiting w
         LEFT JOIN webhook_endpoints e ON e.company_id = w.company_id AND e.endpoint_id = w.endpoint_id
         WHERE e.paused_at IS NULL AND e.disabled_at IS NULL AND w.endpoint_id <> ALL ($1)",
        full
    )
    .fetch_one(conn)
    .await?;
    // A wait that is over is negative, which is no duration.
    Ok(wait.map(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()))
}

/// Makes deliveries due again that were claimed and not attempted.
///
/// # Errors
/// When the database refuses or is away; they then become due with their lease.
pub async fn hand_back(conn: &mut PgConnection, claims: &[ClaimedDelivery]) -> Result<(), sqlx::Error> {
    if claims.is_empty() {
        return Ok(());
    }
    // One order for all who lock deliveries.
    let mut claims: Vec<&ClaimedDelivery> = claims.iter().collect();
    claims.sort_by_key(|claim| &claim.key);
    let companies: Vec<String> = claims.iter().map(|claim| claim.key.company.clone()).collect();
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.key.id).collect();
    let tokens: Vec<Uuid> = claims.iter().map(|claim| claim.lease_token).collect();
    sqlx::query!(
        "UPDATE webhook_deliveries d SET next_attempt_at = now(), lease_token = NULL
         FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS k(company_id, delivery_id, token)
         WHERE d.company_id = k.company_id AND d.delivery_id = k.delivery_id AND d.lease_token = k.token
           AND d.state IS NOT DISTINCT FROM 'pending'",
        &companies,
        &ids,
        &tokens,
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            most_in_flight: 1,
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
    fn a_row_is_read() {
        let claimed = row("PUT", json!([["a", "1"], ["a", "2"]]), None).claimed(Uuid::max());
        assert_eq!((claimed.attempts, claimed.attempts_in_round), (7, 2));
        let request = claimed.request.unwrap();
        assert_eq!(request.method, Method::Put);
        assert_eq!(request.headers, [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn a_row_that_cannot_be_read_never_fails_the_batch() {
        let fault = |row: Row| row.claimed(Uuid::nil()).request.unwrap_err();
        let unreadable = "the stored request cannot be read";
        assert_eq!(fault(row("HEAD", json!([]), None)), unreadable);
        assert_eq!(fault(row("GET", json!({"a": "b"}), None)), unreadable);
        assert_eq!(fault(row("GET", json!([["a"]]), None)), unreadable);
        assert_eq!(fault(row("GET", json!([["a", 1]]), None)), unreadable);
        assert_eq!(fault(row("GET", json!([]), Some("no host"))), "no host");
    }
}
