//! What processes own.
//!
//! If a process's row has expired, other processes take over within seconds. They search for owners without a row once
//! a minute.

use sqlx::PgConnection;

use super::{Check, PAGE, Page, Place, Scope};
use crate::postgres::processes;

/// Events to publish and webhooks to send.
pub(super) async fn effects(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT f.company_id, f.batch, f.kind,
               f.owner IS NOT NULL AND f.created_at < now() - interval '5 minutes'
               AND NOT EXISTS (SELECT FROM processes p WHERE p.process_id = f.owner
                   AND p.alive_until > now() - interval '2 minutes' OFFSET 0) AS "is_abandoned!"
           FROM effects f
           WHERE (f.company_id, f.batch, f.kind) > ($1, $2, $3) AND f.company_id <= $4
           ORDER BY f.company_id, f.batch, f.kind LIMIT $5"#,
        after.company,
        after.id,
        after.kind,
        scope.to,
        PAGE,
    )
    .fetch_all(&mut *conn)
    .await?;
    let has_others = processes::alive(conn).await? > 0;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.batch);
        page.unless(!(row.is_abandoned && has_others), Check::EffectsOwners, key, "owned by a dead process");
        page.row(|| Place { kind: row.kind, ..Place::at(row.company_id, row.batch) });
    }
    Ok(page)
}

/// Lanes.
pub(super) async fn endpoints(
    conn: &mut PgConnection,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT e.company_id, e.endpoint_id,
               e.owner IS NOT NULL
               AND NOT EXISTS (SELECT FROM processes p WHERE p.process_id = e.owner
                   AND p.alive_until > now() - interval '2 minutes' OFFSET 0) AS "is_abandoned!"
           FROM webhook_endpoints e
           WHERE (e.company_id, e.endpoint_id) > ($1, $2) AND e.company_id <= $3
           ORDER BY e.company_id, e.endpoint_id LIMIT $4"#,
        after.company,
        after.id,
        scope.to,
        PAGE,
    )
    .fetch_all(&mut *conn)
    .await?;
    let has_others = processes::alive(conn).await? > 0;
    let mut page = Page::default();
    for row in rows {
        let key = (row.company_id.as_str(), row.endpoint_id);
        page.unless(!(row.is_abandoned && has_others), Check::LaneOwners, key, "owned by a dead process");
        page.row(|| Place::at(row.company_id, row.endpoint_id));
    }
    Ok(page)
}
