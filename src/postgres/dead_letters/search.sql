-- Looks for the text in so many dead letters, and says which was the last of them, if there may be more.
WITH searched AS MATERIALIZED (
    SELECT dead_letter_id, reason, stage, state, company_id, trigger_name, event_id, attempts, replays, first_seen_at,
        last_seen_at, message, endpoint_id, signature
    FROM dead_letters
    WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR stage = $2)
      AND ($3::text IS NULL OR company_id = $3) AND ($4::text IS NULL OR trigger_name = $4)
      AND ($5::timestamptz IS NULL OR last_seen_at >= $5) AND state = ANY($6)
      AND ($7::timestamptz IS NULL OR last_seen_at < $7) AND ($8::uuid IS NULL OR endpoint_id = $8)
      AND ($9::text IS NULL OR event_id = $9) AND ($10::bytea IS NULL OR signature = $10)
      AND ($11::boolean IS NULL OR unsettled = $11)
      AND ($12::timestamptz IS NULL OR (last_seen_at, dead_letter_id) < ($12, $13::uuid))
    ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $14)
SELECT ended.last_seen_at AS "ended_at?", ended.dead_letter_id AS "ended_id?", m.dead_letter_id AS "id?",
    m.reason AS "reason?", m.stage AS "stage?", m.state AS "state?", m.company_id AS "company?",
    m.trigger_name AS trigger, m.event_id, m.attempts AS "attempts?", m.replays AS "replays?",
    m.first_seen_at AS "first_seen_at?", m.last_seen_at AS "last_seen_at?", m.message AS "message?", m.endpoint_id,
    m.signature AS "signature?"
FROM (SELECT) one
LEFT JOIN (SELECT last_seen_at, dead_letter_id FROM searched
           ORDER BY last_seen_at DESC, dead_letter_id DESC OFFSET $14 - 1 LIMIT 1) ended ON true
LEFT JOIN (SELECT * FROM searched
           WHERE strpos(lower(concat_ws(E'\n', message, trigger_name, event_id)), lower($15)) > 0
           ORDER BY last_seen_at DESC, dead_letter_id DESC LIMIT $16) m ON true
ORDER BY m.last_seen_at DESC, m.dead_letter_id DESC
