-- Every attempt of a delivery, oldest first. See attempts.rs.
--   $1 the company, $2 the id and $3 the time of creation of the delivery
SELECT a.delivery_id AS "delivery_id!", a.attempt AS "attempt!", a.started_at AS "started_at!",
    a.duration_ms AS "duration_ms!", a.connect_ms, a.answer_ms, a.outcome AS "class!", a.status, a.error,
    a.response_body
FROM all_webhook_attempts a WHERE a.company_id = $1 AND a.delivery_id = $2 AND a.created_at = $3
ORDER BY a.attempt
