//! Listings and single dead letters, for operators.

use std::str::FromStr;

use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;
use uuid::Uuid;

use super::without_nul;
use crate::{
    domain::{
        event::Key,
        fault::{Reason, Signature, Stage},
    },
    postgres::{
        columns::{column, key_columns},
        planning,
    },
};

/// The longest text to search for, in characters.
const MAX_SEARCH: usize = 200;

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

/// Text to look for: 1 to 200 characters without control characters. Letters match in either case; no character has a
/// meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text cannot be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text to search for must be 1 to {MAX_SEARCH} characters, without control characters")]
pub struct BadText;

impl FromStr for SearchText {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let is_searchable = (1..=MAX_SEARCH).contains(&text.chars().take(MAX_SEARCH + 1).count())
            && !text.contains(char::is_control);
        if is_searchable { Ok(Self(text.to_owned())) } else { Err(BadText) }
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
    /// By the endpoint of the delivery.
    pub endpoint: Option<Uuid>,
    /// By `CloudEvents` `id`.
    pub event_id: Option<String>,
    /// By group.
    pub signature: Option<Signature>,
    /// By a part of the message, the trigger's name or the event's id.
    pub text: Option<SearchText>,
    /// Last seen then or later.
    pub since: Option<OffsetDateTime>,
    /// Last seen earlier.
    pub until: Option<OffsetDateTime>,
    /// In any of these states.
    pub states: Vec<State>,
    /// The maximum number of keys; the newest are kept. Pages have a limit of their own.
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
            endpoint: None,
            event_id: None,
            signature: None,
            text: None,
            since: None,
            until: None,
            states: State::UNSETTLED.to_vec(),
            limit: None,
        }
    }
}

/// The parameters of a filter.
struct Parameters<'a> {
    states: Vec<&'static str>,
    /// Whether only unsettled ones match, or only settled ones, so that a partial index serves the statement.
    unsettled: Option<bool>,
    signature: Option<&'a [u8]>,
    text: Option<&'a str>,
}

impl Filter {
    fn parameters(&self) -> Parameters<'_> {
        let is_unsettled = |state: &State| State::UNSETTLED.contains(state);
        let unsettled = match (self.states.iter().all(is_unsettled), self.states.iter().any(is_unsettled)) {
            (true, _) => Some(true),
            (false, false) => Some(false),
            (false, true) => None,
        };
        Parameters {
            states: column(&self.states, |state| state.name()),
            unsettled,
            signature: self.signature.as_ref().map(|signature| &signature.as_bytes()[..]),
            text: self.text.as_ref().map(|text| text.0.as_str()),
        }
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
    /// The edited event that took its place.
    pub superseded_by: Option<Uuid>,
    /// What the edit changed. Personal data.
    pub difference: Option<serde_json::Value>,
}

/// At most `limit` of the dead letters that match, newest first, from the one after `before`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Summary>, sqlx::Error> {
    let (unsettled, settled): (Vec<State>, Vec<State>) =
        filter.states.iter().partition(|state| State::UNSETTLED.contains(state));
    // Each kind has an index of its own.
    let mut found = Vec::new();
    for states in [unsettled, settled].into_iter().filter(|states| !states.is_empty()) {
        let filter = Filter { states, ..filter.clone() };
        found.extend(list_of_kind(conn, &filter, before, limit).await?);
    }
    found.sort_by_key(|row| std::cmp::Reverse((row.last_seen_at, row.id)));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

async fn list_of_kind(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Summary>, sqlx::Error> {
    let Parameters { states, unsettled, signature, text } = filter.parameters();
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
           AND ($12::text IS NULL
               OR strpos(lower(concat_ws(E'\n', message, trigger_name, event_id)), lower($12)) > 0)
           AND ($13::timestamptz IS NULL OR (last_seen_at, dead_letter_id) < ($13, $14::uuid))
         ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $15",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_to_search_for_is_short_and_on_one_line() {
        for good in ["a", "100%", "_", "' OR 1=1 --", "é", &"x".repeat(MAX_SEARCH)] {
            assert!(good.parse::<SearchText>().is_ok(), "{good}");
        }
        for bad in ["", "a\0b", "a\nb", &"x".repeat(MAX_SEARCH + 1), &"x".repeat(10_000)] {
            assert_eq!(bad.parse::<SearchText>(), Err(BadText), "{bad:.20}");
        }
    }

    #[test]
    fn filter_knows_whether_only_one_kind_of_state_matches() {
        let unsettled =
            |states: &[State]| Filter { states: states.to_vec(), ..Filter::default() }.parameters().unsettled;
        assert_eq!(unsettled(&State::UNSETTLED), Some(true));
        assert_eq!(unsettled(&[State::Discarded]), Some(false));
        assert_eq!(unsettled(&[State::Open, State::Resolved]), None);
    }
}
