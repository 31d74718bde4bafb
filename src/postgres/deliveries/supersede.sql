-- Supersedes the deliveries that a newer version of their contact makes obsolete. See supersede.rs.
WITH mine AS MATERIALIZED (
    SELECT d.company_id, d.delivery_id, d.contact_id, d.endpoint_id, d.contact_version
    FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
    JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
        -- A worker that was frozen until its lease expired must not supersede anything.
        AND d.lease_token = $3 AND d.state IS NOT DISTINCT FROM 'pending'),
judged AS MATERIALIZED (
    SELECT m.*,
        EXISTS (SELECT FROM webhook_deliveries newer
            WHERE newer.company_id = m.company_id AND newer.contact_id = m.contact_id
              AND newer.endpoint_id = m.endpoint_id AND newer.newest_only
              AND newer.contact_version > m.contact_version AND newer.state IN ('pending', 'delivered')) AS is_old,
        EXISTS (SELECT FROM webhook_deliveries older
            WHERE older.company_id = m.company_id AND older.contact_id = m.contact_id
              AND older.endpoint_id = m.endpoint_id AND older.newest_only
              AND older.contact_version < m.contact_version AND older.state IS NOT DISTINCT FROM 'pending'
              AND older.lease_token <> $3 AND older.next_attempt_at > now()) AS is_early
    FROM mine m),
waiting AS (
    -- LATERAL: a plan cached while little was pending must not read all pending deliveries for each row.
    SELECT older.company_id, older.delivery_id FROM judged j
    CROSS JOIN LATERAL (
        SELECT d.company_id, d.delivery_id FROM webhook_deliveries d
        WHERE d.company_id = j.company_id AND d.contact_id = j.contact_id
          AND d.endpoint_id = j.endpoint_id AND d.newest_only AND d.contact_version < j.contact_version
          AND d.state IS NOT DISTINCT FROM 'pending' AND d.lease_token IS NULL
        FOR UPDATE SKIP LOCKED) older
    WHERE NOT j.is_old),
yielding AS (
    SELECT company_id, delivery_id, true AS is_old FROM judged WHERE is_old
    UNION SELECT company_id, delivery_id, true FROM waiting
    UNION SELECT company_id, delivery_id, false FROM judged WHERE is_early AND NOT is_old)
UPDATE webhook_deliveries d
-- A delivery that an operator or an erasure has just ended keeps its state. It is not sent either.
SET state = CASE WHEN y.is_old AND d.state = 'pending' THEN 'superseded' ELSE d.state END,
    finished_at = CASE WHEN d.state <> 'pending' THEN d.finished_at WHEN y.is_old THEN now() END, lease_token = NULL,
    next_attempt_at = CASE WHEN y.is_old THEN d.next_attempt_at ELSE now() + interval '250 milliseconds' END
FROM yielding y WHERE d.company_id = y.company_id AND d.delivery_id = y.delivery_id
RETURNING d.company_id AS company, d.delivery_id AS id, y.is_old AS "is_superseded!", d.awaited AS is_awaited,
    d.schedule_from > 0 AS "is_replayed!", d.trigger_name AS trigger, d.event_id, d.source
