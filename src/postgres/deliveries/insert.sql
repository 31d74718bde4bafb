-- Inserts deliveries, due at once or at the end of their digest window. See deliveries.rs.
INSERT INTO webhook_deliveries (company_id, delivery_id, event_key, step, source, event_id, trigger_name,
    contact_id, traceparent, tracestate, method, url, headers, body, fault, endpoint_id, contact_version,
    newest_only, awaited, digest, state, next_attempt_at)
SELECT u.company_id, u.delivery_id, u.event_key, u.step, u.source, u.event_id, u.trigger_name, u.contact_id,
    u.traceparent, u.tracestate, u.method, u.url, u.headers, u.body, u.fault, u.endpoint_id, u.version,
    u.newest_only, u.awaited, u.digest_window IS NOT NULL, 'pending',
    CASE WHEN u.digest_window IS NULL THEN now()
         ELSE date_bin(u.digest_window, now(), 'epoch') + u.digest_window END
FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::uuid[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::jsonb[], $14::bytea[], $15::text[], $16::uuid[],
    $17::bigint[], $18::boolean[], $19::boolean[], $20::interval[])
    AS u(company_id, delivery_id, event_key, step, source, event_id, trigger_name, contact_id, traceparent,
        tracestate, method, url, headers, body, fault, endpoint_id, version, newest_only, awaited, digest_window)
ON CONFLICT DO NOTHING
