//! Deliveries, their retry clocks and lanes, the webhook steps of events, and the results that wait for them.

use std::collections::{BTreeSet, HashSet};

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{Check, PAGE, Page, Place, Scope, indexes};
use crate::{
    domain::{
        chain::completed::AppliedChain,
        event::{CompanyId, EventRef},
        webhook::delivery::{Delivery, delivery_id},
    },
    postgres::{columns::column, effects::Part as _},
};

/// Deliveries, with what a state needs.
pub(super) async fn deliveries(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    // An erasure may remove the dead letter of a delivery that only mentions the person.
    let rows = sqlx::query!(
        r#"SELECT d.company_id, d.delivery_id, d.created_at,
               (d.state = 'pending') = (d.finished_at IS NULL) AS "is_consistent!",
               d.state <> 'pending' OR EXISTS (
                   SELECT FROM webhook_pending p WHERE p.company_id = d.company_id AND p.delivery_id = d.delivery_id
                       AND p.created_at = d.created_at OFFSET 0) AS "has_clock!",
               d.state <> 'dead' OR EXISTS (
                   SELECT FROM dead_letters dl WHERE dl.company_id = d.company_id AND dl.delivery_id = d.delivery_id
                       AND dl.state IN ('open', 'replaying') OFFSET 0)
               OR EXISTS (
                   SELECT FROM contact_erasures x WHERE x.company_id = d.company_id
                       AND x.erased_at > d.created_at - interval '1 hour' OFFSET 0) AS "has_dead_letter!",
               d.state <> 'delivered' OR NOT EXISTS (
                   SELECT FROM dead_letters dl WHERE dl.company_id = d.company_id AND dl.delivery_id = d.delivery_id
                       AND dl.state IN ('open', 'replaying') OFFSET 0) AS "is_only_end!"
           FROM webhook_deliveries d
           WHERE (d.company_id, d.delivery_id, d.created_at) > ($1, $2, $3) AND d.company_id <= $4
           ORDER BY d.company_id, d.delivery_id, d.created_at LIMIT $5"#,
        after.company,
        after.id,
        after.time,
        scope.to,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.delivery_id);
        page.unless(row.is_consistent, Check::DeliveryStates, key, "state and end disagree");
        page.unless(row.has_clock, Check::PendingDeliveries, key, "a pending delivery without a retry clock");
        page.unless(row.has_dead_letter, Check::DeadDeliveries, key, "a dead delivery without a dead letter");
        let found = "unsettled dead letter of a webhook that was delivered";
        page.unless(row.is_only_end, Check::DeadDeliveries, key, found);
        page.row(|| Place { time: row.created_at, ..Place::at(row.company_id, row.delivery_id) });
    }
    Ok(page)
}

/// Retry clocks, with their deliveries and lanes.
pub(super) async fn pending(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    // The owner of a lane has set its time to infinity, and lowers it on release.
    let rows = sqlx::query!(
        r#"SELECT p.company_id, p.delivery_id,
               EXISTS (SELECT FROM webhook_deliveries d WHERE d.company_id = p.company_id
                   AND d.delivery_id = p.delivery_id AND d.created_at = p.created_at AND d.state = 'pending' OFFSET 0)
                   AS "has_delivery!",
               EXISTS (SELECT FROM webhook_endpoints e WHERE e.company_id = p.company_id
                   AND e.endpoint_id = p.endpoint_id AND (e.owner IS NOT NULL OR e.next_due_at < 'infinity'
                       OR e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL) OFFSET 0) AS "has_lane!"
           FROM webhook_pending p
           WHERE (p.company_id, p.delivery_id) > ($1, $2) AND p.company_id <= $3
           ORDER BY p.company_id, p.delivery_id LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.delivery_id);
        page.unless(row.has_delivery, Check::RetryClocks, key, "a retry clock without a pending delivery");
        page.unless(row.has_lane, Check::Lanes, key, "no process will claim the delivery's lane");
        page.row(|| Place::at(row.company_id, row.delivery_id));
    }
    Ok(page)
}

/// Results that wait for webhooks.
pub(super) async fn chains(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT c.company_id, c.event_key, c.waiting, c.chain::text AS "chain!", c.created_at
           FROM chain_results c
           WHERE (c.company_id, c.event_key) > ($1, $2) AND c.company_id <= $3
           ORDER BY c.company_id, c.event_key LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(&mut *conn)
    .await?;
    let (mut page, mut wanted) = (Page::default(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        let key = (row.company_id.as_str(), row.event_key);
        page.row(|| Place::at(row.company_id.clone(), row.event_key));
        let chain: Option<AppliedChain> = serde_json::from_str(&row.chain).ok();
        let Some((company, chain)) = CompanyId::new(&row.company_id).ok().zip(chain) else {
            page.unless(false, Check::ChainResults, key, "an unreadable chain");
            continue;
        };
        let ids = chain.webhooks().map(|step| delivery_id(chain.event(), &company, step));
        wanted.extend(ids.map(|id| (index, row.company_id.as_str(), id, row.created_at)));
    }
    let mut open = vec![0; rows.len()];
    for found in awaited(conn, &wanted).await? {
        if let Some(count) = wanted.get(found).and_then(|(index, ..)| open.get_mut(*index)) {
            *count += 1;
        }
    }
    for (row, open) in rows.iter().zip(open) {
        let key = (row.company_id.as_str(), row.event_key);
        page.unless(row.waiting == open, Check::ChainResults, key, "waits for another number of webhooks");
    }
    Ok(page)
}

/// The indexes of those of these deliveries whose end a result waits for.
async fn awaited(
    conn: &mut PgConnection,
    deliveries: &[(usize, &str, Uuid, OffsetDateTime)],
) -> Result<Vec<usize>, sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(Vec::new());
    }
    let found = sqlx::query_scalar!(
        r#"SELECT u.n AS "n!"
           FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS u(company_id, delivery_id, created_at, n)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
               AND d.created_at = u.created_at
           WHERE d.awaited"#,
        &column(deliveries, |(_, company, ..)| *company) as &[&str],
        &column(deliveries, |(_, _, id, _)| *id),
        &column(deliveries, |(.., created_at)| *created_at),
    )
    .fetch_all(conn)
    .await?;
    Ok(indexes(found))
}

/// A row of the history.
pub(super) struct Step {
    pub(super) company: String,
    pub(super) contact: Uuid,
    pub(super) applied_at: OffsetDateTime,
    pub(super) event: EventRef,
    /// The numbers of the webhook steps of its event, separated by commas.
    pub(super) webhooks: Option<String>,
}

/// A webhook step that must be somewhere.
struct Wanted<'a> {
    company: &'a str,
    id: Uuid,
    /// The time of the transaction that applied its event.
    applied_at: OffsetDateTime,
}

/// The webhook steps of the events of a page of the history.
pub(super) async fn steps(
    conn: &mut PgConnection,
    scope: &Scope,
    steps: &[Step],
    page: &mut Page,
) -> Result<(), sqlx::Error> {
    let mut wanted = Vec::new();
    for step in steps.iter().filter(|step| step.applied_at > scope.deliveries_since) {
        let Ok(company) = CompanyId::new(&step.company) else { continue };
        let numbers = step.webhooks.iter().flat_map(|steps| steps.split(','));
        let ids = numbers.filter_map(|number| Some(delivery_id(&step.event, &company, number.parse().ok()?)));
        wanted.extend(ids.map(|id| Wanted { company: &step.company, id, applied_at: step.applied_at }));
    }
    let missing = without_delivery(conn, &wanted).await?;
    let missing: Vec<&Wanted<'_>> = missing.into_iter().filter_map(|index| wanted.get(index)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let times = missing.iter().map(|one| one.applied_at).collect();
    let Some(unsent) = unsent(conn, &times).await? else { return Ok(()) };
    for one in missing.into_iter().filter(|one| !unsent.contains(&one.id)) {
        // An erasure may have removed a webhook that only mentions the person.
        if !has_erased_since(conn, one).await? {
            page.unless(false, Check::WebhookSteps, (one.company, one.id), "a webhook step that is nowhere");
        }
    }
    Ok(())
}

async fn without_delivery(conn: &mut PgConnection, wanted: &[Wanted<'_>]) -> Result<Vec<usize>, sqlx::Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // The clocks of the processes differ by less than a day. Digests aside, an id has one row.
    let day = Duration::DAY;
    let missing = sqlx::query_scalar!(
        r#"SELECT u.n AS "n!"
           FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[]) WITH ORDINALITY
               AS u(company_id, delivery_id, earliest, latest, n)
           WHERE NOT EXISTS (
               SELECT FROM webhook_deliveries d WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id
                   AND d.created_at BETWEEN u.earliest AND u.latest OFFSET 0)"#,
        &column(wanted, |one| one.company) as &[&str],
        &column(wanted, |one| one.id),
        &column(wanted, |one| one.applied_at - day),
        &column(wanted, |one| one.applied_at + day),
    )
    .fetch_all(conn)
    .await?;
    Ok(indexes(missing))
}

/// The webhooks that transactions of these times have left to be sent. A row has the time of its transaction, as the history
/// has. `None` if one of them cannot be read: it may have any webhook, and the process that takes it reports it.
async fn unsent(
    conn: &mut PgConnection,
    times: &BTreeSet<OffsetDateTime>,
) -> Result<Option<HashSet<Uuid>>, sqlx::Error> {
    let times: Vec<OffsetDateTime> = times.iter().copied().collect();
    // Row by row: each may have some MiB.
    let mut rows = sqlx::query!(
        "SELECT f.company_id, f.body FROM effects f WHERE f.kind = 'send' AND f.created_at = ANY($1)",
        &times,
    )
    .fetch(conn);
    let mut found = HashSet::new();
    while let Some(row) = rows.try_next().await? {
        let Ok(deliveries) = Delivery::unpack(&row.company_id, &row.body) else { return Ok(None) };
        found.extend(deliveries.into_iter().map(|delivery| delivery.key.id));
    }
    Ok(Some(found))
}

async fn has_erased_since(conn: &mut PgConnection, wanted: &Wanted<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM contact_erasures x WHERE x.company_id = $1 AND x.erased_at > $2 OFFSET 0) AS "has!""#,
        wanted.company,
        wanted.applied_at,
    )
    .fetch_one(conn)
    .await
}
