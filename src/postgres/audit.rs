//! What operators changed. Rows are only ever added; the database refuses to change or delete one.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{columns::column, planning};

/// One change, to be recorded in its own transaction.
pub struct New<'a> {
    /// The actor.
    pub operator: &'a str,
    /// On which surface.
    pub via: &'static str,
    /// What was done.
    pub action: &'static str,
    /// The company's id, or empty.
    pub company: &'a str,
    /// The id of what was changed.
    pub object: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// The state before.
    pub before: Option<&'a Value>,
    /// The state after.
    pub after: Option<&'a Value>,
}

/// One recorded change.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its id.
    pub id: Uuid,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The actor.
    pub operator: String,
    /// `command_line`, `api` or `console`.
    pub via: String,
    /// What was done.
    pub action: String,
    /// The company's id, or empty.
    pub company: String,
    /// The id of what was changed.
    pub object: String,
    /// Why.
    pub reason: Option<String>,
    /// The state before.
    pub before: Option<Value>,
    /// The state after.
    pub after: Option<Value>,
}

/// Which entries. `None` does not narrow.
pub struct Selection<'a> {
    /// By who acted.
    pub operator: Option<&'a str>,
    /// By action.
    pub action: Option<&'a str>,
    /// By company.
    pub company: Option<&'a str>,
    /// By the id of what was changed.
    pub object: Option<&'a str>,
    /// Happened then or later.
    pub since: Option<OffsetDateTime>,
    /// Happened earlier.
    pub until: Option<OffsetDateTime>,
    /// Older than this entry.
    pub before: Option<(OffsetDateTime, Uuid)>,
    /// The maximum number.
    pub limit: i64,
}

/// Records changes, in the caller's transaction.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub async fn insert(conn: &mut PgConnection, changes: &[New<'_>]) -> Result<(), sqlx::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO audit_log (company_id, audit_id, operator, via, action, object, reason, before, after)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
             $8::jsonb[], $9::jsonb[])",
        &column(changes, |new| new.company) as &[&str],
        &column(changes, |_| Uuid::now_v7()),
        &column(changes, |new| new.operator) as &[&str],
        &column(changes, |new| new.via) as &[&str],
        &column(changes, |new| new.action) as &[&str],
        &column(changes, |new| new.object) as &[&str],
        &column(changes, |new| new.reason) as &[Option<&str>],
        &column(changes, |new| new.before.cloned()) as &[Option<Value>],
        &column(changes, |new| new.after.cloned()) as &[Option<Value>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The entries that match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, selection: &Selection<'_>) -> Result<Vec<Entry>, sqlx::Error> {
    let (before_at, before_id) = selection.before.unzip();
    let mut transaction = planning::for_arguments(conn).await?;
    let entries = sqlx::query_as!(
        Entry,
        "SELECT audit_id AS id, happened_at AS at, operator, via, action, company_id AS company, object, reason, before, after
         FROM audit_log
         WHERE ($1::text IS NULL OR operator = $1) AND ($2::text IS NULL OR action = $2)
           AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR object = $4)
           AND ($5::timestamptz IS NULL OR happened_at >= $5) AND ($6::timestamptz IS NULL OR happened_at < $6)
           AND ($7::timestamptz IS NULL OR (happened_at, audit_id) < ($7, $8::uuid))
         ORDER BY happened_at DESC, audit_id DESC LIMIT $9",
        selection.operator,
        selection.action,
        selection.company,
        selection.object,
        selection.since,
        selection.until,
        before_at,
        before_id,
        selection.limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(entries)
}
