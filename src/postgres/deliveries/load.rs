//! Loads due deliveries of lanes that the caller owns. It reads the rows that it returns, and no others.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::read_headers;
use crate::{
    domain::{
        contact::ContactId,
        event::Key,
        trace_context::TraceContext,
        webhook::{
            delivery::{Delivery, Progress},
            request::{Method, WebhookRequest},
        },
    },
    postgres::columns::{column, interval},
};

/// The place in a lane's queue after which the next deliveries are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the delivery before it was due.
    pub due_at: OffsetDateTime,
    /// That delivery.
    pub id: Uuid,
}

impl Cursor {
    /// Before every delivery.
    pub const START: Self = Self { due_at: OffsetDateTime::UNIX_EPOCH, id: Uuid::nil() };
}

/// What to load of one lane.
pub struct Visit<'a> {
    /// The lane.
    pub lane: &'a Key,
    /// Where to continue.
    pub after: Cursor,
    /// Maximum number of deliveries.
    pub room: usize,
    /// How long they must have been due: zero, or the age at which a delivery expires.
    pub overdue: Duration,
}

/// A loaded delivery.
pub struct Loaded {
    /// The delivery, without its endpoint's URL. It has a fault if its row is unreadable.
    pub delivery: Delivery,
    /// How far it has come.
    pub progress: Progress,
    /// Its place in the lane.
    pub place: Cursor,
    /// Waits to be sent in a digest.
    pub is_digest: bool,
}

/// Loads due deliveries of these lanes, those that have been due longest first, until their bodies and headers have
/// `max_bytes`. Skips those that are `loaded`, and lanes that `owner` no longer owns or that an
/// operator has stopped.
///
/// # Errors
/// When the database fails.
pub async fn load(
    conn: &mut PgConnection,
    owner: Uuid,
    visits: &[Visit<'_>],
    loaded: &[Uuid],
    max_bytes: usize,
) -> Result<Vec<Loaded>, sqlx::Error> {
    let rows = sqlx::query_file_as!(
        Row,
        "src/postgres/deliveries/load.sql",
        &column(visits, |visit| visit.lane.company.as_str()) as &[&str],
        &column(visits, |visit| visit.lane.id),
        &column(visits, |visit| visit.after.due_at),
        &column(visits, |visit| visit.after.id),
        &column(visits, |visit| i64::try_from(visit.room).unwrap_or(i64::MAX)),
        &column(visits, |visit| interval(visit.overdue)),
        owner,
        i64::try_from(max_bytes).unwrap_or(i64::MAX),
        loaded,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Loaded::from).collect())
}

struct Row {
    company_id: String,
    delivery_id: Uuid,
    created_at: OffsetDateTime,
    endpoint_id: Uuid,
    due_at: OffsetDateTime,
    attempts: i32,
    schedule_from: i32,
    age_ms: f64,
    event_key: Uuid,
    step: i16,
    source: String,
    event_id: String,
    trigger_name: String,
    contact_id: Option<Uuid>,
    contact_version: Option<i64>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    method: String,
    url: String,
    headers: String,
    body: Option<Vec<u8>>,
    fault: Option<String>,
    newest_only: bool,
    awaited: bool,
    digest: bool,
}

impl From<Row> for Loaded {
    fn from(row: Row) -> Self {
        let counted = |number: i32| u32::try_from(number).unwrap_or_default();
        let parts: Option<(Method, _)> = row.method.parse().ok().zip(read_headers(&row.headers));
        let fault = match parts {
            None if row.fault.is_none() => Some("the stored request is unreadable".to_owned()),
            _ => row.fault,
        };
        let (method, headers) = parts.unwrap_or((Method::Post, Vec::new()));
        Self {
            place: Cursor { due_at: row.due_at, id: row.delivery_id },
            progress: Progress {
                attempts: counted(row.attempts),
                schedule_from: counted(row.schedule_from),
                age: Duration::try_from_secs_f64(row.age_ms / 1000.0).unwrap_or_default(),
            },
            is_digest: row.digest,
            delivery: Delivery {
                key: Key { company: row.company_id, id: row.delivery_id },
                created_at: row.created_at,
                event_key: row.event_key,
                step: u16::try_from(row.step).unwrap_or_default(),
                source: row.source,
                event_id: row.event_id,
                trigger: row.trigger_name,
                contact: row.contact_id.map(ContactId).zip(row.contact_version),
                endpoint_id: row.endpoint_id,
                endpoint_url: String::new(),
                newest_only: row.newest_only,
                digest_window: None,
                awaited: row.awaited,
                limited: false,
                trace: TraceContext::new(row.traceparent.as_deref(), row.tracestate.as_deref()),
                request: WebhookRequest { method, url: row.url, headers, body: row.body },
                fault,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &str, headers: &str, fault: Option<&str>) -> Row {
        Row {
            company_id: "acme".to_owned(),
            delivery_id: Uuid::nil(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            endpoint_id: Uuid::nil(),
            due_at: OffsetDateTime::UNIX_EPOCH,
            attempts: 7,
            schedule_from: 5,
            age_ms: 1500.0,
            event_key: Uuid::nil(),
            step: 1,
            source: "/s".to_owned(),
            event_id: "e".to_owned(),
            trigger_name: "t".to_owned(),
            contact_id: None,
            contact_version: None,
            traceparent: None,
            tracestate: None,
            method: method.to_owned(),
            url: "https://hooks.example/".to_owned(),
            headers: headers.to_owned(),
            body: None,
            fault: fault.map(str::to_owned),
            newest_only: false,
            awaited: false,
            digest: false,
        }
    }

    #[test]
    fn row_becomes_a_delivery() {
        let Loaded { delivery, progress, .. } = row("PUT", r#"[["a", "1"], ["a", "2"]]"#, None).into();
        assert_eq!((progress.attempts, progress.attempts_in_round()), (7, 2));
        assert_eq!((delivery.request.method, delivery.fault), (Method::Put, None));
        let headers = [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert_eq!(delivery.request.headers, headers);
    }

    #[test]
    fn unreadable_row_has_a_fault() {
        let fault = |method, headers, fault| Loaded::from(row(method, headers, fault)).delivery.fault;
        let unreadable = Some("the stored request is unreadable".to_owned());
        assert_eq!(fault("BREW", "[]", None), unreadable);
        assert_eq!(fault("POST", r#"{"a": "1"}"#, None), unreadable);
        assert_eq!(fault("POST", "[]", Some("no such variable")), Some("no such variable".to_owned()));
    }
}
