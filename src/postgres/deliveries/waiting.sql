-- The newest deliveries that wait, from pending rows alone, however many deliveries have ended. Their deliveries are looked up
-- only if the filter asks for what a pending row does not have. If there are as many as $6, the first row says where that ended.
WITH newest AS MATERIALIZED (
    SELECT p.company_id, p.delivery_id, p.created_at, p.attempts FROM webhook_pending p
    WHERE ($1::text IS NULL OR p.company_id = $1) AND ($2::uuid[] IS NULL OR p.endpoint_id = ANY($2))
      AND ($3::timestamptz IS NULL OR p.created_at >= $3)
      AND ($4::timestamptz IS NULL OR (p.created_at, p.delivery_id) < ($4, $5::uuid))
    ORDER BY p.created_at DESC, p.delivery_id DESC LIMIT $6),
found AS MATERIALIZED (
    SELECT n.company_id, n.delivery_id, n.created_at, n.attempts FROM newest n
    WHERE num_nonnulls($7::text, $8::uuid, $9::text) = 0 OR EXISTS (
        SELECT FROM webhook_deliveries d
        WHERE d.company_id = n.company_id AND d.delivery_id = n.delivery_id AND d.created_at = n.created_at
          AND ($7 IS NULL OR d.event_id = $7) AND ($8 IS NULL OR d.contact_id = $8)
          AND ($9 IS NULL OR d.trigger_name = $9))
    LIMIT $10)
SELECT NULL AS "company?", NULL::uuid AS "id?", NULL::timestamptz AS "created_at?", NULL::integer AS "attempts?",
    last.created_at AS "ended_at?", last.delivery_id AS "ended_id?"
FROM (SELECT created_at, delivery_id FROM newest WHERE $6 IS NOT NULL OFFSET $6 - 1 LIMIT 1) last
UNION ALL
SELECT company_id, delivery_id, created_at, attempts, NULL, NULL FROM found
