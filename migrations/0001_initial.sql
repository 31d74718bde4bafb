-- Every primary key and unique index leads with company_id: no row of one company can be reached
-- through another's key, and the schema can be distributed by company_id. The one exception,
-- crash_suspects, holds messages that could not be decoded far enough to know their company.

-- A contact: per field the value of the latest event. `provenance` names the event behind each value:
-- {"events": [{"time": µs since 1970, "id": "…", "source": "…", "step": 1}], "fields": {"name": 0}}.
CREATE TABLE contacts (
    company_id text NOT NULL,
    contact_id uuid NOT NULL,
    version    bigint NOT NULL,
    name       text,
    identity   text,
    phone      text,
    email      text,
    company    text,
    position   text,
    birthday   text,
    zip_code   text,
    country    text,
    state      text,
    city       text,
    district   text,
    street     text,
    number     text,
    complement text,
    provenance jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (company_id, contact_id)
);

-- Who owns a phone or an email: the arbiter of uniqueness. Rows are never removed, so former
-- phones and emails go on finding their contact.
CREATE TABLE contact_identifiers (
    company_id text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('email', 'phone')),
    value      text NOT NULL,
    contact_id uuid NOT NULL,
    PRIMARY KEY (company_id, kind, value)
);
CREATE INDEX contact_identifiers_by_contact ON contact_identifiers (company_id, contact_id);

-- Ids that lost a merge, always pointing at a living contact (chains are flattened).
CREATE TABLE contact_aliases (
    company_id text NOT NULL,
    alias_id   uuid NOT NULL,
    contact_id uuid NOT NULL,
    merged_by  uuid NOT NULL,                        -- event_key of the event that merged them
    merged_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, alias_id)
);
CREATE INDEX contact_aliases_by_contact ON contact_aliases (company_id, contact_id);

-- The ledger: one row for each CRM step of each applied event, or one row with step 0 for an event
-- without one. Proves that an event was applied, and keeps what it said. Every event has the row with
-- ordinal 0, so two workers that apply the same event collide there, whatever its steps are.
CREATE TABLE trigger_events (
    company_id    text NOT NULL,
    event_key     uuid NOT NULL,                     -- derived from source and id
    ordinal       smallint NOT NULL,                 -- counts the rows of one event from 0
    step          smallint NOT NULL,                 -- its place in the chain, from 1
    source        text NOT NULL,
    event_id      text NOT NULL,
    event_time    timestamptz NOT NULL,
    digest        bytea NOT NULL,                    -- SHA-256 of the body
    trigger_name  text NOT NULL,
    assistant_id  text,
    session_id    text,
    traceparent   text,
    tracestate    text,
    skipped_steps smallint NOT NULL,                 -- beyond maxInteractions
    contact_id    uuid,                              -- as of then; resolve through contact_aliases
    operation     text CHECK (operation IN ('created', 'updated', 'unchanged')),
    version       bigint,
    changed       text[],
    merged        uuid[],
    fields        jsonb,                             -- accepted values by field name
    rejected      jsonb,                             -- [{"field": "phone", "reason": "…"}]
    applied_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, event_key, ordinal)
);
CREATE INDEX trigger_events_by_contact ON trigger_events (company_id, contact_id, event_time)
    WHERE contact_id IS NOT NULL;

-- Messages that are committed and not yet confirmed by the broker. Deleted once confirmed; the relay
-- takes rows whose lease ran out.
CREATE TABLE outbox (
    company_id     text NOT NULL,
    message_id     uuid NOT NULL,
    routing_key    text NOT NULL,
    type           text NOT NULL,
    source         text NOT NULL,
    subject        text,
    correlation_id text NOT NULL,
    traceparent    text,
    tracestate     text,
    time           timestamptz NOT NULL,             -- CloudEvents time
    body           bytea NOT NULL,
    leased_until   timestamptz NOT NULL,
    PRIMARY KEY (company_id, message_id)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX outbox_by_lease ON outbox (leased_until);

-- One webhook step of one event. Postgres owns the retry clock: a claim moves next_attempt_at to the
-- end of its lease, so a row whose worker died becomes due again by itself.
CREATE TABLE webhook_deliveries (
    company_id      text NOT NULL,
    delivery_id     uuid NOT NULL,                   -- the webhook-id header; derived from event and step
    event_key       uuid NOT NULL,
    step            smallint NOT NULL,
    source          text NOT NULL,
    event_id        text NOT NULL,
    trigger_name    text NOT NULL,
    contact_id      uuid,
    traceparent     text,
    tracestate      text,
    method          text NOT NULL,
    url             text NOT NULL,
    headers         jsonb NOT NULL,                  -- [["name", "value"], …], secrets included
    body            bytea,                           -- the exact bytes sent; bytea keeps key order
    fault           text,                            -- why it cannot be rendered; then never sent
    state           text NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'discarded')),
    attempts        integer NOT NULL DEFAULT 0,      -- of all rounds, replays included
    schedule_from   integer NOT NULL DEFAULT 0,      -- attempts already made when this round began
    next_attempt_at timestamptz NOT NULL,
    lease_token     uuid,
    last_status     integer,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    PRIMARY KEY (company_id, delivery_id)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE state = 'pending';

-- One HTTP request.
CREATE TABLE webhook_attempts (
    company_id    text NOT NULL,
    delivery_id   uuid NOT NULL,
    attempt       integer NOT NULL,                  -- counted from 1
    started_at    timestamptz NOT NULL,
    duration_ms   integer NOT NULL,
    outcome       text NOT NULL,                     -- error class, or 'delivered'
    status        integer,
    error         text,
    response_body bytea,                             -- at most 64 KiB
    PRIMARY KEY (company_id, delivery_id, attempt)
);

-- What could not be done, until an operator settles it.
CREATE TABLE dead_letters (
    company_id     text NOT NULL,                    -- '' where the message does not tell
    dead_letter_id uuid NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('upsert', 'webhook')),
    reason         text NOT NULL,
    message        text NOT NULL,                    -- for a person; no personal data
    digest         bytea NOT NULL,                   -- SHA-256 of the body
    body           bytea NOT NULL,
    routing_key    text NOT NULL,
    properties     jsonb NOT NULL,                   -- AMQP properties and headers
    source         text,
    event_id       text,
    trigger_name   text,
    delivery_id    uuid,                             -- stage webhook
    attempts       integer NOT NULL DEFAULT 1,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    replays        integer NOT NULL DEFAULT 0,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'resolved', 'discarded')),
    settled_at     timestamptz,
    settled_by     text,                             -- the operator who discarded it
    PRIMARY KEY (company_id, dead_letter_id),
    UNIQUE (company_id, stage, digest)               -- a redelivery of the same message is the same dead letter
);
CREATE INDEX dead_letters_open ON dead_letters (last_seen_at DESC) WHERE state IN ('open', 'replaying');

-- Messages that came back often enough to be tried alone: counts the tries that began.
CREATE TABLE crash_suspects (
    digest     bytea PRIMARY KEY,
    tries      integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
