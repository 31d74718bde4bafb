-- Takes lanes that are due. See schedule.rs.
--   $1 the owner, $2 maximum of a turn, $3 maximum in all, $4 companies to skip, $5 the first turn, $6 the number of turns
WITH RECURSIVE turns AS MATERIALIZED (
    SELECT position, (position + $5) % $6 AS turn,
        EXISTS (SELECT FROM UNNEST($4::text[]) AS f(company_id) WHERE hashtext(f.company_id) & ($6 - 1) = (position + $5) % $6)
            AS is_shared
    FROM generate_series(0, $6 - 1) AS position),
-- A company to skip may have a hundred thousand lanes in its turn. So there, each company is looked at once instead.
companies AS (
    SELECT t.position, t.turn, first.company_id FROM turns t
    CROSS JOIN LATERAL (
        SELECT e.company_id FROM webhook_endpoints e
        WHERE e.turn = t.turn AND e.owner IS NULL AND e.next_due_at < 'infinity'
        ORDER BY e.company_id LIMIT 1) first
    WHERE t.is_shared
    UNION ALL
    SELECT c.position, c.turn, next.company_id FROM companies c
    CROSS JOIN LATERAL (
        SELECT e.company_id FROM webhook_endpoints e
        WHERE e.turn = c.turn AND e.owner IS NULL AND e.next_due_at < 'infinity' AND e.company_id > c.company_id
        ORDER BY e.company_id LIMIT 1) next),
due AS MATERIALIZED (
    SELECT lane.* FROM turns t
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT company_id, endpoint_id FROM webhook_endpoints e
            WHERE e.turn = t.turn AND NOT t.is_shared AND e.owner IS NULL AND e.next_due_at < 'infinity'
              AND e.next_due_at <= now()
            ORDER BY e.next_due_at LIMIT $2 FOR UPDATE SKIP LOCKED) alone
        UNION ALL
        SELECT * FROM (
            SELECT of_company.* FROM companies c
            CROSS JOIN LATERAL (
                SELECT company_id, endpoint_id FROM webhook_endpoints e
                WHERE e.turn = c.turn AND e.company_id = c.company_id AND e.owner IS NULL
                  AND e.next_due_at < 'infinity' AND e.next_due_at <= now()
                ORDER BY e.next_due_at LIMIT $2 FOR UPDATE SKIP LOCKED) of_company
            WHERE t.is_shared AND c.position = t.position AND c.company_id <> ALL($4)
            LIMIT $2) shared) lane
    LIMIT $3)
UPDATE webhook_endpoints e
SET owner = $1, next_due_at = 'infinity',
    breaker = CASE WHEN e.breaker = 'open' AND e.breaker_until <= now() THEN 'half_open' ELSE e.breaker END
FROM due WHERE e.company_id = due.company_id AND e.endpoint_id = due.endpoint_id
RETURNING e.company_id, e.endpoint_id, e.url, e.turn AS "turn!", e.max_in_flight, e.send_interval_us,
    e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL AS "is_stopped!", e.held_until, e.next_slot_at,
    e.breaker, e.breaker_until, e.openings, e.allowance, e.failures, e.failing_since,
    true AS "has_backlog!", now() AS "now!"
