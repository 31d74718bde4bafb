//! The identity documents that a request to a receiver, or its answer, may contain.

use sqlx::PgConnection;
use uuid::Uuid;

/// Every document that the contact of a delivery has, or has had, and the same of these deliveries and of the members of digests
/// among them. Personal data.
///
/// # Errors
/// When the database fails.
pub async fn documents(
    conn: &mut PgConnection,
    company: &str,
    contact: Option<Uuid>,
    deliveries: &[Uuid],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH people AS MATERIALIZED (
               SELECT $2::uuid AS contact_id
               UNION SELECT d.contact_id FROM webhook_deliveries d
               WHERE d.company_id = $1 AND d.delivery_id = ANY($3)
               UNION SELECT d.contact_id FROM webhook_deliveries d
               WHERE d.company_id = $1 AND d.digest_id = ANY($3)),
           known AS (
               SELECT c.identity AS document
               FROM people p
               LEFT JOIN contact_aliases a ON a.company_id = $1 AND a.alias_id = p.contact_id
               JOIN contacts c ON c.company_id = $1 AND c.contact_id = coalesce(a.contact_id, p.contact_id)
               UNION SELECT e.fields::jsonb ->> 'identity'
               FROM people p JOIN trigger_events e ON e.company_id = $1 AND e.contact_id = p.contact_id)
           SELECT document AS "document!" FROM known WHERE document IS NOT NULL"#,
        company,
        contact,
        deliveries,
    )
    .fetch_all(conn)
    .await
}
