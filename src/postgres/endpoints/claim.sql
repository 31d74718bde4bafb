-- Takes lanes that are due. See schedule.rs.
--   $1 the owner, $2 maximum of a turn, $3 maximum in all, $4 companies to skip, $5 the first turn, $6 the number of turns
WITH due AS MATERIALIZED (
    SELECT lane.* FROM (SELECT (n + $5) % $6 AS turn FROM generate_series(0, $6 - 1) AS n) turns
    CROSS JOIN LATERAL (
        SELECT company_id, endpoint_id FROM webhook_endpoints e
        WHERE e.turn = turns.turn AND e.owner IS NULL AND e.next_due_at < 'infinity'
          AND e.next_due_at <= now() AND e.company_id <> ALL($4)
        ORDER BY e.next_due_at LIMIT $2 FOR UPDATE SKIP LOCKED) lane
    LIMIT $3)
UPDATE webhook_endpoints e
SET owner = $1, next_due_at = 'infinity',
    breaker = CASE WHEN e.breaker = 'open' AND e.breaker_until <= now() THEN 'half_open' ELSE e.breaker END
FROM due WHERE e.company_id = due.company_id AND e.endpoint_id = due.endpoint_id
RETURNING e.company_id, e.endpoint_id, e.url, e.turn AS "turn!", e.max_in_flight, e.send_interval_us,
    e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL AS "is_stopped!", e.held_until, e.next_slot_at,
    e.breaker, e.breaker_until, e.openings, e.allowance, e.failures, e.failing_since,
    true AS "has_backlog!", now() AS "now!"
