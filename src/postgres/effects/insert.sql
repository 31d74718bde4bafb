-- The rows, and then the state of lanes, as `endpoints::lanes` reads it.
WITH inserted AS (
    INSERT INTO effects (company_id, batch, kind, owner, items, body)
    SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::integer[], $6::bytea[]))
SELECT e.company_id, e.endpoint_id, e.url, e.turn AS "turn!", e.max_in_flight, e.send_interval_us,
    e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL AS "is_stopped!", e.held_until, e.next_slot_at,
    e.breaker, e.breaker_until, e.openings, e.allowance, e.failures, e.failing_since,
    e.owner IS NOT NULL OR e.next_due_at <= now() AS "has_backlog!", now() AS "now!"
FROM UNNEST($7::text[], $8::uuid[]) AS u(company_id, endpoint_id)
JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
