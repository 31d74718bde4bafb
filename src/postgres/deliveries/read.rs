//! Listings of deliveries, for operators. Nothing here claims, changes or locks a row.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::DeliveryKey;
use crate::domain::webhook::delivery::NO_ENDPOINT;
use crate::postgres::endpoints::Lane;

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Due now or later.
    Pending,
    /// A receiver answered 2xx.
    Delivered,
    /// A dead letter.
    Dead,
    /// An operator gave it up.
    Discarded,
    /// A newer version of its contact went out before it.
    Superseded,
    /// It went out as a part of another delivery.
    Digested,
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Delivered, Self::Dead, Self::Discarded, Self::Superseded, Self::Digested];

    /// The name in listings, filters and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
            Self::Superseded => "superseded",
            Self::Digested => "digested",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Which deliveries. What is `None` does not narrow.
///
/// Two indexes carry a listing: by the time of creation, and of what is pending. One of `since` and
/// `states` being pending alone should be given, or every delivery ever made is read.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By company.
    pub company: Option<String>,
    /// In any of these states.
    pub states: Option<Vec<State>>,
    /// To any of these endpoints.
    pub endpoints: Option<Vec<Uuid>>,
    /// By the `CloudEvents` `id` of the trigger event.
    pub event_id: Option<String>,
    /// By contact, as it was called when the delivery was made.
    pub contact: Option<Uuid>,
    /// By the name of the trigger.
    pub trigger: Option<String>,
    /// Made then or later.
    pub since: Option<OffsetDateTime>,
    /// At most so many, the newest.
    pub limit: Option<i64>,
}

impl Filter {
    fn states(&self) -> Option<Vec<String>> {
        Some(self.states.as_ref()?.iter().map(|state| state.name().to_owned()).collect())
    }
}

/// One line of a listing.
#[derive(Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its id, which is the `webhook-id` of its requests.
    pub id: Uuid,
    /// The company's id.
    pub company: String,
    /// The name of the trigger.
    pub trigger: String,
    /// State name.
    pub state: String,
    /// `CloudEvents` `id` of the trigger event.
    pub event_id: String,
    /// The contact, as it was called when the delivery was made.
    pub contact_id: Option<Uuid>,
    /// Its version then.
    pub contact_version: Option<i64>,
    /// `None` where the address could not be used.
    pub endpoint_id: Option<Uuid>,
    /// The endpoint's address. Its path may be a secret.
    pub endpoint_url: Option<String>,
    /// Attempts so far.
    pub attempts: i32,
    /// Attempts that had been made when it was last replayed or resent.
    #[serde(skip)]
    pub schedule_from: i32,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// How the last attempt ended.
    pub last_class: Option<String>,
    /// What was wrong then, for a person.
    pub last_error: Option<String>,
    /// Whether an older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// Whether it waits to be sent with others.
    pub digest: bool,
    /// The delivery that it became a part of.
    pub digest_id: Option<Uuid>,
    /// Whether a worker has it in hand; with a lease that has not ended.
    #[serde(skip)]
    pub in_flight: bool,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it is tried next; only while it is pending.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// The lane that it is in.
    #[serde(skip)]
    pub lane: Option<Lane>,
    /// The database's clock.
    #[serde(skip)]
    pub now: OffsetDateTime,
}

/// The deliveries that match, newest first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Summary>, sqlx::Error> {
    let keys = newest(conn, filter).await?;
    summaries(conn, &keys).await
}

/// The keys of the deliveries that match, oldest first: the order in which they are resent.
///
/// # Errors
/// When the database refuses or is away.
pub async fn keys(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<DeliveryKey>, sqlx::Error> {
    let mut keys = newest(conn, filter).await?;
    keys.reverse();
    Ok(keys)
}

async fn newest(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<DeliveryKey>, sqlx::Error> {
    let states = filter.states();
    sqlx::query_as!(
        DeliveryKey,
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

/// The keys of at most `limit` deliveries whose id lies between the two, both included: those that share
/// the beginning of an id. The key begins with the company, so each company is looked into by itself.
///
/// # Errors
/// When the database refuses or is away.
pub async fn matching(
    conn: &mut PgConnection,
    company: Option<&str>,
    (first, last): (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<DeliveryKey>, sqlx::Error> {
    sqlx::query_as!(
        DeliveryKey,
        r#"WITH RECURSIVE companies AS (
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
         LIMIT $4"#,
        company,
        first,
        last,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The summaries of these deliveries, in this order; those that are gone are left out.
///
/// # Errors
/// When the database refuses or is away.
pub async fn summaries(conn: &mut PgConnection, keys: &[DeliveryKey]) -> Result<Vec<Summary>, sqlx::Error> {
    let companies: Vec<String> = keys.iter().map(|key| key.company.clone()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|key| key.id).collect();
    let rows = sqlx::query!(
        r#"SELECT d.delivery_id, d.company_id, d.trigger_name, d.state, d.event_id, d.contact_id, d.contact_version,
               d.endpoint_id, d.attempts, d.schedule_from, d.last_status, d.last_error, d.newest_only, d.digest,
               d.digest_id, d.created_at, d.finished_at, d.next_attempt_at,
               d.lease_token IS NOT NULL AND d.next_attempt_at > now() AS "in_flight!", now() AS "now!",
               (SELECT outcome FROM webhook_attempts a WHERE a.company_id = d.company_id
                AND a.delivery_id = d.delivery_id ORDER BY attempt DESC LIMIT 1) AS last_class,
               e.url AS "url?", e.paused_at, e.disabled_at, NULLIF(e.held_until, 'epoch') AS held_until,
               NULLIF(e.next_slot_at, 'epoch') AS next_slot_at, e.breaker AS "breaker?",
               NULLIF(e.breaker_until, 'epoch') AS breaker_until, e.failures AS "failures?", e.failing_since
           FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, delivery_id, position)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           LEFT JOIN webhook_endpoints e ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id
           ORDER BY u.position"#,
        &companies,
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
