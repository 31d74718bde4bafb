-- Takes lanes that are due. See schedule.rs.
--   $1 the owner, $2 maximum of a turn, $3 maximum in all, $4 companies to skip, $5 the first turn, $6 the number of turns,
--   $7 the hash to begin at
WITH RECURSIVE turns AS MATERIALIZED (
    SELECT position, (position + $5) % $6 AS turn,
        EXISTS (SELECT FROM UNNEST($4::text[]) AS f(company_id) WHERE hashtext(f.company_id) & ($6 - 1) = (position + $5) % $6)
            AS is_shared
    FROM generate_series(0, $6 - 1) AS position),
-- A company to skip may have a hundred thousand lanes in its turn. So there, each company is looked at once instead, by its
-- hash from $7 on and round to it, but only so many of them, because most may have nothing that is due.
companies AS (
    SELECT position, turn, $7::integer AS company_hash, '' COLLATE "C" AS company_id, 1::bigint << 32 AS until, 0 AS looked_at
    FROM turns WHERE is_shared
    UNION ALL
    SELECT c.position, c.turn, next.company_hash, next.company_id, next.until, c.looked_at + 1 FROM companies c
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT e.company_hash, e.company_id, c.until FROM webhook_endpoints e
            WHERE e.turn = c.turn AND e.owner IS NULL AND e.next_due_at < 'infinity'
              AND (e.company_hash, e.company_id) > (c.company_hash, c.company_id) AND e.company_hash < c.until
            ORDER BY e.company_hash, e.company_id LIMIT 1) onward
        UNION ALL
        SELECT * FROM (
            SELECT e.company_hash, e.company_id, $7 FROM webhook_endpoints e
            WHERE e.turn = c.turn AND e.owner IS NULL AND e.next_due_at < 'infinity'
              AND e.company_hash < $7 AND c.until > $7
            ORDER BY e.company_hash, e.company_id LIMIT 1) round
        LIMIT 1) next
    WHERE c.looked_at < 256),
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
                WHERE e.turn = c.turn AND e.company_hash = c.company_hash AND e.company_id = c.company_id AND e.owner IS NULL
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
