-- Supersedes the deliveries that a newer version of their contact makes obsolete. See supersede.rs.
--   $1 companies and $2 ids of the loaded deliveries, $3 the ids of those in flight
WITH mine AS MATERIALIZED (
    SELECT p.* FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
    JOIN webhook_pending p ON p.company_id = u.company_id AND p.delivery_id = u.delivery_id),
judged AS MATERIALIZED (
    SELECT m.*,
        EXISTS (SELECT FROM webhook_pending newer
            WHERE newer.company_id = m.company_id AND newer.contact_id = m.contact_id
              AND newer.endpoint_id = m.endpoint_id AND newer.contact_version > m.contact_version)
        OR EXISTS (SELECT FROM webhook_deliveries newer
            WHERE newer.company_id = m.company_id AND newer.contact_id = m.contact_id
              AND newer.endpoint_id = m.endpoint_id AND newer.newest_only
              AND newer.contact_version > m.contact_version AND newer.state = 'delivered'
              -- Only the partitions that can have it. The clocks of the processes differ by less than a day.
              AND newer.created_at > m.created_at - interval '1 day'
              AND newer.created_at < now() + interval '1 day') AS is_old,
        EXISTS (SELECT FROM webhook_pending older
            WHERE older.company_id = m.company_id AND older.contact_id = m.contact_id
              AND older.endpoint_id = m.endpoint_id AND older.contact_version < m.contact_version
              AND older.delivery_id = ANY($3)) AS is_early
    FROM mine m),
yielding AS (
    SELECT company_id, delivery_id, created_at, true AS is_old FROM judged WHERE is_old
    UNION
    SELECT older.company_id, older.delivery_id, older.created_at, true FROM judged j
    CROSS JOIN LATERAL (
        SELECT w.* FROM webhook_pending w
        WHERE w.company_id = j.company_id AND w.contact_id = j.contact_id
          AND w.endpoint_id = j.endpoint_id AND w.contact_version < j.contact_version
          AND w.delivery_id <> ALL($3)) older
    WHERE NOT j.is_old
    UNION
    SELECT company_id, delivery_id, created_at, false FROM judged WHERE is_early AND NOT is_old),
ended AS (
    DELETE FROM webhook_pending p USING yielding y
    WHERE p.company_id = y.company_id AND p.delivery_id = y.delivery_id AND y.is_old
    RETURNING y.*, p.attempts, p.schedule_from),
postponed AS (
    UPDATE webhook_pending p SET due_at = now() + interval '250 milliseconds' FROM yielding y
    WHERE p.company_id = y.company_id AND p.delivery_id = y.delivery_id AND NOT y.is_old),
finished AS (
    UPDATE webhook_deliveries d
    SET state = 'superseded', finished_at = now(), attempts = e.attempts
    FROM ended e
    WHERE d.company_id = e.company_id AND d.delivery_id = e.delivery_id AND d.created_at = e.created_at
    RETURNING d.company_id, d.delivery_id, d.awaited, d.trigger_name, d.event_id, d.source, e.schedule_from)
SELECT y.company_id AS "company!", y.delivery_id AS "id!", y.created_at AS "created_at!", y.is_old AS "is_superseded!",
    coalesce(f.awaited, false) AS "is_awaited!", coalesce(f.schedule_from > 0, false) AS "is_replayed!",
    coalesce(f.trigger_name, '') AS "trigger!", coalesce(f.event_id, '') AS "event_id!",
    coalesce(f.source, '') AS "source!"
FROM yielding y LEFT JOIN finished f ON f.company_id = y.company_id AND f.delivery_id = y.delivery_id
