-- Counts the deliveries of a slice of time, and finds among them those that match.
WITH slice AS MATERIALIZED (
    SELECT company_id, delivery_id, created_at, state, finished_at, attempts, endpoint_id, event_id, contact_id,
        trigger_name
    FROM webhook_deliveries
    WHERE created_at >= $1 AND created_at <= $2 AND (created_at, delivery_id) < ($2, $3) LIMIT $4)
SELECT counted.rows AS "rows!", m.company_id AS "company?", m.delivery_id AS "id?", m.created_at AS "created_at?",
    m.state AS "state?", m.finished_at, m.attempts AS "attempts?"
FROM (SELECT count(*) AS rows FROM slice) counted
LEFT JOIN (
    SELECT * FROM slice
    WHERE ($5::text IS NULL OR company_id = $5) AND ($6::text[] IS NULL OR state = ANY($6))
      AND ($7::uuid[] IS NULL OR endpoint_id = ANY($7)) AND ($8::text IS NULL OR event_id = $8)
      AND ($9::uuid IS NULL OR contact_id = $9) AND ($10::text IS NULL OR trigger_name = $10)
    ORDER BY created_at DESC, delivery_id DESC LIMIT $11) m ON true
ORDER BY m.created_at DESC, m.delivery_id DESC
