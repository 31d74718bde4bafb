-- Events that were applied, and identifiers that belonged to an erased person, each by its place in the arrays.
SELECT u.n AS "ordinal!", ae.meaning, ae.erased AS "erased!", NULL::timestamptz AS erased_at
FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, event_key, n)
JOIN applied_events ae USING (company_id, event_key)
UNION ALL
-- The same hash as in `suppressions::insert`. Neither kind nor value contains a line break.
SELECT u.n, NULL, false, s.erased_at
FROM UNNEST($3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS u(company_id, kind, value, n)
CROSS JOIN LATERAL (SELECT k.company_id, k.key FROM suppression_keys k WHERE k.company_id = u.company_id OFFSET 0) k
CROSS JOIN LATERAL (
    SELECT s.erased_at FROM suppressions s
    WHERE s.company_id = k.company_id
      AND s.hash = sha256(k.key || sha256(k.key || convert_to(u.kind || E'\n' || u.value || E'\n' || $6, 'UTF8')))
    OFFSET 0) s
WHERE EXISTS (SELECT FROM suppressions)
