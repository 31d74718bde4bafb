//! Listings of deliveries, for operators. Nothing here claims, changes or locks a row.

use std::collections::{BTreeSet, HashSet};

use sqlx::PgConnection;
use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{event::Key, webhook::delivery::Delivery},
    postgres::{
        columns::column,
        effects::search::{self, Searched, Unsent},
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
/// A listing reads by time of creation, or only pending ones. Give `since`, or `states` with only `Pending`;
/// otherwise every delivery is read.
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
    /// Created earlier, or then with a smaller id.
    pub before: Option<(OffsetDateTime, Uuid)>,
    /// The maximum number of deliveries; the newest are kept.
    pub limit: Option<i64>,
}

impl Filter {
    pub(super) fn states(&self) -> Option<Vec<String>> {
        Some(column(self.states.as_deref()?, |state| state.name().to_owned()))
    }

    /// Whether it selects this delivery, which is pending.
    fn matches(&self, delivery: &Delivery) -> bool {
        let contact = delivery.contact.map(|(contact, _)| contact.0);
        self.endpoints.as_ref().is_none_or(|endpoints| endpoints.contains(&delivery.endpoint_id))
            && self.event_id.as_ref().is_none_or(|id| *id == delivery.event_id)
            && self.contact.is_none_or(|id| Some(id) == contact)
            && self.trigger.as_ref().is_none_or(|trigger| *trigger == delivery.trigger)
            && self.since.is_none_or(|since| delivery.created_at >= since)
            && self.before.is_none_or(|before| (delivery.created_at, delivery.key.id) < before)
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
    /// It is due, and a process is sending it or the deliveries of its lane.
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

impl Summary {
    /// A delivery that has no row yet.
    pub(super) fn unsent(Unsent { delivery, is_owned }: &Unsent) -> Self {
        Self {
            id: delivery.key.id,
            company: delivery.key.company.clone(),
            trigger: delivery.trigger.clone(),
            state: State::Pending.name().to_owned(),
            event_id: delivery.event_id.clone(),
            contact_id: delivery.contact.map(|(contact, _)| contact.0),
            contact_version: delivery.contact.map(|(_, version)| version),
            endpoint_id: Some(delivery.endpoint_id),
            endpoint_url: Some(delivery.endpoint_url.clone()),
            attempts: 0,
            schedule_from: 0,
            last_status: None,
            last_class: None,
            last_error: None,
            newest_only: false,
            digest: false,
            digest_id: None,
            in_flight: *is_owned,
            created_at: delivery.created_at,
            next_attempt_at: None,
            finished_at: None,
            lane: None,
            now: delivery.created_at,
        }
    }
}

/// The matching deliveries of batches.
pub(super) async fn matching_unsent(
    conn: &mut PgConnection,
    filter: &Filter,
) -> Result<Searched<Unsent>, sqlx::Error> {
    if filter.states.as_ref().is_some_and(|states| !states.contains(&State::Pending)) {
        return Ok(Searched { found: Vec::new(), is_complete: true });
    }
    let of = |unsent: Unsent| filter.matches(&unsent.delivery).then(|| without_request(unsent));
    search::search(conn, filter.company.as_deref(), of).await
}

/// Those of these deliveries that are to be sent and have no row yet, as far as they could be searched; without the headers
/// and bodies of their requests.
///
/// # Errors
/// When the database fails.
pub async fn unrecorded(conn: &mut PgConnection, keys: &[Key]) -> Result<Searched<Unsent>, sqlx::Error> {
    unrecorded_as(conn, keys, without_request).await
}

/// This delivery, if it is to be sent and has no row yet.
///
/// # Errors
/// When the database fails.
pub(super) async fn unrecorded_one(
    conn: &mut PgConnection,
    key: &Key,
) -> Result<Option<Unsent>, sqlx::Error> {
    Ok(unrecorded_as(conn, std::slice::from_ref(key), |unsent| unsent).await?.found.pop())
}

async fn unrecorded_as(
    conn: &mut PgConnection,
    keys: &[Key],
    of: fn(Unsent) -> Unsent,
) -> Result<Searched<Unsent>, sqlx::Error> {
    let keys: HashSet<&Key> = keys.iter().collect();
    let companies: BTreeSet<&str> = keys.iter().map(|key| key.company.as_str()).collect();
    let (mut unsent, mut is_complete) = (Vec::new(), true);
    for company in companies {
        let of = |unsent: Unsent| keys.contains(&unsent.delivery.key).then(|| of(unsent));
        let searched = search::search(conn, Some(company), of).await?;
        unsent.extend(searched.found);
        is_complete &= searched.is_complete;
    }
    Ok(Searched { found: without_rows(conn, unsent).await?, is_complete })
}

/// Leaves out those that have a row.
pub(super) async fn without_rows(
    conn: &mut PgConnection,
    mut unsent: Vec<Unsent>,
) -> Result<Vec<Unsent>, sqlx::Error> {
    let known = super::existing(conn, unsent.iter().map(|one| &one.delivery)).await?;
    unsent.retain(|one| !known.contains(&one.delivery.key));
    Ok(unsent)
}

/// A listing of many deliveries must not hold all their bodies.
fn without_request(mut unsent: Unsent) -> Unsent {
    unsent.delivery.request.headers = Vec::new();
    unsent.delivery.request.body = None;
    unsent
}

/// The keys of at most `limit` deliveries whose id is in this inclusive range, which an abbreviated id spans. The
/// primary key begins with the company, so the query searches each company by itself. Those without a row are found as far as
/// they could be searched, and not even looked for if the whole id of one with a row is given.
///
/// # Errors
/// When the database fails.
pub async fn matching(
    conn: &mut PgConnection,
    company: Option<&str>,
    (first, last): (Uuid, Uuid),
    limit: i64,
) -> Result<Searched<Key>, sqlx::Error> {
    let mut found = recorded(conn, company, (first, last), limit).await?;
    if first == last && !found.is_empty() {
        return Ok(Searched { found, is_complete: true });
    }
    let of = |unsent: Unsent| {
        Some(unsent.delivery.key).filter(|key| (first..=last).contains(&key.id) && !found.contains(key))
    };
    let unsent = search::search(conn, company, of).await?;
    found.extend(unsent.found);
    // Those that got a row after the first read.
    if found.is_empty() {
        found = recorded(conn, company, (first, last), limit).await?;
    }
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Searched { found, is_complete: unsent.is_complete })
}

/// Those of them that have a row.
async fn recorded(
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
