//! Taking due deliveries under a lease, and giving them back.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::microseconds;
use crate::domain::webhook_request::{Method, WebhookRequest};

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
    /// W3C trace context of the trigger message.
    pub traceparent: Option<String>,
    /// W3C trace context of the trigger message.
    pub tracestate: Option<String>,
    /// What to send, or why it can never be sent.
    pub request: Result<WebhookRequest, String>,
    /// Attempts so far, of all rounds.
    pub attempts: u32,
    /// Attempts so far, of this round: since the delivery was made or replayed.
    pub attempts_in_round: u32,
}

/// A row as it is stored.
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
            key: DeliveryKey { company: self.company_id, id: self.delivery_id },
            lease_token,
            source: self.source,
            event_id: self.event_id,
            trigger: self.trigger_name,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            request,
            attempts: u32::try_from(self.attempts).unwrap_or_default(),
            attempts_in_round: u32::try_from(attempts_in_round).unwrap_or_default(),
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

/// Takes up to `limit` due deliveries, the longest due first, and leaves the others to other workers.
///
/// # Errors
/// When the database refuses or is away. What was claimed then becomes due again with its lease.
pub async fn claim(
    conn: &mut PgConnection,
    limit: usize,
    lease: Duration,
    lease_token: Uuid,
) -> Result<Vec<ClaimedDelivery>, sqlx::Error> {
    // A lease that a crash of the database forgets only means one request more, with the same id; so
    // nothing waits for the disk here.
    let rows = sqlx::query_as!(
        Row,
        "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
         due AS (
             SELECT company_id, delivery_id FROM webhook_deliveries, relaxed
             WHERE state = 'pending' AND next_attempt_at <= now()
             ORDER BY next_attempt_at LIMIT $1 FOR UPDATE OF webhook_deliveries SKIP LOCKED)
         UPDATE webhook_deliveries d
         SET next_attempt_at = now() + $2::bigint * interval '1 microsecond', lease_token = $3
         FROM due WHERE d.company_id = due.company_id AND d.delivery_id = due.delivery_id
         RETURNING d.company_id, d.delivery_id, d.source, d.event_id, d.trigger_name, d.traceparent, d.tracestate,
             d.method, d.url, d.headers, d.body, d.fault, d.attempts, d.schedule_from",
        i64::try_from(limit).unwrap_or(i64::MAX),
        microseconds(lease),
        lease_token,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.claimed(lease_token)).collect())
}

/// How long until the next delivery is due, zero when one is; `None` when none is pending.
///
/// # Errors
/// When the database refuses or is away.
pub async fn next_due(conn: &mut PgConnection) -> Result<Option<Duration>, sqlx::Error> {
    let wait = sqlx::query_scalar!(
        "SELECT (EXTRACT(EPOCH FROM next_attempt_at - now()) * 1000)::double precision FROM webhook_deliveries
         WHERE state = 'pending' ORDER BY next_attempt_at LIMIT 1"
    )
    .fetch_optional(conn)
    .await?
    .flatten();
    // A wait that is over is negative, which is no duration.
    Ok(wait.map(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()))
}

/// Makes deliveries due again that were claimed under `lease_token` and not attempted.
///
/// # Errors
/// When the database refuses or is away; they then become due with their lease.
pub async fn hand_back(conn: &mut PgConnection, claims: &[(DeliveryKey, Uuid)]) -> Result<(), sqlx::Error> {
    if claims.is_empty() {
        return Ok(());
    }
    let companies: Vec<String> = claims.iter().map(|(key, _)| key.company.clone()).collect();
    let ids: Vec<Uuid> = claims.iter().map(|(key, _)| key.id).collect();
    let tokens: Vec<Uuid> = claims.iter().map(|(_, token)| *token).collect();
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
