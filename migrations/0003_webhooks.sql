-- Webhooks: a lane for each endpoint, order, digests, results for the assistant.

-- Whom webhooks are sent to: one row for each company and address, the address as the trigger's author wrote
-- it (scheme, host, port and path; no query). It carries what all workers must agree on about its lane.
CREATE TABLE webhook_endpoints (
    company_id       text NOT NULL,
    endpoint_id      uuid NOT NULL,                  -- derived from company and url
    url              text NOT NULL,
    -- From the settings, so that a claim need not know them.
    max_in_flight    integer NOT NULL,               -- requests at once of one process
    send_interval_us bigint NOT NULL DEFAULT 0,      -- between two requests of all processes; 0 is no limit
    -- An operator paused it.
    paused_at        timestamptz,
    paused_by        text,
    -- It said that it is gone (410). Deliveries wait until an operator enables it.
    disabled_at      timestamptz,
    disabled_because text,
    -- Retry-After.
    held_until       timestamptz NOT NULL DEFAULT 'epoch',
    -- When the next request of a limited rate may begin.
    next_slot_at     timestamptz NOT NULL DEFAULT 'epoch',
    breaker          text NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'half_open', 'ramp_up')),
    breaker_until    timestamptz NOT NULL DEFAULT 'epoch', -- open: until then; half_open: the end of the probe's lease
    openings         integer NOT NULL DEFAULT 0,     -- in a row
    allowance        integer NOT NULL DEFAULT 0,     -- ramp_up: requests at once of one process
    failures         integer NOT NULL DEFAULT 0,     -- in a row
    failing_since    timestamptz,
    last_success_at  timestamptz,
    last_failure_at  timestamptz,
    last_error       text,                           -- for a person; nothing that the receiver sent
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, endpoint_id)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);

ALTER TABLE webhook_deliveries
    -- The default is for processes of the version before, which may still run while this one starts.
    ADD COLUMN endpoint_id      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    ADD COLUMN contact_version  bigint,
    -- Never delivered after a newer version of its contact.
    ADD COLUMN newest_only      boolean NOT NULL DEFAULT false,
    -- Its end has to be counted: see chain_results. Once that is done it is false for ever.
    ADD COLUMN awaited          boolean NOT NULL DEFAULT false,
    -- Waits to be sent with others as one digest; the delivery that took it in.
    ADD COLUMN digest           boolean NOT NULL DEFAULT false,
    ADD COLUMN digest_id        uuid,
    -- When it was made or last replayed: its age is reckoned from here.
    ADD COLUMN round_started_at timestamptz NOT NULL DEFAULT now(),
    DROP CONSTRAINT webhook_deliveries_state_check,
    ADD CONSTRAINT webhook_deliveries_state_check
        CHECK (state IN ('pending', 'delivered', 'dead', 'discarded', 'superseded', 'digested'));

-- What waits from before gets its endpoint; the address is the rendered one, for the written one is not known.
INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight)
SELECT DISTINCT company_id, encode(substring(sha256(convert_to(company_id || E'\n' || split_part(split_part(url, '#', 1), '?', 1), 'UTF8')) for 16), 'hex')::uuid,
       split_part(split_part(url, '#', 1), '?', 1), 64
FROM webhook_deliveries WHERE state IN ('pending', 'dead') AND fault IS NULL;

UPDATE webhook_deliveries
SET endpoint_id = encode(substring(sha256(convert_to(company_id || E'\n' || split_part(split_part(url, '#', 1), '?', 1), 'UTF8')) for 16), 'hex')::uuid
WHERE state IN ('pending', 'dead') AND fault IS NULL;

-- Lanes: the first waiting delivery of each endpoint is one look into this index.
DROP INDEX webhook_deliveries_due;
CREATE INDEX webhook_deliveries_lanes ON webhook_deliveries (company_id, endpoint_id, next_attempt_at)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (company_id, contact_id, endpoint_id, contact_version)
    WHERE newest_only;
CREATE INDEX webhook_deliveries_members ON webhook_deliveries (company_id, digest_id) WHERE digest_id IS NOT NULL;
-- For listings by time; next to nothing to keep.
CREATE INDEX webhook_deliveries_created ON webhook_deliveries USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on);

ALTER TABLE webhook_attempts
    ADD COLUMN connect_ms integer,                   -- until the connection stood; none where a kept one was used
    ADD COLUMN answer_ms  integer;                   -- until the head of the answer was there

-- Chains whose end is told to somebody (interpretResponse, reply_to), until it has been told.
CREATE TABLE chain_results (
    company_id     text NOT NULL,
    event_key      uuid NOT NULL,
    waiting        integer NOT NULL,                 -- webhook steps that have not ended
    chain          jsonb NOT NULL,                   -- what is known of the event and its steps when it is applied
    reply_to       text,
    correlation_id text,                             -- what the asker knows its request by
    traceparent    text,
    tracestate     text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, event_key)
);

-- The queue that is answered as well, by the default exchange, and what the asker knows its request by.
ALTER TABLE outbox
    ADD COLUMN reply_to             text,
    ADD COLUMN reply_correlation_id text;
