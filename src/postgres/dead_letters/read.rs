//! Listings and single dead letters, for operators.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::fault::{Reason, Stage};

/// What has become of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for an operator.
    Open,
    /// Sent back to its stage, not known yet to be applied.
    Replaying,
    /// Its replay, or the same message by another way, was applied.
    Resolved,
    /// An operator gave it up.
    Discarded,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Open, Self::Replaying, Self::Resolved, Self::Discarded];

    /// The states that an operator can still settle.
    pub const UNSETTLED: [Self; 2] = [Self::Open, Self::Replaying];

    /// The name in listings, filters and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replaying => "replaying",
            Self::Resolved => "resolved",
            Self::Discarded => "discarded",
        }
    }
}

/// The primary key of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The company's id, empty where unknown.
    pub company: String,
    /// The dead letter's id.
    pub id: Uuid,
}

/// Which dead letters. What is `None` does not narrow.
#[derive(Clone, Debug)]
pub struct Filter {
    /// By reason.
    pub reason: Option<Reason>,
    /// By stage.
    pub stage: Option<Stage>,
    /// By company; the empty text means those without one.
    pub company: Option<String>,
    /// By the name of the trigger.
    pub trigger: Option<String>,
    /// Last seen then or later.
    pub since: Option<OffsetDateTime>,
    /// In any of these states.
    pub states: Vec<State>,
    /// At most so many, the newest.
    pub limit: Option<i64>,
}

impl Default for Filter {
    /// Everything that is not settled.
    fn default() -> Self {
        Self {
            reason: None,
            stage: None,
            company: None,
            trigger: None,
            since: None,
            states: State::UNSETTLED.to_vec(),
            limit: None,
        }
    }
}

impl Filter {
    fn states(&self) -> Vec<String> {
        self.states.iter().map(|state| state.name().to_owned()).collect()
    }
}

/// One line of a listing.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// Reason name. Text, so that a reason of a later version can still be shown.
    pub reason: String,
    /// Stage name.
    pub stage: String,
    /// State name.
    pub state: String,
    /// The company's id, empty where unknown.
    pub company: String,
    /// The name of the (first) trigger.
    pub trigger: Option<String>,
    /// `CloudEvents` `id`.
    pub event_id: Option<String>,
    /// How often it failed.
    pub attempts: i32,
    /// How often it was replayed.
    pub replays: i32,
    /// When it failed first.
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen_at: OffsetDateTime,
    /// When it failed last.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen_at: OffsetDateTime,
    /// What is wrong, for a person.
    pub message: String,
}

/// Everything that is kept of a dead letter.
#[derive(Clone)]
pub struct DeadLetter {
    /// What a listing shows.
    pub summary: Summary,
    /// `CloudEvents` `source`.
    pub source: Option<String>,
    /// The delivery, for stage webhook.
    pub delivery_id: Option<Uuid>,
    /// The routing key with which the message came.
    pub routing_key: String,
    /// AMQP properties, see `amqp::properties`.
    pub properties: serde_json::Value,
    /// The bytes as they came.
    pub body: Vec<u8>,
    /// When it was resolved or discarded.
    pub settled_at: Option<OffsetDateTime>,
    /// The operator who discarded it.
    pub settled_by: Option<String>,
}

/// The dead letters that match, newest first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Summary>, sqlx::Error> {
    sqlx::query_as!(
        Summary,
        r#"SELECT dead_letter_id AS id, reason, stage, state, company_id AS company, trigger_name AS trigger,
               event_id, attempts, replays, first_seen_at, last_seen_at, message
           FROM dead_letters
           WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
             AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
             AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
           ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $7"#,
        filter.reason.map(Reason::name),
        filter.stage.map(Stage::name),
        filter.company,
        filter.trigger,
        filter.since,
        &filter.states(),
        filter.limit,
    )
    .fetch_all(conn)
    .await
}

/// The keys of the dead letters that match, oldest first: the order in which they are replayed.
///
/// # Errors
/// When the database refuses or is away.
pub async fn keys(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    let mut keys = sqlx::query_as!(
        Key,
        r#"SELECT company_id AS company, dead_letter_id AS id
           FROM dead_letters
           WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
             AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
             AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
           ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $7"#,
        filter.reason.map(Reason::name),
        filter.stage.map(Stage::name),
        filter.company,
        filter.trigger,
        filter.since,
        &filter.states(),
        filter.limit,
    )
    .fetch_all(conn)
    .await?;
    keys.reverse();
    Ok(keys)
}

/// The keys of at most `limit` dead letters whose id lies between the two, both included: those
/// that share the beginning of an id.
///
/// # Errors
/// When the database refuses or is away.
pub async fn matching(
    conn: &mut PgConnection,
    (first, last): (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "SELECT company_id AS company, dead_letter_id AS id FROM dead_letters
         WHERE dead_letter_id BETWEEN $1 AND $2 ORDER BY dead_letter_id LIMIT $3",
        first,
        last,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// One dead letter with everything.
///
/// # Errors
/// When the database refuses or is away.
pub async fn get(conn: &mut PgConnection, key: &Key) -> Result<Option<DeadLetter>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT * FROM dead_letters WHERE company_id = $1 AND dead_letter_id = $2"#,
        key.company,
        key.id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| DeadLetter {
        summary: Summary {
            id: row.dead_letter_id,
            reason: row.reason,
            stage: row.stage,
            state: row.state,
            company: row.company_id,
            trigger: row.trigger_name,
            event_id: row.event_id,
            attempts: row.attempts,
            replays: row.replays,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            message: row.message,
        },
        source: row.source,
        delivery_id: row.delivery_id,
        routing_key: row.routing_key,
        properties: row.properties,
        body: row.body,
        settled_at: row.settled_at,
        settled_by: row.settled_by,
    }))
}
