//! Listings of deliveries, for operators. Nothing here claims, changes or locks a row.

use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{event::Key, webhook::delivery::NO_ENDPOINT},
    postgres::{
        columns::{column, key_columns},
        endpoints::Lane,
    },
};

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Due now or later.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// Became a dead letter.
    Dead,
    /// An operator or an erasure discarded it.
    Discarded,
    /// A newer version of its contact made it obsolete.
    Superseded,
    /// Went out in a digest, which is another delivery.
    Digested,
}

impl State {
    /// The name in listings, filters and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Selects deliveries. `None` does not narrow.
///
/// Two indexes serve a listing: by time of creation, and of pending deliveries. Give `since`, or `states` with
/// nothing but `Pending`; otherwise every delivery is read.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By company.
    pub company: Option<String>,
    /// In any of these states.
    pub states: Option<Vec<State>>,
    /// To any of these endpoints.
    pub endpoints: Option<Vec<Uuid>>,
    /// By the `CloudEvents` `id` of the event.
    pub event_id: Option<String>,
    /// By the id that the contact had when the delivery was created.
    pub contact: Option<Uuid>,
    /// By the name of the trigger.
    pub trigger: Option<String>,
    /// Created then or later.
    pub since: Option<OffsetDateTime>,
    /// The maximum number of deliveries; the newest are kept.
    pub limit: Option<i64>,
}

impl Filter {
    fn states(&self) -> Option<Vec<String>> {
        Some(column(self.states.as_deref()?, |state| state.name().to_owned()))
    }
}

/// One line of a listing.
#[derive(Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its id, the `webhook-id` of its requests.
    pub id: Uuid,
    /// The company's id.
    pub company: String,
    /// The name of the trigger.
    pub trigger: String,
    /// The name of its [`State`].
    pub state: String,
    /// `CloudEvents` `id` of the event.
    pub event_id: String,
    /// The id that the contact had when the delivery was created.
    pub contact_id: Option<Uuid>,
    /// The contact's version then.
    pub contact_version: Option<i64>,
    /// `None` if the address was unusable.
    pub endpoint_id: Option<Uuid>,
    /// The endpoint's address. Its path may be a secret.
    pub endpoint_url: Option<String>,
    /// Attempts so far.
    pub attempts: i32,
    /// Attempts that the retry schedule of this round does not count.
    #[serde(skip)]
    pub schedule_from: i32,
    /// The HTTP status of the last attempt.
    pub last_status: Option<i32>,
    /// The class of the last attempt.
    pub last_class: Option<String>,
    /// What went wrong in it, human-readable.
    pub last_error: Option<String>,
    /// An older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// Waits to be sent in a digest.
    pub digest: bool,
    /// The digest that it went out in.
    pub digest_id: Option<Uuid>,
    /// A worker has claimed it, and the lease has not expired.
    #[serde(skip)]
    pub in_flight: bool,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its next attempt is due; only while it is pending.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// The lane of its endpoint.
    #[serde(skip)]
    pub lane: Option<Lane>,
    /// The database's `now()`.
    #[serde(skip)]
    pub now: OffsetDateTime,
}

/// The deliveries that match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Summary>, sqlx::Error> {
    let keys = newest(conn, filter).await?;
    summaries(conn, &keys).await
}

/// The keys of the deliveries that match, oldest first, the order in which they are resent.
///
/// # Errors
/// When the database fails.
pub async fn keys(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    let mut keys = newest(conn, filter).await?;
    keys.reverse();
    Ok(keys)
}

async fn newest(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    let states = filter.states();
    sqlx::query_as!(
        Key,
        "SELECT company_id AS company, delivery_id AS id FROM webhook_deliveries
         WHERE ($1::text IS NULL OR company_id = $1) AND ($2::text[] IS NULL OR state = ANY($2))
           AND ($3::uuid[] IS NULL OR endpoint_id = ANY($3)) AND ($4::text IS NULL OR event_id = $4)
           AND ($5::uuid IS NULL OR contact_id = $5) AND ($6::text IS NULL OR trigger_name = $6)
           AND ($7::timestamptz IS NULL OR created_at >= $7)
         ORDER BY created_at DESC, delivery_id DESC LIMIT $8",
        filter.company,
        states.as_deref(),
        filter.endpoints.as_deref(),
        filter.event_id,
        filter.contact,
        filter.trigger,
        filter.since,
        filter.limit,
    )
    .fetch_all(conn)
    .await
}

/// The keys of at most `limit` deliveries whose id is in this inclusive range, which an abbreviated id spans. The
/// primary key begins with the company, so the query searches each company by itself.
///
/// # Errors
/// When the database fails.
pub async fn matching(
    conn: &mut PgConnection,
    company: Option<&str>,
    (first, last): (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "WITH RECURSIVE companies AS (
             (SELECT company_id FROM webhook_deliveries WHERE $1::text IS NULL OR company_id = $1
              ORDER BY company_id LIMIT 1)
             UNION ALL
             SELECT (SELECT d.company_id FROM webhook_deliveries d
                     WHERE d.company_id > c.company_id AND ($1::text IS NULL OR d.company_id = $1)
                     ORDER BY d.company_id LIMIT 1)
             FROM companies c WHERE c.company_id IS NOT NULL)
         SELECT d.company_id AS company, d.delivery_id AS id
         FROM companies c CROSS JOIN LATERAL (
             SELECT company_id, delivery_id FROM webhook_deliveries
             WHERE company_id = c.company_id AND delivery_id BETWEEN $2 AND $3
             ORDER BY delivery_id LIMIT $4) d
         LIMIT $4",
        company,
        first,
        last,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The summaries of these deliveries, in this order. Leaves out keys that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn summaries(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Summary>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        r#"SELECT d.delivery_id, d.company_id, d.trigger_name, d.state, d.event_id, d.contact_id, d.contact_version,
               d.endpoint_id, d.attempts, d.schedule_from, d.last_status, d.last_error, d.newest_only, d.digest,
               d.digest_id, d.created_at, d.finished_at, d.next_attempt_at,
               d.lease_token IS NOT NULL AND d.next_attempt_at > now() AS "in_flight!", now() AS "now!",
               (SELECT a.outcome FROM webhook_attempts a WHERE a.company_id = d.company_id
                AND a.delivery_id = d.delivery_id ORDER BY a.attempt DESC LIMIT 1) AS last_class,
               e.url AS "url?", e.paused_at, e.disabled_at, nullif(e.held_until, 'epoch') AS held_until,
               nullif(e.next_slot_at, 'epoch') AS next_slot_at, e.breaker AS "breaker?",
               nullif(e.breaker_until, 'epoch') AS breaker_until, e.failures AS "failures?", e.failing_since
           FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, delivery_id, position)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           LEFT JOIN webhook_endpoints e ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id
           ORDER BY u.position"#,
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let summary = rows.into_iter().map(|row| Summary {
        lane: row.breaker.map(|breaker| Lane {
            paused_at: row.paused_at,
            disabled_at: row.disabled_at,
            held_until: row.held_until,
            next_slot_at: row.next_slot_at,
            breaker,
            breaker_until: row.breaker_until,
            failures: row.failures.unwrap_or_default(),
            failing_since: row.failing_since,
        }),
        id: row.delivery_id,
        company: row.company_id,
        trigger: row.trigger_name,
        event_id: row.event_id,
        contact_id: row.contact_id,
        contact_version: row.contact_version,
        endpoint_id: Some(row.endpoint_id).filter(|id| *id != NO_ENDPOINT),
        endpoint_url: row.url,
        attempts: row.attempts,
        schedule_from: row.schedule_from,
        last_status: row.last_status,
        last_class: row.last_class,
        last_error: row.last_error,
        newest_only: row.newest_only,
        digest: row.digest,
        digest_id: row.digest_id,
        in_flight: row.in_flight,
        created_at: row.created_at,
        next_attempt_at: (row.state == State::Pending.name()).then_some(row.next_attempt_at),
        finished_at: row.finished_at,
        state: row.state,
        now: row.now,
    });
    Ok(summary.collect())
}
