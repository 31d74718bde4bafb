-- New contacts and identifiers, proofs, history and effects, and then the state of lanes, as `endpoints::lanes` reads it. A row
-- with a proof that exists is a unique violation, that is, a lost race: looking for it first would double the cost of the row.
--
-- Nothing is inserted if an event has ended already, or an identifier belonged to an erased person, as `ledger::seen` finds it,
-- or, with $63, if an identifier belongs to a contact.
WITH seen AS MATERIALIZED (
    SELECT FROM UNNEST($57::text[], $58::uuid[]) AS u(company_id, event_key)
    JOIN applied_events ae USING (company_id, event_key)
    UNION ALL
    SELECT FROM UNNEST($59::text[], $60::text[], $61::text[]) AS u(company_id, kind, value)
    CROSS JOIN LATERAL (SELECT k.company_id, k.key FROM suppression_keys k WHERE k.company_id = u.company_id OFFSET 0) k
    CROSS JOIN LATERAL (
        SELECT FROM suppressions s
        WHERE s.company_id = k.company_id
          AND s.hash = sha256(k.key || sha256(k.key || convert_to(u.kind || E'\n' || u.value || E'\n' || $62, 'UTF8')))
        OFFSET 0) s
    WHERE EXISTS (SELECT FROM suppressions)
    UNION ALL
    SELECT FROM UNNEST($59::text[], $60::text[], $61::text[]) AS u(company_id, kind, value)
    JOIN contact_identifiers i USING (company_id, kind, value)
    WHERE $63),
created AS (
    INSERT INTO contacts (company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations,
        name, identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street, number,
        complement)
    SELECT company_id, contact_id, version, created_at, updated_at, provenance, string_to_array(phones, ' '),
        string_to_array(emails, ' '), string_to_array(separations, ' '), name, identity, phone, email, company, position,
        birthday, zip_code, country, state, city, district, street, number, complement
    FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
        $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[])
        AS u(company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations, name, identity,
            phone, email, company, position, birthday, zip_code, country, state, city, district, street, number, complement)
    WHERE NOT EXISTS (SELECT FROM seen)),
proofs AS (
    INSERT INTO applied_events (company_id, event_key, meaning, erased)
    SELECT * FROM UNNEST($29::text[], $30::uuid[], $31::bytea[], $32::boolean[])
    WHERE NOT EXISTS (SELECT FROM seen)),
entries AS (
    INSERT INTO trigger_events (company_id, contact_id, event_time, event_nanos, source, event_id, step, trigger_name,
        operation, version, changed, merged, fields, rejected, webhooks,
        trace_id)
    SELECT * FROM UNNEST($33::text[], $34::uuid[], $35::timestamptz[], $36::smallint[], $37::text[], $38::text[],
        $39::smallint[], $40::text[], $41::text[], $42::bigint[], $43::text[], $44::text[], $45::text[], $46::text[],
        $47::text[], $48::uuid[])
    WHERE NOT EXISTS (SELECT FROM seen)),
inserted AS (
    INSERT INTO effects (company_id, batch, kind, owner, items, body)
    SELECT * FROM UNNEST($49::text[], $50::uuid[], $51::text[], $52::uuid[], $53::integer[], $54::bytea[])
    WHERE NOT EXISTS (SELECT FROM seen)),
-- The only insert that the query below reads, so it runs first: identifiers are locked before the ledger.
claimed AS (
    INSERT INTO contact_identifiers (company_id, kind, value, contact_id)
    SELECT * FROM UNNEST($25::text[], $26::text[], $27::text[], $28::uuid[])
    WHERE NOT EXISTS (SELECT FROM seen)
    ON CONFLICT DO NOTHING
    RETURNING 1)
-- No transaction around the statement can roll it back with $63, so it fails if another transaction took an identifier after it
-- began. The text of this error names no value, unlike that of a unique violation.
SELECT EXISTS (SELECT FROM seen) AS "is_seen!",
    free.identifiers / CASE
        WHEN $63 AND free.identifiers < cardinality($25::text[]) AND NOT EXISTS (SELECT FROM seen) THEN 0 ELSE 1
    END AS "claimed!",
    e.company_id AS "company_id?", e.endpoint_id AS "endpoint_id?", e.url AS "url?", e.turn AS "turn?", e.max_in_flight AS "max_in_flight?", e.send_interval_us AS "send_interval_us?",
    e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL AS "is_stopped!", e.held_until AS "held_until?",
    e.next_slot_at AS "next_slot_at?", e.breaker AS "breaker?", e.breaker_until AS "breaker_until?",
    e.openings AS "openings?", e.allowance AS "allowance?", e.failures AS "failures?", e.failing_since AS "failing_since?",
    e.owner IS NOT NULL OR e.next_due_at <= now() AS "has_backlog?", now() AS "now!"
FROM (SELECT count(*) AS identifiers FROM claimed) free
LEFT JOIN (UNNEST($55::text[], $56::uuid[]) AS u(company_id, endpoint_id)
    JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id) ON true
