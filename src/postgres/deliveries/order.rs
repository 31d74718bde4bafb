//! "Newest only": an endpoint that asked for it never gets an older version of a contact after a newer one.
//!
//! Whoever claims first says so (the lease is committed) and looks then: of two that claim two versions at
//! once at least one sees the other. The older one gives way for good, the newer one for a moment.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{ClaimedDelivery, DeliveryKey, record};

/// Leaves in `claimed` what may be sent. What a newer version makes needless is closed as `superseded`, and
/// with it what waits of older versions; what comes while an older version is on its way is given back, to be
/// looked at again soon. All were claimed with `token`.
///
/// # Errors
/// When the database refuses or is away. What was claimed then becomes due again with its lease.
pub(super) async fn keep(
    conn: &mut PgConnection,
    token: Uuid,
    claimed: &mut Vec<ClaimedDelivery>,
) -> Result<(), sqlx::Error> {
    let ordered = claimed.iter().filter(|delivery| delivery.newest_only);
    let (companies, ids): (Vec<String>, Vec<Uuid>) =
        ordered.map(|delivery| (delivery.key.company.clone(), delivery.key.id)).unzip();
    let rows = sqlx::query!(
        r#"WITH mine AS MATERIALIZED (
             SELECT d.company_id, d.delivery_id, d.contact_id, d.endpoint_id, d.contact_version
             FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, delivery_id)
             JOIN webhook_deliveries d ON d.company_id = k.company_id AND d.delivery_id = k.delivery_id),
         judged AS MATERIALIZED (
             SELECT m.*,
                 EXISTS (SELECT FROM webhook_deliveries n
                     WHERE n.company_id = m.company_id AND n.contact_id = m.contact_id
                       AND n.endpoint_id = m.endpoint_id AND n.newest_only AND n.contact_version > m.contact_version
                       AND n.state IN ('pending', 'delivered')) AS is_old,
                 EXISTS (SELECT FROM webhook_deliveries o
                     WHERE o.company_id = m.company_id AND o.contact_id = m.contact_id
                       AND o.endpoint_id = m.endpoint_id AND o.newest_only AND o.contact_version < m.contact_version
                       AND o.state IS NOT DISTINCT FROM 'pending' AND o.lease_token <> $3
                       AND o.next_attempt_at > now()) AS is_early
             FROM mine m),
         waiting AS (
             SELECT o.company_id, o.delivery_id FROM judged j
             JOIN webhook_deliveries o ON o.company_id = j.company_id AND o.contact_id = j.contact_id
                 AND o.endpoint_id = j.endpoint_id AND o.newest_only AND o.contact_version < j.contact_version
             WHERE NOT j.is_old AND o.state IS NOT DISTINCT FROM 'pending' AND o.lease_token IS NULL
             FOR UPDATE OF o SKIP LOCKED),
         ended AS (
             SELECT company_id, delivery_id, true AS is_old FROM judged WHERE is_old
             UNION SELECT company_id, delivery_id, true FROM waiting
             UNION SELECT company_id, delivery_id, false FROM judged WHERE is_early AND NOT is_old)
         UPDATE webhook_deliveries d
         SET state = CASE WHEN e.is_old THEN 'superseded' ELSE d.state END,
             finished_at = CASE WHEN e.is_old THEN now() END, lease_token = NULL,
             next_attempt_at = CASE WHEN e.is_old THEN d.next_attempt_at ELSE now() + interval '250 milliseconds' END
         FROM ended e WHERE d.company_id = e.company_id AND d.delivery_id = e.delivery_id
         RETURNING d.company_id, d.delivery_id, e.is_old AS "is_old!""#,
        &companies,
        &ids,
        token,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ended: BTreeMap<DeliveryKey, bool> = rows
        .into_iter()
        .map(|row| (DeliveryKey { company: row.company_id, id: row.delivery_id }, row.is_old))
        .collect();
    let superseded: Vec<&ClaimedDelivery> =
        claimed.iter().filter(|delivery| ended.get(&delivery.key) == Some(&true)).collect();
    record::resolve(conn, &superseded).await?;
    claimed.retain(|delivery| !ended.contains_key(&delivery.key));
    Ok(())
}
