-- Takes due deliveries of every lane that is open and has room. See claim.rs.
--   $1 most deliveries, $2 the lease in microseconds, $3 its token, $4 what this process holds by endpoint and
--   would use up in a moment, $5 the oldest age in microseconds
WITH RECURSIVE relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
waiting AS (
    (SELECT company_id, endpoint_id, next_attempt_at FROM webhook_deliveries, relaxed
     WHERE state = 'pending' ORDER BY company_id, endpoint_id, next_attempt_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM waiting w CROSS JOIN LATERAL (
        SELECT d.company_id, d.endpoint_id, d.next_attempt_at FROM webhook_deliveries d
        WHERE d.state = 'pending' AND (d.company_id, d.endpoint_id) > (w.company_id, w.endpoint_id)
        ORDER BY d.company_id, d.endpoint_id, d.next_attempt_at LIMIT 1) next),
-- What is known of each, with what a lane without a row is.
states AS MATERIALIZED (
    SELECT w.company_id, w.endpoint_id, w.next_attempt_at, COALESCE(e.url, '') AS url,
        COALESCE(e.max_in_flight, 1) AS most, COALESCE(e.send_interval_us, 0) AS interval_us,
        GREATEST(e.next_slot_at, now() - interval '1 minute') AS next_slot_at,
        COALESCE(e.breaker, 'closed') AS breaker, COALESCE(e.allowance, 0) AS allowance,
        COALESCE(e.failures, 0) AS failures,
        COALESCE(e.failures, 0) = 0 AND COALESCE(e.breaker, 'closed') = 'closed' AS calm,
        COALESCE(e.held_until <= now()
            AND (e.breaker IN ('closed', 'ramp_up') OR e.breaker_until <= now()), true) AS reachable,
        COALESCE(e.next_slot_at <= now(), true) AS has_slot,
        COALESCE(($4::jsonb -> w.endpoint_id::text ->> 0)::integer, 0) AS busy,
        COALESCE(($4::jsonb -> w.endpoint_id::text ->> 1)::integer, 0) AS pace
    FROM waiting w
    LEFT JOIN webhook_endpoints e ON e.company_id = w.company_id AND e.endpoint_id = w.endpoint_id
    WHERE e.paused_at IS NULL AND e.disabled_at IS NULL),
lanes AS MATERIALIZED (
    SELECT s.*, s.reachable AND (s.interval_us > 0 OR s.breaker IN ('open', 'half_open')) AS locked,
        -- What only waits for its slot never expires.
        CASE WHEN NOT s.reachable THEN now() - $5::bigint * interval '1 microsecond'
             WHEN s.has_slot THEN now() ELSE '-infinity' END AS due_before,
        CASE WHEN s.reachable AND s.breaker IN ('open', 'half_open') THEN 1
             WHEN s.breaker = 'ramp_up' THEN LEAST(s.most, s.allowance)
             -- The next ones are at hand when one ends.
             WHEN s.calm AND s.interval_us = 0 THEN GREATEST(2 * s.most, s.pace)
             -- Each failure in a row leaves less: an endpoint that hangs soon holds one request, not all its own.
             ELSE GREATEST(1, s.most / (1 + s.failures)) END AS cap,
        -- Of a limited rate the slots that have passed, and a tenth of a second's at most at once.
        CASE WHEN s.interval_us > 0 THEN GREATEST(0, LEAST(1 + (100000 / s.interval_us)::integer,
            1 + floor(extract(epoch FROM now() - s.next_slot_at) * 1e6 / s.interval_us)::integer)) END AS slots
    FROM states s),
taken AS MATERIALIZED (
    SELECT e.company_id, e.endpoint_id FROM lanes l
    JOIN webhook_endpoints e ON e.company_id = l.company_id AND e.endpoint_id = l.endpoint_id
    WHERE l.locked AND l.busy * 2 <= l.cap AND l.next_attempt_at <= l.due_before AND e.next_slot_at <= now()
      AND (e.breaker IN ('closed', 'ramp_up') OR e.breaker_until <= now())
    FOR UPDATE OF e SKIP LOCKED),
shares AS MATERIALIZED (
    -- Room of less than half is not taken: one by one would cost a claim each.
    SELECT l.*, LEAST(l.cap - l.busy, l.slots) AS room,
        LEAST(l.cap - l.busy, l.slots, GREATEST(1, $1 / (count(*) OVER ()))) AS share
    FROM lanes l
    WHERE l.busy * 2 <= l.cap AND l.busy < l.cap AND l.next_attempt_at <= l.due_before
      -- A limited rate alone makes nothing too old: what waits for its slot waits.
      AND (NOT l.locked OR (l.company_id, l.endpoint_id) IN (SELECT t.company_id, t.endpoint_id FROM taken t))
    ORDER BY l.next_attempt_at LIMIT $1),
due AS MATERIALIZED (
    SELECT s.*, first.place FROM shares s CROSS JOIN LATERAL (
        SELECT d.ctid AS place FROM webhook_deliveries d
        WHERE d.company_id = s.company_id AND d.endpoint_id = s.endpoint_id AND d.state = 'pending'
          AND d.next_attempt_at <= s.due_before
        ORDER BY d.next_attempt_at LIMIT s.share FOR UPDATE SKIP LOCKED) first),
moved AS (
    UPDATE webhook_endpoints e
    SET next_slot_at = CASE WHEN c.interval_us = 0 THEN e.next_slot_at
            ELSE GREATEST(e.next_slot_at, now() - least(c.interval_us, 100000) * interval '1 microsecond')
                + c.deliveries * c.interval_us * interval '1 microsecond' END,
        breaker = CASE WHEN e.breaker = 'open' THEN 'half_open' ELSE e.breaker END,
        breaker_until = CASE WHEN e.breaker IN ('open', 'half_open')
            THEN now() + $2::bigint * interval '1 microsecond' ELSE e.breaker_until END
    FROM (SELECT t.company_id, t.endpoint_id, t.interval_us, count(*) AS deliveries
          -- What has changed since this statement began is locked and not claimed: it takes no slot and probes nothing.
          FROM due t JOIN webhook_deliveries d ON d.ctid = t.place
          WHERE t.locked GROUP BY 1, 2, 3) c
    WHERE e.company_id = c.company_id AND e.endpoint_id = c.endpoint_id)
UPDATE webhook_deliveries d
SET next_attempt_at = now() + $2::bigint * interval '1 microsecond', lease_token = $3
FROM due WHERE d.ctid = due.place
RETURNING d.company_id, d.delivery_id, d.source, d.event_id, d.trigger_name, d.traceparent, d.tracestate,
    d.method, d.url, d.headers, d.body, d.fault, d.attempts, d.schedule_from,
    (extract(epoch FROM now() - d.round_started_at) * 1000)::double precision AS "age_ms!",
    d.endpoint_id, due.url AS "endpoint_url!", due.most AS "most_in_flight!", due.calm AS "is_calm!",
    due.cap AS "cap!", due.share AS "share!", due.share < due.room AS "has_room!", NOT due.reachable AS "is_expired!",
    due.locked AND due.breaker IN ('open', 'half_open') AS "is_probe!", d.digest AS is_digest, d.awaited AS is_awaited, d.newest_only
