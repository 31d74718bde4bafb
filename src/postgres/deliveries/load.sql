-- Loads due deliveries of lanes. See load.rs.
--   by lane: $1 company, $2 endpoint, $3 and $4 the place after which to go on, $5 maximum, $6 how long overdue; $7 the owner; $8 maximum bytes of bodies
--   and headers, except for the last one; $9 deliveries to pass over
WITH v AS MATERIALIZED (
    SELECT v.*
    FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::bigint[], $6::interval[])
        AS v(company_id, endpoint_id, after_due, after_id, room, overdue)
    -- IS NOT DISTINCT FROM keeps the planner from reading all lanes of the owner.
    CROSS JOIN LATERAL (
        SELECT FROM webhook_endpoints e WHERE e.company_id = v.company_id AND e.endpoint_id = v.endpoint_id
          AND e.owner IS NOT DISTINCT FROM $7 AND e.paused_at IS NULL AND e.disabled_at IS NULL LIMIT 1) lane)
SELECT company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from, age_ms AS "age_ms!",
    event_key, step, source, event_id, trigger_name, contact_id, contact_version, traceparent, tracestate, method, url,
    headers, body, fault, newest_only, awaited, digest
FROM (
    SELECT p.company_id, p.delivery_id, p.created_at, p.endpoint_id, p.due_at, p.attempts, p.schedule_from,
        (extract(epoch FROM now() - p.round_started_at) * 1000)::double precision AS age_ms,
        d.event_key, d.step, d.source, d.event_id, d.trigger_name, d.contact_id, d.contact_version,
        d.traceparent, d.tracestate, d.method, d.url, d.headers, d.body, d.fault, d.newest_only, d.awaited,
        d.digest,
        sum(coalesce(octet_length(d.body), 0) + octet_length(d.headers)) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS size_before
    FROM v
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_pending w
        WHERE w.company_id = v.company_id AND w.endpoint_id = v.endpoint_id
          AND (w.due_at, w.delivery_id) > (v.after_due, v.after_id) AND w.due_at <= now() - v.overdue
          -- A subquery, so that it is hashed.
          AND w.delivery_id NOT IN (SELECT UNNEST($9::uuid[]))
        ORDER BY w.due_at, w.delivery_id LIMIT v.room) p
    JOIN webhook_deliveries d ON d.company_id = p.company_id AND d.delivery_id = p.delivery_id
        AND d.created_at = p.created_at) loaded
WHERE coalesce(size_before, 0) < $8
