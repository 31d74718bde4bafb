-- Takes due deliveries of every lane that is open and has room. See claim.rs.
--   $1 maximum number of deliveries, $2 the lease, $3 its token, $4 by endpoint, what this process holds and what it
--   would send in a moment, $5 the age at which a delivery expires
WITH RECURSIVE relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
waiting AS (
    (SELECT company_id, endpoint_id, next_attempt_at FROM webhook_deliveries, relaxed
     WHERE state = 'pending' ORDER BY company_id, endpoint_id, next_attempt_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM waiting w CROSS JOIN LATERAL (
        SELECT d.company_id, d.endpoint_id, d.next_attempt_at FROM webhook_deliveries d
        WHERE d.state = 'pending' AND (d.company_id, d.endpoint_id) > (w.company_id, w.endpoint_id)
        ORDER BY d.company_id, d.endpoint_id, d.next_attempt_at LIMIT 1) next),
-- The state of each lane, with defaults for a lane without a row.
states AS MATERIALIZED (
    SELECT w.company_id, w.endpoint_id, w.next_attempt_at, coalesce(e.url, '') AS url,
        coalesce(e.max_in_flight, 1) AS max_in_flight, coalesce(e.send_interval_us, 0) AS interval_us,
        greatest(e.next_slot_at, now() - interval '1 minute') AS next_slot_at,
        coalesce(e.breaker, 'closed') AS breaker, coalesce(e.allowance, 0) AS allowance,
        coalesce(e.failures, 0) AS failures,
        coalesce(e.failures, 0) = 0 AND coalesce(e.breaker, 'closed') = 'closed' AS calm,
        coalesce(e.held_until <= now()
            AND (e.breaker IN ('closed', 'ramp_up') OR e.breaker_until <= now()), true) AS reachable,
        coalesce(e.next_slot_at <= now(), true) AS has_slot,
        coalesce(($4::jsonb -> w.endpoint_id::text ->> 0)::integer, 0) AS busy,
        coalesce(($4::jsonb -> w.endpoint_id::text ->> 1)::integer, 0) AS throughput
    FROM waiting w
    LEFT JOIN webhook_endpoints e ON e.company_id = w.company_id AND e.endpoint_id = w.endpoint_id
    WHERE e.paused_at IS NULL AND e.disabled_at IS NULL),
lanes AS MATERIALIZED (
    SELECT s.*, s.reachable AND (s.interval_us > 0 OR s.breaker IN ('open', 'half_open')) AS locked,
        -- A delivery that only waits for its slot never expires.
        CASE WHEN NOT s.reachable THEN now() - $5::interval
             WHEN s.has_slot THEN now() ELSE '-infinity' END AS due_before,
        CASE WHEN s.reachable AND s.breaker IN ('open', 'half_open') THEN 1
             WHEN s.breaker = 'ramp_up' THEN least(s.max_in_flight, s.allowance)
             -- The next deliveries are already claimed when a request ends.
             WHEN s.calm AND s.interval_us = 0 THEN greatest(2 * s.max_in_flight, s.throughput)
             -- Each consecutive failure lowers the cap: an endpoint that hangs soon ties up only one request.
             ELSE greatest(1, s.max_in_flight / (1 + s.failures)) END AS cap,
        -- With a rate limit, the slots that have come due, at most a tenth of a second's worth at once.
        CASE WHEN s.interval_us > 0 THEN greatest(0, least(1 + (100000 / s.interval_us)::integer,
            1 + floor(extract(epoch FROM now() - s.next_slot_at) * 1e6 / s.interval_us)::integer)) END AS slots
    FROM states s),
taken AS MATERIALIZED (
    SELECT e.company_id, e.endpoint_id FROM lanes l
    JOIN webhook_endpoints e ON e.company_id = l.company_id AND e.endpoint_id = l.endpoint_id
    WHERE l.locked AND l.busy * 2 <= l.cap AND l.next_attempt_at <= l.due_before AND e.next_slot_at <= now()
      AND (e.breaker IN ('closed', 'ramp_up') OR e.breaker_until <= now())
    FOR UPDATE OF e SKIP LOCKED),
shares AS MATERIALIZED (
    -- A lane with less than half of its cap free is skipped: claiming one by one would cost a query each.
    SELECT l.*, least(l.cap - l.busy, l.slots) AS room,
        least(l.cap - l.busy, l.slots, greatest(1, $1 / (count(*) OVER ()))) AS share
    FROM lanes l
    WHERE l.busy * 2 <= l.cap AND l.busy < l.cap AND l.next_attempt_at <= l.due_before
      -- A rate limit alone expires nothing: a delivery that waits for its slot keeps waiting.
      AND (NOT l.locked OR (l.company_id, l.endpoint_id) IN (SELECT t.company_id, t.endpoint_id FROM taken t))
    ORDER BY l.next_attempt_at LIMIT $1),
due AS MATERIALIZED (
    SELECT s.*, first.address FROM shares s CROSS JOIN LATERAL (
        SELECT d.ctid AS address FROM webhook_deliveries d
        WHERE d.company_id = s.company_id AND d.endpoint_id = s.endpoint_id AND d.state = 'pending'
          AND d.next_attempt_at <= s.due_before
        ORDER BY d.next_attempt_at LIMIT s.share FOR UPDATE SKIP LOCKED) first),
moved AS (
    UPDATE webhook_endpoints e
    SET next_slot_at = CASE WHEN c.interval_us = 0 THEN e.next_slot_at
            ELSE greatest(e.next_slot_at, now() - least(c.interval_us, 100000) * interval '1 microsecond')
                + c.deliveries * c.interval_us * interval '1 microsecond' END,
        breaker = CASE WHEN e.breaker = 'open' THEN 'half_open' ELSE e.breaker END,
        breaker_until = CASE WHEN e.breaker IN ('open', 'half_open')
            THEN now() + $2::interval ELSE e.breaker_until END
    FROM (SELECT t.company_id, t.endpoint_id, t.interval_us, count(*) AS deliveries
          -- A row that changed after this statement began is locked but not claimed: it takes no slot and is no probe.
          FROM due t JOIN webhook_deliveries d ON d.ctid = t.address
          WHERE t.locked GROUP BY 1, 2, 3) c
    WHERE e.company_id = c.company_id AND e.endpoint_id = c.endpoint_id)
UPDATE webhook_deliveries d
SET next_attempt_at = now() + $2::interval, lease_token = $3
FROM due WHERE d.ctid = due.address
RETURNING d.company_id, d.delivery_id, d.source, d.event_id, d.trigger_name, d.traceparent, d.tracestate,
    d.method, d.url, d.headers, d.body, d.fault, d.attempts, d.schedule_from,
    (extract(epoch FROM now() - d.round_started_at) * 1000)::double precision AS "age_ms!",
    d.endpoint_id, due.url AS "endpoint_url!", due.max_in_flight AS "max_in_flight!", due.calm AS "is_calm!",
    due.cap AS "cap!", due.share AS "share!", due.share < due.room AS "has_room!",
    NOT due.reachable AS "is_expired!", due.locked AND due.breaker IN ('open', 'half_open') AS "is_probe!",
    d.digest AS is_digest, d.awaited AS is_awaited, d.newest_only
