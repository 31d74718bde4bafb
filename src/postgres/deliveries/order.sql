-- Closes what a newer version of a contact makes needless. See order.rs.
WITH mine AS MATERIALIZED (
    SELECT d.company_id, d.delivery_id, d.contact_id, d.endpoint_id, d.contact_version
    FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, delivery_id)
    JOIN webhook_deliveries d ON d.company_id = k.company_id AND d.delivery_id = k.delivery_id
        -- Whoever was held up until its lease had ended judges nothing of others.
        AND d.lease_token = $3 AND d.state IS NOT DISTINCT FROM 'pending'),
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
    -- LATERAL: a plan that was made while little was pending must not read all that is pending for each.
    SELECT older.company_id, older.delivery_id FROM judged j
    CROSS JOIN LATERAL (
        SELECT o.company_id, o.delivery_id FROM webhook_deliveries o
        WHERE o.company_id = j.company_id AND o.contact_id = j.contact_id
          AND o.endpoint_id = j.endpoint_id AND o.newest_only AND o.contact_version < j.contact_version
          AND o.state IS NOT DISTINCT FROM 'pending' AND o.lease_token IS NULL
        FOR UPDATE SKIP LOCKED) older
    WHERE NOT j.is_old),
ended AS (
    SELECT company_id, delivery_id, true AS is_old FROM judged WHERE is_old
    UNION SELECT company_id, delivery_id, true FROM waiting
    UNION SELECT company_id, delivery_id, false FROM judged WHERE is_early AND NOT is_old)
UPDATE webhook_deliveries d
-- What an operator or an erasure has just ended stays as they left it, and is not sent either.
SET state = CASE WHEN e.is_old AND d.state = 'pending' THEN 'superseded' ELSE d.state END,
    finished_at = CASE WHEN d.state <> 'pending' THEN d.finished_at WHEN e.is_old THEN now() END, lease_token = NULL,
    next_attempt_at = CASE WHEN e.is_old THEN d.next_attempt_at ELSE now() + interval '250 milliseconds' END
FROM ended e WHERE d.company_id = e.company_id AND d.delivery_id = e.delivery_id
RETURNING d.company_id, d.delivery_id, e.is_old AS "is_old!", d.awaited, d.schedule_from > 0 AS "is_replayed!",
    d.trigger_name, d.event_id, d.source
