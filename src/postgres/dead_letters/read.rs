//! Listings and single dead letters, for operators.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    filter::{Filter, Parameters},
    without_nul,
};
use crate::{
    domain::{
        event::Key,
        fault::{Reason, Signature, Stage},
    },
    postgres::{columns::key_columns, planning},
};

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
    /// The name of its [`State`](super::State).
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
    /// Where its delivery goes; only for stage webhook.
    pub endpoint_id: Option<Uuid>,
    /// Its group.
    #[serde(serialize_with = "hex")]
    pub signature: Vec<u8>,
}

/// Writes the bytes of a signature as [`Signature`] does.
fn hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match Signature::try_from(bytes) {
        Ok(signature) => serializer.collect_str(&signature),
        Err(_) => serializer.serialize_none(),
    }
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
    /// The operator who discarded or edited it.
    pub settled_by: Option<String>,
    /// Its contents were not kept, because they may name a person who has been erased.
    pub is_blank: bool,
    /// The contact of its delivery, by the id that it had then.
    pub contact_id: Option<Uuid>,
    /// The dead letter whose edited event this is.
    pub edited_from: Option<Uuid>,
    /// The edited event that replaced it.
    pub superseded_by: Option<Uuid>,
    /// What the edit changed. Personal data.
    pub difference: Option<serde_json::Value>,
}

/// At most `limit` of the dead letters that match without regard to the text, newest first, after `before`. The states of the
/// filter are all unsettled ones, or all settled ones.
pub(super) async fn list_of_kind(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Summary>, sqlx::Error> {
    let Parameters { states, unsettled, signature, .. } = filter.parameters();
    let (before_at, before_id) = before.unzip();
    let mut transaction = planning::for_arguments(conn).await?;
    let found = sqlx::query_as!(
        Summary,
        r"SELECT dead_letter_id AS id, reason, stage, state, company_id AS company, trigger_name AS trigger,
             event_id, attempts, replays, first_seen_at, last_seen_at, message, endpoint_id, signature
         FROM dead_letters
         WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
           AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
           AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
           AND ($7::timestamptz IS NULL OR last_seen_at < $7) AND ($8::uuid IS NULL OR endpoint_id = $8)
           AND ($9::text IS NULL OR event_id = $9) AND ($10::bytea IS NULL OR signature = $10)
           AND ($11::boolean IS NULL OR unsettled = $11)
           AND ($12::timestamptz IS NULL OR (last_seen_at, dead_letter_id) < ($12, $13::uuid))
         ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $14",
        filter.reason.map(Reason::name),
        filter.stage.map(Stage::name),
        filter.company.as_deref().map(without_nul),
        filter.trigger.as_deref().map(without_nul),
        filter.since,
        &states as &[&str],
        filter.until,
        filter.endpoint,
        filter.event_id.as_deref().map(without_nul),
        signature,
        unsettled,
        before_at,
        before_id,
        limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(found)
}

/// The lines of a listing for `keys`, by key. Leaves out those that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn summaries(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Summary>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query_as!(
        Summary,
        "SELECT dl.dead_letter_id AS id, reason, stage, state, dl.company_id AS company, trigger_name AS trigger,
             event_id, attempts, replays, first_seen_at, last_seen_at, message, endpoint_id, signature
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
         JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
         ORDER BY dl.company_id, dl.dead_letter_id",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// The keys of the dead letters that match, oldest first, the order in which they are replayed.
///
/// # Errors
/// When the database fails.
pub async fn keys(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    let Parameters { states, unsettled, signature, text } = filter.parameters();
    let mut transaction = planning::for_arguments(conn).await?;
    let mut keys = sqlx::query_as!(
        Key,
        r"SELECT company_id AS company, dead_letter_id AS id
         FROM dead_letters
         WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
           AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
           AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
           AND ($7::timestamptz IS NULL OR last_seen_at < $7) AND ($8::uuid IS NULL OR endpoint_id = $8)
           AND ($9::text IS NULL OR event_id = $9) AND ($10::bytea IS NULL OR signature = $10)
           AND ($11::boolean IS NULL OR unsettled = $11)
           AND ($12::text IS NULL
               OR strpos(lower(concat_ws(E'\n', message, trigger_name, event_id)), lower($12)) > 0)
         ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $13",
        filter.reason.map(Reason::name),
        filter.stage.map(Stage::name),
        filter.company.as_deref().map(without_nul),
        filter.trigger.as_deref().map(without_nul),
        filter.since,
        &states as &[&str],
        filter.until,
        filter.endpoint,
        filter.event_id.as_deref().map(without_nul),
        signature,
        unsettled,
        text,
        filter.limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    keys.reverse();
    Ok(keys)
}

/// The keys of at most `limit` dead letters whose id is in this inclusive range, which an abbreviated id spans. The primary key
/// begins with the company, so the query searches each company by itself.
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
        r#"WITH RECURSIVE owners AS (
               (SELECT company_id FROM dead_letters ORDER BY company_id LIMIT 1)
               UNION ALL
               SELECT (SELECT dl.company_id FROM dead_letters dl
                       WHERE dl.company_id > o.company_id ORDER BY dl.company_id LIMIT 1)
               FROM owners o WHERE o.company_id IS NOT NULL)
           SELECT dl.company_id AS "company!", dl.dead_letter_id AS "id!"
           FROM owners o CROSS JOIN LATERAL (
               SELECT company_id, dead_letter_id FROM dead_letters
               WHERE company_id = o.company_id AND dead_letter_id BETWEEN $1 AND $2
               ORDER BY dead_letter_id LIMIT $3) dl
           LIMIT $3"#,
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
    Ok(get_all(conn, std::slice::from_ref(key)).await?.pop())
}

/// Dead letters with their messages, in the order of `keys`. Leaves out those that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn get_all(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        r#"SELECT dl.*, (SELECT d.contact_id FROM webhook_deliveries d
               WHERE d.company_id = dl.company_id AND d.delivery_id = dl.delivery_id LIMIT 1) AS contact_id
           FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, dead_letter_id, number)
           JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
           ORDER BY u.number"#,
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().map(|row| DeadLetter {
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
            endpoint_id: row.endpoint_id,
            signature: row.signature,
        },
        source: row.source,
        delivery_id: row.delivery_id,
        routing_key: row.routing_key,
        properties: row.properties,
        body: row.body,
        settled_at: row.settled_at,
        settled_by: row.settled_by,
        is_blank: row.is_blank,
        contact_id: row.contact_id,
        edited_from: row.edited_from,
        superseded_by: row.superseded_by,
        difference: row.difference,
    });
    Ok(read.collect())
}
