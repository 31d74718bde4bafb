//! The ledger, the history and the dead letters.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Check, PAGE, Page, Place, Scope, indexes,
    webhooks::{self, Step},
};
use crate::{domain::event::EventRef, postgres::columns::column};

/// The ledger.
pub(super) async fn ledger(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT ae.company_id, ae.event_key, ae.meaning IS NOT NULL OR EXISTS (
               SELECT FROM dead_letters dl
               WHERE dl.company_id = ae.company_id AND dl.event_key = ae.event_key OFFSET 0) AS "has_end!"
           FROM applied_events ae
           WHERE (ae.company_id, ae.event_key) > ($1, $2) AND ae.company_id <= $3
           ORDER BY ae.company_id, ae.event_key LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.event_key);
        page.unless(row.has_end, Check::RefusedEvents, key, "event refused, no dead letter");
        page.row(|| Place::at(row.company_id, row.event_key));
    }
    Ok(page)
}

/// The dead letters, and their events.
pub(super) async fn dead_letters(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT dl.company_id, dl.dead_letter_id,
               dl.event_key IS NULL OR ae.event_key IS NOT NULL AS "is_known!",
               dl.state = 'resolved' OR ae.meaning IS NULL OR ae.erased
                   OR (ae.meaning <> substr(dl.meaning, 1, 16) AND dl.reason IN ('event_id_conflict', 'broker'))
                   AS "is_only_end!",
               (dl.state IN ('resolved', 'discarded')) = (dl.settled_at IS NOT NULL)
                   AND (dl.state = 'discarded' OR dl.settled_by IS NULL OR dl.state = 'resolved')
                   AND (dl.state <> 'discarded' OR dl.settled_by IS NOT NULL)
                   AND (dl.state <> 'replaying' OR dl.replays > 0)
                   AND (dl.stage = 'webhook' OR dl.delivery_id IS NULL) AS "is_consistent!"
           FROM dead_letters dl
           LEFT JOIN applied_events ae ON ae.company_id = dl.company_id AND ae.event_key = dl.event_key
           WHERE (dl.company_id, dl.dead_letter_id) > ($1, $2) AND dl.company_id <= $3
           ORDER BY dl.company_id, dl.dead_letter_id LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(conn)
    .await?;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.dead_letter_id);
        page.unless(
            row.is_known,
            Check::OneEnd,
            key,
            "the ledger does not know the event of the dead letter",
        );
        page.unless(
            row.is_only_end,
            Check::OneEnd,
            key,
            "unresolved dead letter of an event that was applied",
        );
        page.unless(row.is_consistent, Check::DeadLetterStates, key, "state and columns disagree");
        page.row(|| Place::at(row.company_id, row.dead_letter_id));
    }
    Ok(page)
}

/// The history, its events, its contacts and its webhooks.
pub(super) async fn history(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT t.company_id, t.contact_id, t.event_time, t.applied_order, t.source, t.event_id, t.applied_at,
               t.webhooks,
               EXISTS (SELECT FROM contact_aliases a WHERE a.company_id = t.company_id AND a.alias_id = t.contact_id OFFSET 0)
               OR EXISTS (SELECT FROM contact_erasures x
                   WHERE x.company_id = t.company_id AND x.contact_id = t.contact_id OFFSET 0) AS "is_former!",
               (SELECT c.version FROM contacts c WHERE c.company_id = t.company_id AND c.contact_id = t.contact_id)
                   AS living_version,
               t.version
           FROM trigger_events t
           WHERE (t.company_id, t.contact_id, t.event_time, t.applied_order) > ($1, $2, $3, $4)
             AND t.company_id <= $5
           ORDER BY t.company_id, t.contact_id, t.event_time, t.applied_order LIMIT $6"#,
        after.company,
        after.id,
        after.time,
        after.order,
        scope.to,
        PAGE,
    )
    .fetch_all(&mut *conn)
    .await?;
    let (mut page, mut steps) = (Page::default(), Vec::new());
    for row in rows {
        let key = (row.company_id.as_str(), row.contact_id);
        let check = Check::HistoryContacts;
        page.unless(
            row.is_former || row.living_version.is_some(),
            check,
            key,
            "history of an unknown contact",
        );
        let is_older = row.living_version.is_none_or(|version| row.version <= version);
        page.unless(is_older, check, key, "the contact's version has gone back");
        page.row(|| {
            let (company, id) = (row.company_id.clone(), row.contact_id);
            Place { time: row.event_time, order: row.applied_order, ..Place::at(company, id) }
        });
        let Ok(event) = EventRef::new(&row.source, &row.event_id) else {
            page.unless(false, Check::HistoryEvents, key, "history with an unreadable event");
            continue;
        };
        let (company, contact) = (row.company_id, row.contact_id);
        steps.push(Step { company, contact, applied_at: row.applied_at, event, webhooks: row.webhooks });
    }
    let keys: Vec<(&str, Uuid)> =
        steps.iter().map(|step| (step.company.as_str(), step.event.key())).collect();
    for index in not_applied(conn, &keys).await? {
        if let Some(step) = steps.get(index) {
            let key = (step.company.as_str(), step.contact);
            page.unless(false, Check::HistoryEvents, key, "history of an event that was not applied");
        }
    }
    webhooks::steps(conn, scope, &steps, &mut page).await?;
    Ok(page)
}

/// The indexes of those of these events that were not applied.
pub(super) async fn not_applied(
    conn: &mut PgConnection,
    events: &[(&str, Uuid)],
) -> Result<Vec<usize>, sqlx::Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let missing = sqlx::query_scalar!(
        r#"SELECT u.n AS "n!" FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, event_key, n)
           WHERE NOT EXISTS (
               SELECT FROM applied_events ae
               WHERE ae.company_id = u.company_id AND ae.event_key = u.event_key AND ae.meaning IS NOT NULL OFFSET 0)"#,
        &column(events, |(company, _)| *company) as &[&str],
        &column(events, |(_, key)| *key),
    )
    .fetch_all(conn)
    .await?;
    Ok(indexes(missing))
}
