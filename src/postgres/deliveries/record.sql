-- Writes attempts and what follows from them. See record.rs.
WITH held AS (
    SELECT d.attempts + 1 AS attempt, u.*
    FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::integer[], $6::text[],
        $7::integer[], $8::text[], $9::bytea[], $10::text[], $11::bigint[], $12::boolean[], $13::integer[],
        $14::integer[])
        AS u(company_id, delivery_id, token, started_at, duration_ms, outcome, status, error, response_body,
            state, delay, uncounted, connect_ms, answer_ms)
    JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
        AND d.lease_token = u.token AND d.state IS NOT DISTINCT FROM 'pending'
    FOR UPDATE OF d),
logged AS (
    INSERT INTO webhook_attempts (company_id, delivery_id, attempt, started_at, duration_ms, outcome, status,
        error, response_body, connect_ms, answer_ms)
    SELECT company_id, delivery_id, attempt, started_at, duration_ms, outcome, status, error, response_body,
        connect_ms, answer_ms
    FROM held)
UPDATE webhook_deliveries d
SET state = h.state, attempts = h.attempt, schedule_from = d.schedule_from + h.uncounted::integer,
    lease_token = NULL, last_status = h.status, last_error = h.error,
    next_attempt_at = now() + h.delay * interval '1 microsecond',
    finished_at = CASE WHEN h.state <> 'pending' THEN now() END
FROM held h WHERE d.company_id = h.company_id AND d.delivery_id = h.delivery_id
RETURNING d.company_id, d.delivery_id, h.token AS "token!"
