-- The groups are counted from an index alone. Only what is shown of them is looked up.
WITH g AS MATERIALIZED (
    SELECT signature, count(*) AS count, min(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at
    FROM dead_letters
    WHERE unsettled AND ($1::text IS NULL OR company_id = $1)
      AND ($2::timestamptz IS NULL OR last_seen_at >= $2) AND ($3::timestamptz IS NULL OR last_seen_at < $3)
      AND ($4::bytea IS NULL OR signature = $4)
    GROUP BY signature
    HAVING $5::timestamptz IS NULL OR (max(last_seen_at), signature) < ($5, $6::bytea)
    ORDER BY max(last_seen_at) DESC, signature DESC LIMIT $7)
SELECT g.signature, g.count AS "count!", g.first_seen_at AS "first_seen_at!", g.last_seen_at AS "last_seen_at!",
    latest.stage, latest.reason, latest.trigger_name, latest.endpoint_id, latest.company_id, latest.message,
    latest.dead_letter_id, n.note AS "note?", n.written_by AS "written_by?", n.written_at AS "written_at?"
FROM g
CROSS JOIN LATERAL (
    SELECT dl.stage, dl.reason, dl.trigger_name, dl.endpoint_id, dl.company_id, dl.message, dl.event_id, dl.dead_letter_id
    FROM dead_letters dl
    WHERE dl.signature = g.signature AND dl.unsettled AND dl.last_seen_at = g.last_seen_at
      AND ($1::text IS NULL OR dl.company_id = $1)
    ORDER BY dl.dead_letter_id DESC LIMIT 1) latest
LEFT JOIN dead_letter_notes n ON n.signature = g.signature
WHERE ($8::text IS NULL OR latest.reason = $8) AND ($9::text IS NULL OR latest.stage = $9)
  AND ($10::text IS NULL OR latest.trigger_name = $10) AND ($11::uuid IS NULL OR latest.endpoint_id = $11)
  AND ($12::text IS NULL
      OR strpos(lower(concat_ws(E'\n', latest.message, latest.trigger_name, latest.event_id)), lower($12)) > 0)
ORDER BY g.last_seen_at DESC, g.signature DESC LIMIT $13
