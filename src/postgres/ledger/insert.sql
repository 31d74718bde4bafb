-- Proofs and history in one round trip. A row that exists is a unique violation, that is, a lost race: looking for it
-- first would double the cost of the row.
WITH proofs AS (
    INSERT INTO applied_events (company_id, event_key, meaning, erased)
    SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::bytea[], $4::boolean[]))
INSERT INTO trigger_events (company_id, contact_id, event_time, event_nanos, source, event_id, step, trigger_name, operation,
    version, changed, merged, fields, rejected, webhooks, trace_id)
SELECT * FROM UNNEST($5::text[], $6::uuid[], $7::timestamptz[], $8::smallint[], $9::text[], $10::text[],
    $11::smallint[], $12::text[], $13::text[], $14::bigint[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],
    $20::uuid[])
