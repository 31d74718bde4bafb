//! Listings and single dead letters, for operators.

use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{
        event::Key,
        fault::{Reason, Stage},
    },
    postgres::columns::column,
};

/// The state of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Waits for an operator.
    Open,
    /// Sent to its stage again, which has not applied it yet.
    Replaying,
    /// Its replay was applied.
    Resolved,
    /// An operator discarded it.
    Discarded,
}

impl State {
    /// The states that an operator can still settle.
    pub const UNSETTLED: [Self; 2] = [Self::Open, Self::Replaying];

    /// The name in listings, filters and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Selects dead letters. `None` does not narrow.
#[derive(Clone, Debug)]
pub struct Filter {
    /// By reason.
    pub reason: Option<Reason>,
    /// By stage.
    pub stage: Option<Stage>,
    /// By company; the empty string selects those without one.
    pub company: Option<String>,
    /// By the name of the trigger.
    pub trigger: Option<String>,
    /// Last seen then or later.
    pub since: Option<OffsetDateTime>,
    /// In any of these states.
    pub states: Vec<State>,
    /// The maximum number of dead letters; the newest are kept.
    pub limit: Option<i64>,
}

impl Default for Filter {
    /// Every unsettled dead letter.
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
        column(&self.states, |state| state.name().to_owned())
    }
}

/// One line of a listing.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// The name of its [`Reason`]. Text, so that a reason of a later version can be shown.
    pub reason: String,
    /// The name of its [`Stage`].
    pub stage: String,
    /// The name of its [`State`].
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
    /// When it first failed.
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen_at: OffsetDateTime,
    /// When it last failed.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen_at: OffsetDateTime,
    /// What went wrong, human-readable.
    pub message: String,
}

/// A dead letter with its message.
#[derive(Clone)]
pub struct DeadLetter {
    /// What a listing shows of it.
    pub summary: Summary,
    /// `CloudEvents` `source`.
    pub source: Option<String>,
    /// Its delivery; only for stage webhook.
    pub delivery_id: Option<Uuid>,
    /// The routing key of the message.
    pub routing_key: String,
    /// AMQP properties, see `amqp::properties`.
    pub properties: serde_json::Value,
    /// The bytes as they arrived.
    pub body: Vec<u8>,
    /// When it was resolved or discarded.
    pub settled_at: Option<OffsetDateTime>,
    /// The operator who discarded it.
    pub settled_by: Option<String>,
}

/// The dead letters that match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Summary>, sqlx::Error> {
    sqlx::query_as!(
        Summary,
        "SELECT dead_letter_id AS id, reason, stage, state, company_id AS company, trigger_name AS trigger,
               event_id, attempts, replays, first_seen_at, last_seen_at, message
           FROM dead_letters
           WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
             AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
             AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
           ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $7",
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

/// The keys of the dead letters that match, oldest first, the order in which they are replayed.
///
/// # Errors
/// When the database fails.
pub async fn keys(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    let mut keys = sqlx::query_as!(
        Key,
        "SELECT company_id AS company, dead_letter_id AS id
           FROM dead_letters
           WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
             AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
             AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
           ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $7",
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

/// The keys of at most `limit` dead letters whose id is in this inclusive range, which an abbreviated id spans.
///
/// # Errors
/// When the database fails.
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

/// One dead letter with its message.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut PgConnection, key: &Key) -> Result<Option<DeadLetter>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT * FROM dead_letters WHERE company_id = $1 AND dead_letter_id = $2",
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
