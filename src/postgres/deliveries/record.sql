-- Writes attempts and what follows from them. See record.rs.
WITH done AS (
    UPDATE webhook_deliveries d
    SET state = u.state, attempts = d.attempts + 1, schedule_from = d.schedule_from + u.uncounted::integer,
        lease_token = NULL, last_status = u.status, last_error = u.error,
        next_attempt_at = now() + u.delay * interval '1 microsecond',
        finished_at = CASE WHEN u.state <> 'pending' THEN now() END
    FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::integer[], $6::text[],
        $7::integer[], $8::text[], $9::bytea[], $10::text[], $11::bigint[], $12::boolean[], $13::integer[],
        $14::integer[])
        AS u(company_id, delivery_id, token, started_at, duration_ms, outcome, status, error, response_body,
            state, delay, uncounted, connect_ms, answer_ms)
    WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.lease_token = u.token
        AND d.state IS NOT DISTINCT FROM 'pending'
    RETURNING d.attempts AS attempt, u.*),
logged AS (
    INSERT INTO webhook_attempts (company_id, delivery_id, attempt, started_at, duration_ms, outcome, status,
        error, response_body, connect_ms, answer_ms)
    SELECT company_id, delivery_id, attempt, started_at, duration_ms, outcome, status, error, response_body,
        connect_ms, answer_ms
    FROM done)
SELECT company_id AS "company_id!", delivery_id AS "delivery_id!", token AS "token!" FROM done
