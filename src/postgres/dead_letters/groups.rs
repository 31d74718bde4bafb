//! Groups of dead letters with the same cause, and what operators note about them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Filter, without_nul};
use crate::{
    domain::fault::{Reason, Signature, Stage},
    postgres::planning,
};

/// The unsettled dead letters with one signature.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// What they have in common.
    pub signature: Signature,
    /// The name of the stage.
    pub stage: String,
    /// The name of the reason.
    pub reason: String,
    /// The name of the trigger.
    pub trigger: Option<String>,
    /// Where their deliveries go.
    pub endpoint_id: Option<Uuid>,
    /// The company of the latest. Others may have the same failure.
    pub company: String,
    /// The message of the latest.
    pub message: String,
    /// The id of the latest.
    pub latest_id: Uuid,
    /// How many there are.
    pub count: i64,
    /// When the first of them first failed.
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen_at: OffsetDateTime,
    /// When the latest last failed.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen_at: OffsetDateTime,
    /// What an operator noted.
    pub note: Option<Note>,
}

/// What an operator noted about a group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The words.
    pub text: String,
    /// Who wrote them.
    pub written_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub written_at: OffsetDateTime,
}

/// At most `limit` of the groups that match, the most recent failure first, from the one after `before`. Only unsettled
/// dead letters count, regardless of the filter's states. Reason, stage, trigger, endpoint and text are those of the latest
/// dead letter, which the others share.
///
/// # Errors
/// When the database fails.
pub async fn groups(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<(OffsetDateTime, Signature)>,
    limit: i64,
) -> Result<Vec<Group>, sqlx::Error> {
    let (before_at, before_signature) = before.unzip();
    let company = filter.company.as_deref().map(without_nul);
    let trigger = filter.trigger.as_deref().map(without_nul);
    // Looking at the latest of each group is needless if any groups will do.
    let is_narrowed = filter.reason.is_some()
        || filter.stage.is_some()
        || trigger.is_some()
        || filter.endpoint.is_some()
        || filter.text.is_some();
    let mut transaction = planning::for_arguments(conn).await?;
    let rows = sqlx::query_file!(
        "src/postgres/dead_letters/groups.sql",
        company,
        filter.since,
        filter.until,
        filter.signature.as_ref().map(|signature| &signature.as_bytes()[..]),
        before_at,
        before_signature.as_ref().map(|signature| &signature.as_bytes()[..]),
        Some(limit).filter(|_| !is_narrowed),
        filter.reason.map(Reason::name),
        filter.stage.map(Stage::name),
        trigger,
        filter.endpoint,
        filter.text.as_ref().map(super::SearchText::as_str),
        limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    rows.into_iter()
        .map(|row| {
            let signature = Signature::try_from(row.signature.as_slice());
            let note = row.note.zip(row.written_by).zip(row.written_at);
            Ok(Group {
                signature: signature.map_err(|error| sqlx::Error::Decode(error.into()))?,
                stage: row.stage,
                reason: row.reason,
                trigger: row.trigger_name,
                endpoint_id: row.endpoint_id,
                company: row.company_id,
                message: row.message,
                latest_id: row.dead_letter_id,
                count: row.count,
                first_seen_at: row.first_seen_at,
                last_seen_at: row.last_seen_at,
                note: note.map(|((text, written_by), written_at)| Note { text, written_by, written_at }),
            })
        })
        .collect()
}

/// The note on a group.
///
/// # Errors
/// When the database fails.
pub async fn note(conn: &mut PgConnection, signature: Signature) -> Result<Option<Note>, sqlx::Error> {
    sqlx::query_as!(
        Note,
        "SELECT note AS text, written_by, written_at FROM dead_letter_notes WHERE signature = $1",
        &signature.as_bytes()[..],
    )
    .fetch_optional(conn)
    .await
}

/// Writes the note on a group, or removes it. Returns whether there was one before. `None`, without a change, if there is
/// no such group and no note on it.
///
/// # Errors
/// When the database fails.
pub async fn write_note(
    conn: &mut PgConnection,
    signature: Signature,
    text: Option<&str>,
    operator: &str,
) -> Result<Option<bool>, sqlx::Error> {
    let signature = &signature.as_bytes()[..];
    let known = sqlx::query!(
        r#"SELECT EXISTS (SELECT FROM dead_letter_notes WHERE signature = $1) AS "has_note!",
               EXISTS (SELECT FROM dead_letters WHERE signature = $1 AND unsettled) AS "has_letters!""#,
        signature,
    )
    .fetch_one(&mut *conn)
    .await?;
    if !known.has_note && !known.has_letters {
        return Ok(None);
    }
    match text {
        Some(text) => {
            sqlx::query!(
                "INSERT INTO dead_letter_notes AS n (signature, note, written_by) VALUES ($1, $2, $3)
                 ON CONFLICT (signature) DO UPDATE
                 SET note = excluded.note, written_by = excluded.written_by, written_at = now()",
                signature,
                without_nul(text),
                operator,
            )
            .execute(conn)
            .await?;
        }
        None => {
            sqlx::query!("DELETE FROM dead_letter_notes WHERE signature = $1", signature)
                .execute(conn)
                .await?;
        }
    }
    Ok(Some(known.has_note))
}
