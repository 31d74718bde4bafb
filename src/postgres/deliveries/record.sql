-- Records attempts of pending deliveries. See record.rs.
--   by delivery: $1 company, $2 delivery, $3 the number of the attempt, $4 to $9 and $13 to $14 the attempt, $10 the state
--   of the delivery, $11 its wait, $12 whether the schedule does not count the attempt, $15 when the delivery was created
WITH u AS MATERIALIZED (
    SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::integer[], $4::timestamptz[], $5::integer[],
        $6::text[], $7::integer[], $8::text[], $9::bytea[], $10::text[], $11::interval[], $12::boolean[],
        $13::integer[], $14::integer[], $15::timestamptz[])
        AS u(company_id, delivery_id, attempt, started_at, duration_ms, outcome, status, error,
            response_body, state, delay, uncounted, connect_ms, answer_ms, created_at)),
ended AS (
    DELETE FROM webhook_pending p USING u
    WHERE p.company_id = u.company_id AND p.delivery_id = u.delivery_id AND p.attempts = u.attempt - 1
      AND u.state <> 'pending'
    RETURNING u.*),
again AS (
    UPDATE webhook_pending p SET attempts = u.attempt, due_at = now() + u.delay,
        schedule_from = p.schedule_from + u.uncounted::integer
    FROM u
    WHERE p.company_id = u.company_id AND p.delivery_id = u.delivery_id AND p.attempts = u.attempt - 1
      AND u.state = 'pending'
    RETURNING u.*),
finished AS (
    UPDATE webhook_deliveries d SET state = e.state, attempts = e.attempt, last_status = e.status,
        last_error = e.error, finished_at = now()
    FROM ended e
    WHERE d.company_id = e.company_id AND d.delivery_id = e.delivery_id AND d.created_at = e.created_at),
logged AS (
    INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms,
        outcome, status, error, response_body, connect_ms, answer_ms)
    SELECT company_id, created_at, delivery_id, attempt, started_at, duration_ms, outcome, status, error,
        response_body, connect_ms, answer_ms
    FROM (SELECT * FROM ended UNION ALL SELECT * FROM again) attempted),
done AS (
    SELECT company_id, delivery_id, created_at, attempt, response_body IS NOT NULL AS has_body FROM ended
    UNION ALL SELECT company_id, delivery_id, created_at, attempt, response_body IS NOT NULL FROM again),
-- Of the answers of a delivery, only the first and the last keep their body.
dropped AS (
    UPDATE webhook_attempts a SET response_body = NULL
    FROM done
    WHERE a.company_id = done.company_id AND a.created_at = done.created_at
      AND a.delivery_id = done.delivery_id AND a.attempt < done.attempt AND done.attempt > 2
      AND a.response_body IS NOT NULL AND done.has_body
      AND EXISTS (
          SELECT FROM webhook_attempts first
          WHERE first.company_id = a.company_id AND first.created_at = a.created_at
            AND first.delivery_id = a.delivery_id AND first.attempt < a.attempt
            AND first.response_body IS NOT NULL))
SELECT company_id AS "company!", delivery_id AS "id!" FROM done
