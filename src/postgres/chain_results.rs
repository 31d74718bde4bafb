//! Chains whose end is told to somebody, until their last webhook has ended.
//!
//! Each such chain has a row with the number of its webhooks that have not ended. Whoever ends one counts
//! it down in the same transaction, and whoever reaches zero writes the result to the outbox. Lock order:
//! deliveries, dead letters, then these rows by key, then the outbox.

use std::{collections::HashMap, time::Duration};

use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{
    deliveries::delivery_id,
    outbox::{self, OutboxMessage},
};
use crate::domain::{
    chain::{
        completed::{Chain, End, WebhookEnd},
        outgoing::Publisher,
    },
    event::{CompanyId, Key},
};

/// A chain that waits for its webhooks.
pub struct NewChainResult {
    /// The company.
    pub company: CompanyId,
    /// What is known of it so far.
    pub chain: Chain,
    /// The queue that is answered as well.
    pub reply_to: Option<String>,
    /// What the asker knows its request by.
    pub correlation_id: Option<String>,
    /// W3C trace context of the trigger message.
    pub traceparent: Option<String>,
    /// W3C trace context of the trigger message.
    pub tracestate: Option<String>,
}

/// How results are published.
#[derive(Clone, Debug)]
pub struct Terms {
    /// CloudEvents `source`.
    pub source: String,
    /// How long a result is left to the caller to publish.
    pub lease: Duration,
}

/// Inserts chains, each with its deliveries in the same transaction, which are `awaited`.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn insert(conn: &mut PgConnection, chains: &[NewChainResult]) -> Result<(), sqlx::Error> {
    if chains.is_empty() {
        return Ok(());
    }
    let optional = |column: fn(&NewChainResult) -> Option<&str>| {
        chains.iter().map(column).collect::<Vec<Option<&str>>>()
    };
    let companies: Vec<&str> = chains.iter().map(|one| one.company.as_str()).collect();
    let keys: Vec<Uuid> = chains.iter().map(|one| one.chain.event().key()).collect();
    let waiting: Vec<i32> =
        chains.iter().map(|one| i32::try_from(one.chain.webhooks().count()).unwrap_or(i32::MAX)).collect();
    let stored: Result<Vec<serde_json::Value>, _> =
        chains.iter().map(|one| serde_json::to_value(&one.chain)).collect();
    let stored = stored.map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "INSERT INTO chain_results (company_id, event_key, waiting, chain, reply_to, correlation_id, traceparent, tracestate)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::integer[], $4::jsonb[], $5::text[], $6::text[], $7::text[],
             $8::text[])
         ON CONFLICT DO NOTHING",
        &companies as &[&str],
        &keys,
        &waiting,
        &stored,
        &optional(|one| one.reply_to.as_deref()) as &[Option<&str>],
        &optional(|one| one.correlation_id.as_deref()) as &[Option<&str>],
        &optional(|one| one.traceparent.as_deref()) as &[Option<&str>],
        &optional(|one| one.tracestate.as_deref()) as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts deliveries whose end has just been written in this transaction, `now`. A delivery counts once, however
/// often it ends. Returns the results of the chains that are over, which are in the outbox: to be published
/// once this is committed.
///
/// Costs nothing where `ended` is empty: give it the deliveries that are `awaited`.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn ended(
    conn: &mut PgConnection,
    ended: &[Key],
    terms: &Terms,
    now: OffsetDateTime,
) -> Result<Vec<OutboxMessage>, sqlx::Error> {
    let mut results = Vec::new();
    if !ended.is_empty() {
        let over = count_down(conn, ended).await?;
        if !over.is_empty() {
            let mut ends = ends(conn, &over).await?;
            results.extend(over.into_iter().map(|one| one.result(&mut ends, &terms.source, now)));
            outbox::insert(conn, &results, terms.lease).await?;
        }
    }
    Ok(results)
}

/// Takes the rows of the chains that have no webhook left.
async fn count_down(conn: &mut PgConnection, ended: &[Key]) -> Result<Vec<NewChainResult>, sqlx::Error> {
    let companies: Vec<String> = ended.iter().map(|key| key.company.clone()).collect();
    let ids: Vec<Uuid> = ended.iter().map(|key| key.id).collect();
    // The rows are locked in the order of their keys. Whoever waits for one sees what the other has counted.
    let counted = sqlx::query!(
        "WITH counted AS (
             UPDATE webhook_deliveries d SET awaited = false
             FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, delivery_id)
             WHERE d.company_id = k.company_id AND d.delivery_id = k.delivery_id AND d.awaited
             RETURNING d.company_id, d.event_key),
         chains AS MATERIALIZED (
             SELECT company_id, event_key, count(*)::integer AS ended FROM counted GROUP BY 1, 2),
         held AS MATERIALIZED (
             SELECT c.company_id, c.event_key, n.ended FROM chains n
             JOIN chain_results c ON c.company_id = n.company_id AND c.event_key = n.event_key
             ORDER BY c.company_id, c.event_key FOR UPDATE OF c)
         UPDATE chain_results c SET waiting = c.waiting - h.ended
         FROM held h WHERE c.company_id = h.company_id AND c.event_key = h.event_key
         RETURNING c.company_id, c.event_key, c.waiting",
        &companies,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let over = counted.into_iter().filter(|row| row.waiting <= 0);
    let (companies, keys): (Vec<String>, Vec<Uuid>) = over.map(|row| (row.company_id, row.event_key)).unzip();
    if companies.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "DELETE FROM chain_results c USING UNNEST($1::text[], $2::uuid[]) AS k(company_id, event_key)
         WHERE c.company_id = k.company_id AND c.event_key = k.event_key
         RETURNING c.company_id, c.event_key, c.chain, c.reply_to, c.correlation_id, c.traceparent, c.tracestate",
        &companies,
        &keys,
    )
    .fetch_all(conn)
    .await?;
    let over = rows.into_iter().filter_map(|row| {
        // A row that cannot be read tells nobody anything. An error would come again with every try, and
        // no outcome of any webhook would be recorded any more.
        let company = CompanyId::new(&row.company_id).ok();
        let chain = company.zip(serde_json::from_value(row.chain).ok());
        if chain.is_none() {
            error!(event_key = %row.event_key, "the stored chain of event {} cannot be read; its end is not told", row.event_key);
        }
        let (company, chain) = chain?;
        let (reply_to, correlation_id) = (row.reply_to, row.correlation_id);
        let (traceparent, tracestate) = (row.traceparent, row.tracestate);
        Some(NewChainResult { company, chain, reply_to, correlation_id, traceparent, tracestate })
    });
    Ok(over.collect())
}

type Ends = HashMap<(String, Uuid), WebhookEnd>;

/// How the webhooks of these chains ended, with their last attempts. They are found by their ids, which
/// derive from event and step: there is no index by event.
async fn ends(conn: &mut PgConnection, chains: &[NewChainResult]) -> Result<Ends, sqlx::Error> {
    let keys = chains.iter().flat_map(|one| {
        one.chain.webhooks().map(|step| {
            let id = delivery_id(one.chain.event(), &one.company, step);
            (one.company.to_string(), id)
        })
    });
    let (companies, ids): (Vec<String>, Vec<Uuid>) = keys.unzip();
    let rows = sqlx::query!(
        r#"SELECT d.company_id, d.delivery_id, d.state, a.outcome AS "outcome?", a.status, a.error, a.response_body
           FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, delivery_id)
           JOIN webhook_deliveries d ON d.company_id = k.company_id AND d.delivery_id = k.delivery_id
           LEFT JOIN LATERAL (
               SELECT l.outcome, l.status, l.error, l.response_body FROM webhook_attempts l
               WHERE l.company_id = d.company_id AND l.delivery_id = d.delivery_id
               ORDER BY l.attempt DESC LIMIT 1) a ON true"#,
        &companies,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let end = |row: &str| match row {
        "delivered" => End::Succeeded,
        "superseded" => End::Superseded,
        // Dead; and one that was made due again since, for it is this end that is told.
        _ => End::Failed,
    };
    let ends = rows.into_iter().map(|row| {
        let (class, message) = match (row.outcome, row.error) {
            (Some(class), Some(message)) => (class, message),
            (Some(class), None) => (class.clone(), class),
            (None, _) => (row.state.clone(), format!("the webhook was {} before it was sent", row.state)),
        };
        let end = WebhookEnd {
            end: end(&row.state),
            http_status: row.status.and_then(|status| u16::try_from(status).ok()),
            body: row.response_body.unwrap_or_default(),
            error: Some((class, message)),
        };
        ((row.company_id, row.delivery_id), end)
    });
    Ok(ends.collect())
}

impl NewChainResult {
    /// The message that tells a chain's end, `now`.
    fn result(self, ends: &mut Ends, source: &str, now: OffsetDateTime) -> OutboxMessage {
        let ends: Vec<(u16, WebhookEnd)> = self
            .chain
            .webhooks()
            .filter_map(|step| {
                let key = (self.company.to_string(), delivery_id(self.chain.event(), &self.company, step));
                Some((step, ends.remove(&key)?))
            })
            .collect();
        let publisher = Publisher { source, include_identity: false, now };
        self.completed(&publisher, &ends)
    }

    /// The message that tells the end of this chain.
    #[must_use]
    pub fn completed(self, publisher: &Publisher<'_>, ends: &[(u16, WebhookEnd)]) -> OutboxMessage {
        let event = self.chain.completed(&self.company, publisher, ends);
        let correlation_id = self.chain.event().id().to_owned();
        OutboxMessage {
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            reply_to: self.reply_to,
            reply_correlation_id: self.correlation_id,
            ..OutboxMessage::new(&self.company, event, publisher.source, correlation_id, publisher.now)
        }
    }
}
