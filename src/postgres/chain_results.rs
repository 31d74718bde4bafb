//! Chains whose result somebody waits for, until the last of their webhooks ends.
//!
//! Each such chain has a row with the number of its open webhooks. The transaction that ends a webhook decrements it,
//! and the one that reaches zero publishes the result. Lock order: deliveries, dead letters, then these rows by key.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{
    clock,
    columns::{column, key_columns},
    deliveries::RowKey,
};
use crate::domain::{
    chain::{
        completed::{AwaitedChain, WebhookEnd, WebhookResult},
        outgoing::{OutgoingEvent, Publisher, ReplyTo},
    },
    event::CompanyId,
    trace_context::TraceContext,
    webhook::{attempt::Class, delivery::delivery_id},
};

/// A chain whose last webhook has ended, with the results of its webhooks by step.
struct EndedChain {
    chain: AwaitedChain,
    /// The step and the result of each webhook.
    results: Vec<(u16, WebhookResult)>,
}

/// Inserts chains, in the transaction that inserts their deliveries.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert(conn: &mut PgConnection, chains: &[AwaitedChain]) -> Result<(), sqlx::Error> {
    if chains.is_empty() {
        return Ok(());
    }
    let stored: Result<Vec<serde_json::Value>, _> =
        chains.iter().map(|one| serde_json::to_value(&one.chain)).collect();
    let stored = stored.map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "INSERT INTO chain_results (company_id, event_key, waiting, chain, reply_to, correlation_id, traceparent, tracestate,
             created_at)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::integer[], $4::jsonb[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::timestamptz[])
         ON CONFLICT DO NOTHING",
        &column(chains, |one| one.company.as_str()) as &[&str],
        &column(chains, |one| one.chain.event().key()),
        &column(chains, |one| i32::try_from(one.chain.webhooks().count()).unwrap_or(i32::MAX)),
        &stored,
        &column(chains, |one| Some(one.reply_to.as_ref()?.queue.as_str())) as &[Option<&str>],
        &column(chains, |one| one.reply_to.as_ref()?.correlation_id.as_deref()) as &[Option<&str>],
        &column(chains, |one| one.trace.traceparent()) as &[Option<&str>],
        &column(chains, |one| one.trace.tracestate()) as &[Option<&str>],
        &column(chains, |one| one.created_at),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts down the chains of deliveries that this transaction has ended, and returns the results of those chains whose last
/// webhook has ended, to be inserted in the same transaction. `source` is the CloudEvents `source` of the results.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn complete(
    conn: &mut PgConnection,
    ended: &[RowKey],
    source: &str,
) -> Result<Vec<OutgoingEvent>, sqlx::Error> {
    let chains = count_down(conn, ended).await?;
    if chains.is_empty() {
        return Ok(Vec::new());
    }
    let publisher = Publisher { source, include_identity: false, now: clock::now(conn).await? };
    Ok(chains.iter().map(|ended| ended.chain.completed(&publisher, &ended.results)).collect())
}

/// Counts down the chains of `awaited` deliveries, and removes those chains whose last webhook has ended. A delivery counts
/// once, however often it ends.
async fn count_down(conn: &mut PgConnection, ended: &[RowKey]) -> Result<Vec<EndedChain>, sqlx::Error> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let chains = take_ended(conn, ended).await?;
    if chains.is_empty() {
        return Ok(Vec::new());
    }
    let results = results(conn, &chains).await?;
    let with_results = |chain: AwaitedChain| {
        let result = |step| {
            let id = delivery_id(chain.chain.event(), &chain.company, step);
            Some((step, results.get(&(chain.company.to_string(), id))?.clone()))
        };
        let results = chain.chain.webhooks().filter_map(result).collect();
        EndedChain { chain, results }
    };
    Ok(chains.into_iter().map(with_results).collect())
}

/// Counts down, and takes the rows of the chains without an open webhook.
async fn take_ended(conn: &mut PgConnection, ended: &[RowKey]) -> Result<Vec<AwaitedChain>, sqlx::Error> {
    let (companies, ids) = key_columns(ended.iter().map(|row| &row.key));
    // Locks the rows by key. A transaction that waits for a row sees the other one's count.
    let counted = sqlx::query!(
        "WITH counted AS (
             UPDATE webhook_deliveries d SET awaited = false
             FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[]) AS u(company_id, delivery_id, created_at)
             WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.created_at = u.created_at
               AND d.awaited
             RETURNING d.company_id, d.event_key),
         chains AS MATERIALIZED (
             SELECT company_id, event_key, count(*)::integer AS ended FROM counted GROUP BY 1, 2),
         locked AS MATERIALIZED (
             SELECT c.company_id, c.event_key, n.ended FROM chains n
             JOIN chain_results c ON c.company_id = n.company_id AND c.event_key = n.event_key
             ORDER BY c.company_id, c.event_key FOR UPDATE OF c)
         UPDATE chain_results c SET waiting = c.waiting - locked.ended
         FROM locked WHERE c.company_id = locked.company_id AND c.event_key = locked.event_key
         RETURNING c.company_id, c.event_key, c.waiting",
        &companies as &[&str],
        &ids,
        &column(ended, |row| row.created_at),
    )
    .fetch_all(&mut *conn)
    .await?;
    let finished = counted.into_iter().filter(|row| row.waiting <= 0);
    let (companies, keys): (Vec<String>, Vec<Uuid>) =
        finished.map(|row| (row.company_id, row.event_key)).unzip();
    if companies.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "DELETE FROM chain_results c USING UNNEST($1::text[], $2::uuid[]) AS u(company_id, event_key)
         WHERE c.company_id = u.company_id AND c.event_key = u.event_key
         RETURNING c.company_id, c.event_key, c.chain, c.reply_to, c.correlation_id, c.traceparent, c.tracestate,
             c.created_at",
        &companies,
        &keys,
    )
    .fetch_all(conn)
    .await?;
    let finished = rows.into_iter().filter_map(|row| {
        // An error would repeat with every retry, and no outcome of any webhook could be recorded.
        let company = CompanyId::new(&row.company_id).ok();
        let chain = company.zip(serde_json::from_value(row.chain).ok());
        if chain.is_none() {
            error!(event.key = %row.event_key, "could not read the stored chain of event {}; its result is not published", row.event_key);
        }
        let (company, chain) = chain?;
        let correlation_id = row.correlation_id;
        let reply_to = row.reply_to.map(|queue| ReplyTo { queue, correlation_id });
        let trace = TraceContext::new(row.traceparent.as_deref(), row.tracestate.as_deref());
        Some(AwaitedChain { company, chain, reply_to, trace, created_at: row.created_at })
    });
    Ok(finished.collect())
}

type Results = HashMap<(String, Uuid), WebhookResult>;

/// The results of the webhooks of these chains. It finds deliveries by id, which derives from event and step: there
/// is no index by event.
async fn results(conn: &mut PgConnection, chains: &[AwaitedChain]) -> Result<Results, sqlx::Error> {
    let keys = chains.iter().flat_map(|one| {
        one.chain.webhooks().map(|step| {
            let id = delivery_id(one.chain.event(), &one.company, step);
            ((one.company.to_string(), id), one.created_at)
        })
    });
    let (keys, created): (Vec<(String, Uuid)>, Vec<OffsetDateTime>) = keys.unzip();
    let (companies, ids): (Vec<String>, Vec<Uuid>) = keys.into_iter().unzip();
    let rows = sqlx::query!(
        r#"SELECT d.company_id, d.delivery_id, d.state, a.outcome AS "outcome?", a.status, a.error, a.response_body
           FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[]) AS u(company_id, delivery_id, created_at)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
               AND d.created_at = u.created_at
           LEFT JOIN LATERAL (
               SELECT outcome, status, error, response_body FROM all_webhook_attempts
               WHERE company_id = d.company_id AND delivery_id = d.delivery_id AND created_at = d.created_at
               ORDER BY attempt DESC LIMIT 1) a ON true"#,
        &companies,
        &ids,
        &created,
    )
    .fetch_all(conn)
    .await?;
    let end = |row: &str| match row {
        "delivered" => WebhookEnd::Succeeded,
        "superseded" => WebhookEnd::Superseded,
        // Dead, or due again since: the result reports this end.
        _ => WebhookEnd::Failed,
    };
    let results = rows.into_iter().map(|row| {
        // A success has no other error.
        let is_incomplete = row.outcome.as_deref() == Some(Class::Delivered.name()) && row.error.is_some();
        let (class, message) = match (row.outcome, row.error) {
            (Some(class), Some(message)) => (class, message),
            (Some(class), None) => (class.clone(), class),
            (None, _) => (row.state.clone(), format!("the webhook was {} before it was sent", row.state)),
        };
        let result = WebhookResult {
            end: end(&row.state),
            http_status: row.status.and_then(|status| u16::try_from(status).ok()),
            body: row.response_body.unwrap_or_default(),
            is_incomplete,
            error: Some((class, message)),
        };
        ((row.company_id, row.delivery_id), result)
    });
    Ok(results.collect())
}
