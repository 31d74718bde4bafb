-- Takes due requests of all companies but some. See unowned.rs.
--   $1 the owner, $2 maximum of parts, $3 maximum of bytes, $4 maximum of rows, $5 companies to skip, $6 the hash to begin at
-- Those to skip may have a hundred thousand rows that are due. So each company is looked at once, by its hash from $6 on and round
-- to it, but only so many of them, because most may have nothing that is due.
WITH RECURSIVE companies AS (
    SELECT $6::integer AS company_hash, '' COLLATE "C" AS company_id, 1::bigint << 32 AS until, 0 AS looked_at
    UNION ALL
    SELECT next.company_hash, next.company_id, next.until, c.looked_at + 1 FROM companies c
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT hashtext(e.company_id) AS company_hash, e.company_id, c.until FROM effects e
            WHERE e.kind = 'send' AND e.owner IS NULL
              AND (hashtext(e.company_id), e.company_id) > (c.company_hash, c.company_id) AND hashtext(e.company_id) < c.until
            ORDER BY hashtext(e.company_id), e.company_id LIMIT 1) onward
        UNION ALL
        SELECT * FROM (
            SELECT hashtext(e.company_id), e.company_id, $6 FROM effects e
            WHERE e.kind = 'send' AND e.owner IS NULL AND hashtext(e.company_id) < $6 AND c.until > $6
            ORDER BY hashtext(e.company_id), e.company_id LIMIT 1) round
        LIMIT 1) next
    WHERE c.looked_at < 256),
due AS MATERIALIZED (
    SELECT of_company.* FROM companies c
    CROSS JOIN LATERAL (
        SELECT company_id, batch, due_at, items, octet_length(body) AS size FROM effects e
        WHERE e.kind = 'send' AND hashtext(e.company_id) = c.company_hash AND e.company_id = c.company_id AND e.owner IS NULL
          AND e.due_at <= now()
        ORDER BY e.due_at LIMIT $4 FOR UPDATE SKIP LOCKED) of_company
    WHERE c.company_id <> ALL($5::text[])
    LIMIT $4),
counted AS (
    SELECT company_id, batch, sum(items) OVER w - items AS items_before, sum(size) OVER w - size AS size_before
    FROM due WINDOW w AS (ORDER BY due_at, company_id, batch))
UPDATE effects f SET owner = $1 FROM counted
WHERE f.company_id = counted.company_id AND f.batch = counted.batch AND f.kind = 'send'
  AND counted.items_before < $2 AND counted.size_before < $3
RETURNING f.company_id, f.batch, f.items, f.body
