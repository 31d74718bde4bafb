-- Rows like those of the service, {rows} of each kind, spread over the last 24 hours and stored in the order of time. Identifiers
-- are derived from numbers, so that rows of different tables belong together.
SET synchronous_commit = off;

-- Those that the service chooses itself are in the order of time, the others are hashes.
CREATE FUNCTION id(kind text, n bigint) RETURNS uuid IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN kind IN ('contact', 'dead letter', 'audit')
        THEN (lpad(to_hex({rows} - n), 12, '0') || substring(md5(kind || n) FROM 13))::uuid ELSE md5(kind || n)::uuid END;
CREATE FUNCTION at(n bigint) RETURNS timestamptz STABLE PARALLEL SAFE
    RETURN now() - n * interval '24 hours' / {rows};
-- One company in 50 has half of everything.
CREATE FUNCTION company(n bigint) RETURNS text IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN n % 2 = 0 THEN 'large' ELSE 'company-' || n % 49 END;

DO $$
DECLARE
    day date := (now() AT TIME ZONE 'UTC')::date - 1;
BEGIN
    FOR i IN 1..2 LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS webhook_deliveries_%s PARTITION OF webhook_deliveries FOR VALUES FROM (%L) TO (%L)',
            to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TABLE IF NOT EXISTS webhook_attempts_%s PARTITION OF webhook_attempts FOR VALUES FROM (%L) TO (%L)',
            to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        day := day + 1;
    END LOOP;
END $$;

INSERT INTO contacts (company_id, contact_id, version, name, phone, email, company, city, provenance, phones, emails,
        created_at, updated_at)
    SELECT company(n), id('contact', n), 1,
        (ARRAY['Ada', 'Bia', 'Caio', 'Davi', 'Édson', 'Flávia', 'Grace', 'Hugo', 'Íris', 'João'])[n % 10 + 1] || ' '
            || initcap(translate(to_hex(n * 2654435761 % 4294967296), '0123456789', 'ghijklmnop')),
        '+55119' || lpad(n::text, 8, '0'), 'lead-' || n || '@customers.example', 'Analytical Engines', 'São Paulo',
        format('{"events":[{"time":%s,"id":"%s","source":"/companies/bench","step":1}],"fields":{"company":0,"email":0,"city":0,"name":0,"phone":0}}',
            (extract(epoch FROM at(n)) * 1000000)::bigint, id('event', n)),
        ARRAY['+55119' || lpad(n::text, 8, '0')], ARRAY['lead-' || n || '@customers.example'], at(n), at(n)
    FROM generate_series({rows}, 1, -1) n;
INSERT INTO contact_identifiers
    SELECT company(n), 'email', 'lead-' || n || '@customers.example', id('contact', n) FROM generate_series({rows}, 1, -1) n;
INSERT INTO contact_identifiers
    SELECT company(n), 'phone', '+55119' || lpad(n::text, 8, '0'), id('contact', n) FROM generate_series({rows}, 1, -1) n;
-- A few contacts have a long history.
INSERT INTO trigger_events (company_id, contact_id, event_time, source, event_id, step, trigger_name, operation, version,
        changed, fields, applied_at)
    SELECT company(n), id('contact', n), at(n) - i * interval '1 minute', '/companies/bench', id('event', n * 100 + i)::text, 1,
        'register_qualified_lead', 'updated', 1, 'name,phone', '{"name":"Lead"}', at(n)
    FROM generate_series(1, {rows}, {rows} / 100) n, generate_series(0, 50) i;

INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, breaker, failures, last_error, failing_since)
    SELECT company(n), id('endpoint', n), 'https://hooks-' || n || '.customers.example/leads', 4,
        CASE WHEN n % 10 = 0 THEN 'open' ELSE 'closed' END, CASE WHEN n % 10 = 0 THEN 12 ELSE 0 END,
        CASE WHEN n % 10 = 0 THEN 'connection refused' END, CASE WHEN n % 10 = 0 THEN at(n) END
    FROM generate_series(1, 1000) n;
-- One delivery in a hundred waits, one in a hundred is dead.
INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id, trigger_name,
        contact_id, contact_version, endpoint_id, method, url, headers, body, newest_only, awaited, digest, state, attempts,
        last_status, started_at, duration_ms, answer_ms, finished_at)
    SELECT company(n), id('delivery', n), at(n), id('event', n), 2, '/companies/bench/assistants/sales', id('event', n)::text,
        'trigger-' || n % 100, id('contact', n), 1, id('endpoint', CASE WHEN n % 2 = 0 THEN n % 500 * 2 ELSE n % 49 END), 'POST',
        'https://hooks.customers.example/leads',
        '[["content-type","application/json"],["Authorization","Bearer my_token"]]', convert_to(repeat('x', 300), 'UTF8'),
        false, false, false, state, CASE state WHEN 'pending' THEN 0 ELSE 1 END, CASE state WHEN 'delivered' THEN 200 END,
        CASE state WHEN 'delivered' THEN at(n) END, 12, 11, CASE WHEN state <> 'pending' THEN at(n) END
    FROM generate_series({rows}, 1, -1) n,
        LATERAL (SELECT CASE n % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'dead' ELSE 'delivered' END AS state) s;
INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
        round_started_at)
    SELECT company_id, delivery_id, created_at, endpoint_id, created_at + interval '1 day', 0, 0, created_at
    FROM webhook_deliveries WHERE state = 'pending';

-- 200 causes, of which the first have most. One dead letter in ten is settled.
INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key, properties, source,
        event_id, event_key, trigger_name, endpoint_id, signature, first_seen_at, last_seen_at, state, settled_at)
    SELECT company(n), id('dead letter', n), CASE WHEN cause % 4 = 0 THEN 'webhook' ELSE 'upsert' END,
        (ARRAY['webhook_rejected', 'identifier_invalid', 'arguments_invalid', 'trigger_invalid'])[cause % 4 + 1],
        'step 1: the phone is not a phone number (cause ' || cause || ')', sha256(int8send(n)),
        convert_to(repeat('{"text": "a message of some length"} ', 40), 'UTF8'), 'trigger.fired', '{}', '/companies/bench',
        id('event', n)::text, id('event', n), 'trigger-' || cause % 100,
        CASE WHEN cause % 4 = 0 THEN id('endpoint', cause) END, substring(sha256(int4send(cause)) FROM 1 FOR 16), at(n), at(n),
        CASE WHEN n % 10 = 3 THEN 'resolved' ELSE 'open' END, CASE WHEN n % 10 = 3 THEN at(n) END
    FROM generate_series({rows}, 1, -1) n, LATERAL (SELECT (200 * power(n::bigint * 7919 % 1000 / 1000.0, 3))::integer AS cause) c;

INSERT INTO audit_log (company_id, audit_id, happened_at, operator, via, action, object)
    SELECT company(n), id('audit', n), at(n), 'operator-' || n % 10, 'console', 'dead_letter.replay', id('dead letter', n)::text
    FROM generate_series({rows}, 1, -1) n;

VACUUM (ANALYZE);
