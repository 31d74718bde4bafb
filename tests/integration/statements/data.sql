-- Many more rows than any statement may read. In every table, two companies have 10,000 rows each, and the row with the
-- number n has the key id(n). A few numbers have a state of their own (see below); they are what the statements are for.

CREATE FUNCTION id(n integer) RETURNS uuid IMMUTABLE RETURN lpad(to_hex(n), 32, '0')::uuid;
CREATE FUNCTION ids(n integer, m integer DEFAULT 2) RETURNS uuid[] IMMUTABLE
    RETURN ARRAY(SELECT id(i) FROM generate_series(n, n + m - 1) i);
-- The companies of as many rows.
CREATE FUNCTION acme(m integer DEFAULT 2) RETURNS text[] IMMUTABLE RETURN array_fill('acme'::text, ARRAY[m]);
CREATE FUNCTION two(value anyelement) RETURNS anyarray IMMUTABLE LANGUAGE sql AS 'SELECT ARRAY[value, value]';
CREATE FUNCTION meaning(n integer) RETURNS bytea IMMUTABLE RETURN int8send(n);
DO $$ BEGIN
    EXECUTE format('CREATE FUNCTION start() RETURNS timestamptz IMMUTABLE RETURN %L::timestamptz', now());
END $$;
-- When delivery n was created. The deliveries are spread over ten days.
CREATE FUNCTION made(n integer) RETURNS timestamptz IMMUTABLE
    RETURN start() - n % 10 * interval '1 day' - n * interval '1 millisecond';
CREATE FUNCTION mades(n integer, m integer DEFAULT 2) RETURNS timestamptz[] IMMUTABLE
    RETURN ARRAY(SELECT made(i) FROM generate_series(n, n + m - 1) i);

DO $$
DECLARE
    first timestamptz;
    name text;
BEGIN
    FOR i IN -12..3 LOOP
        first := date_trunc('day', start() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + i * interval '1 day';
        FOREACH name IN ARRAY ARRAY['webhook_deliveries', 'webhook_attempts'] LOOP
            EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                name || to_char(first AT TIME ZONE 'UTC', '_YYYYMMDD'), name, first, first + interval '1 day');
        END LOOP;
        first := date_trunc('month', start() AT TIME ZONE 'UTC') + i * interval '1 month';
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF trigger_events FOR VALUES FROM (%L) TO (%L)',
            'trigger_events' || to_char(first, '_YYYYMM'), first AT TIME ZONE 'UTC',
            (first + interval '1 month') AT TIME ZONE 'UTC');
    END LOOP;
END $$;

-- Statistics are made by the test.
DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', name);
    END LOOP;
END $$;

CREATE TEMPORARY VIEW numbers AS
    SELECT company, n FROM (VALUES ('acme'), ('other')) c(company), generate_series(1, 10000) n;

-- Contacts. The alias 100000 + n leads to contact n.
INSERT INTO contacts (company_id, contact_id, version, name, phone, email, provenance, created_at, updated_at)
    SELECT company, id(n), 1, 'Name ' || n, '+' || n, n || '@a.example', '{}', start(), start() FROM numbers;
INSERT INTO contact_identifiers SELECT company, 'email', n || '@a.example', id(n) FROM numbers;
INSERT INTO contact_aliases SELECT company, id(100000 + n), id(n), 1, id(n), start() FROM numbers;
-- Those above 9,990 are conflicts of a year ago.
INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, event_key, happened_at)
    SELECT company, id(n), CASE WHEN n > 9990 THEN 'conflict' WHEN n % 2 = 0 THEN 'merged' ELSE 'unmerged' END, id(n),
        id(100000 + n), id(n), start() - CASE WHEN n > 9990 THEN interval '1 year' ELSE interval '0' END
    FROM numbers;
-- Those above 9,000 were refused.
INSERT INTO applied_events SELECT company, id(n), CASE WHEN n <= 9000 THEN '\x00'::bytea END, false FROM numbers;
INSERT INTO trigger_events (company_id, contact_id, event_time, applied_order, source, event_id, step, trigger_name,
        operation, version, fields, applied_at)
    SELECT company, id(n), start(), n, '/s', n::text, 1, 't', 'updated', 1, '{}', start() - n % 12 * interval '30 days'
    FROM numbers;
INSERT INTO suppression_keys (company_id, key, last_erased_at)
    SELECT company, '\x00'::bytea, start()
    FROM (SELECT DISTINCT company FROM numbers UNION ALL SELECT 'company ' || n FROM generate_series(1, 10000) n) c;
INSERT INTO suppressions SELECT company, sha256(meaning(n)), start() FROM numbers;
INSERT INTO contact_erasures SELECT company, id(200000 + n), start(), 'ada' FROM numbers;
INSERT INTO erasures SELECT company, id(n), '{}', start(), '{}', '{}', '{}', start() FROM numbers WHERE n <= 2;
INSERT INTO crash_suspects SELECT int8send(n), 1, start() FROM generate_series(1, 200) n;

-- Processes: 1 lives and asks, 2 lives and has much to do, 3 is dead.
INSERT INTO processes (process_id, alive_until, sends_webhooks, buried_at)
    SELECT id(n), now() + CASE n WHEN 3 THEN -1 ELSE 1 END * interval '1 hour', true,
        CASE n WHEN 3 THEN now() - interval '1 hour' END
    FROM generate_series(1, 3) n;

-- Effects: those above 8,000 wait for a process, those of acme the longest; 21 to 30 belong to process 1, 31 to 40 and 1,000 to 2,000 to process 3,
-- and 41 to 45 to one that has no row.
INSERT INTO effects (company_id, batch, kind, owner, due_at, items, body, created_at)
    SELECT company, id(n), kind,
        CASE WHEN n > 7000 THEN NULL WHEN n BETWEEN 21 AND 30 THEN id(1)
             WHEN n BETWEEN 31 AND 40 OR n BETWEEN 1000 AND 2000 THEN id(3) WHEN n BETWEEN 41 AND 45 THEN id(4)
             ELSE id(2) END,
        start() + CASE WHEN n > 8000 THEN -n ELSE n END * interval '1 second'
            - CASE WHEN n > 8000 AND company = 'acme' THEN interval '1 day' ELSE interval '0' END, 10, '\x90',
        start() - n * interval '1 minute'
    FROM numbers, (VALUES ('publish'), ('send')) k(kind);
INSERT INTO chain_results (company_id, event_key, waiting, chain, created_at)
    SELECT company, id(n), 2, '{}', made(n) FROM numbers;

-- Lanes: those above 8,000 are due, 8, 9 and 21 to 30 belong to process 1, 31 to 40 and 1,000 to 2,000 to process 3. Lane 8
-- has 2,000 deliveries that are due, lane 9 has 3,000 for later. Nobody has used 50 to 59 for a year.
INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, owner, next_due_at, used_at, paused_at,
        failures)
    SELECT company, id(n), 'https://a.example/' || n, 4,
        CASE WHEN n BETWEEN 8 AND 9 OR n BETWEEN 21 AND 30 THEN id(1)
             WHEN n BETWEEN 31 AND 40 OR n BETWEEN 1000 AND 2000 THEN id(3) WHEN n BETWEEN 2001 AND 4000 THEN id(2) END,
        CASE WHEN n > 8000 THEN start() - n * interval '1 second' WHEN n > 6000 THEN start() + n * interval '1 second'
             ELSE 'infinity' END,
        start() - CASE WHEN n BETWEEN 50 AND 59 THEN interval '1 year' ELSE interval '2 hours' END,
        CASE WHEN n BETWEEN 60 AND 69 THEN start() END, CASE WHEN n BETWEEN 70 AND 79 THEN 3 ELSE 0 END
    FROM numbers;

-- Deliveries: 1 to 10 are due in lane 21, 11 to 14 are versions of one contact in lane 22 (13 is the newest that waits),
-- 21 to 22 wait for a digest in lane 23, 31 to 32 went out in digest 30, 41 to 42 are awaited, 51 to 60 are dead.
INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id, trigger_name,
        contact_id, contact_version, endpoint_id, method, url, headers, body, newest_only, awaited, digest, digest_id,
        state, attempts, last_status, started_at, duration_ms, finished_at)
    SELECT company, id(n), made(n), id(n), 1, '/s', n::text, 't',
        CASE WHEN n BETWEEN 11 AND 14 THEN id(11) ELSE id(n) END, n, lane, 'POST', 'https://a.example/', '[]', '\x00',
        n BETWEEN 11 AND 14 OR n % 4 = 0, n BETWEEN 41 AND 42, n BETWEEN 21 AND 22 OR n BETWEEN 31 AND 32,
        CASE WHEN n BETWEEN 31 AND 32 THEN id(30) END, state, CASE state WHEN 'pending' THEN 0 ELSE 1 END,
        CASE state WHEN 'delivered' THEN 200 END, CASE state WHEN 'delivered' THEN made(n) END,
        CASE state WHEN 'delivered' THEN 1 END, CASE state WHEN 'pending' THEN NULL ELSE made(n) END
    FROM numbers,
        LATERAL (SELECT CASE
            WHEN n <= 13 OR n BETWEEN 21 AND 22 OR n BETWEEN 3001 AND 8000 THEN 'pending'
            WHEN n BETWEEN 31 AND 32 THEN 'digested'
            WHEN n BETWEEN 51 AND 60 THEN 'dead'
            ELSE 'delivered' END AS state) s,
        LATERAL (SELECT id(CASE
            WHEN n <= 10 THEN 21 WHEN n <= 14 THEN 22 WHEN n BETWEEN 21 AND 22 THEN 23
            WHEN n BETWEEN 3001 AND 5000 THEN 8 WHEN n BETWEEN 5001 AND 8000 THEN 9
            ELSE n END) AS lane) l;
INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
        round_started_at, contact_id, contact_version)
    SELECT company_id, delivery_id, created_at, endpoint_id,
        CASE WHEN endpoint_id = id(9) THEN start() + interval '1 hour' ELSE start() - interval '1 second' END, 3, 0,
        created_at, CASE WHEN newest_only THEN contact_id END, CASE WHEN newest_only THEN contact_version END
    FROM webhook_deliveries WHERE state = 'pending';
INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms, outcome, status,
        response_body)
    SELECT company_id, created_at, delivery_id, attempt, start(), 1, 'http_status', 500, '\x00'
    FROM webhook_deliveries, generate_series(1, 3) attempt WHERE state <> 'delivered';

-- Dead letters: 51 to 60 are of deliveries, 61 to 70 are being replayed, those above 2000 are settled; 9991 and above
-- were settled a year ago.
INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key, properties,
        event_key, delivery_id, last_seen_at, state, settled_at, signature)
    SELECT company, id(n), CASE WHEN n BETWEEN 51 AND 60 THEN 'webhook' ELSE 'upsert' END, 'event_invalid', 'm',
        meaning(n), '\x00', 'trigger.fired', '{}', CASE WHEN n BETWEEN 51 AND 60 OR n > 9000 THEN NULL ELSE id(n) END,
        CASE WHEN n BETWEEN 51 AND 60 THEN id(n) END,
        start() - n * interval '1 second',
        CASE WHEN n BETWEEN 61 AND 70 THEN 'replaying' WHEN n > 2000 THEN 'resolved' ELSE 'open' END,
        CASE WHEN n > 9990 THEN start() - interval '1 year' WHEN n > 2000 THEN start() END, meaning(n % 1000)
    FROM numbers;
INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key, properties,
        state, signature)
    SELECT '', id(n), 'upsert', 'undecodable', 'm', meaning(n), '\x00', 'trigger.fired', '{}', 'replaying', meaning(0)
    FROM generate_series(1, 10000) n;

INSERT INTO audit_log (company_id, audit_id, happened_at, operator, via, action, object)
    SELECT company, id(n), start() - n * interval '1 second', CASE WHEN n % 100 = 0 THEN 'ada' ELSE 'bob' END, 'api',
        'dead_letter.discard', n::text
    FROM numbers;

-- Two processes for a week.
INSERT INTO rates (minute, process_id, events, dead_letters, deliveries)
    SELECT date_trunc('minute', start()) - n * interval '1 minute', id(process), n, n, n
    FROM generate_series(0, 10000) n, generate_series(1, 2) process;

-- Operations: 1 is running and nobody's, with 10,000 items of which the last 10 are not done; 2 is being planned; those above
-- 9990 ended a year ago, and the first of them has items; 9992 has been paused since. Items 61 to 70 are started.
INSERT INTO operations (operation_id, action, state, selection, total, done, operator, via, owner, owner_until, created_at,
        finished_at)
    SELECT id(n), 'replay', CASE n WHEN 1 THEN 'running' WHEN 2 THEN 'planning' WHEN 9992 THEN 'paused' ELSE 'done' END, '{}', 10000,
        CASE n WHEN 1 THEN 9990 ELSE 0 END, 'ada', 'api', CASE n WHEN 1 THEN id(1) END, 'epoch',
        start() - CASE WHEN n > 9990 THEN interval '1 year' ELSE interval '1 second' END - n * interval '1 millisecond',
        CASE WHEN n > 9990 THEN start() - interval '1 year' WHEN n > 2 THEN start() END
    FROM generate_series(1, 10000) n;
INSERT INTO operation_items (operation_id, position, company_id, object_id, outcome)
    SELECT id(o), n - 10000, 'acme', id(n),
        CASE WHEN n BETWEEN 61 AND 70 THEN 'started' WHEN n <= 9990 THEN 'done' END
    FROM generate_series(1, 10000) n, unnest(ARRAY[1, 9991]) o;

INSERT INTO idempotency_keys (caller, key, request, created_at)
    SELECT 'ada', n::text, '\x00', start() - n * interval '1 second' FROM generate_series(1, 20000) n;
