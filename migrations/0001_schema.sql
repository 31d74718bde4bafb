-- Every primary key and unique index begins with company_id, so no key of one company reaches a row of another, and
-- the schema can be distributed by company_id. The only exception is crash_suspects: its messages have not been
-- decoded, so their company is unknown.


-- Contacts

-- A contact: for each field, the value of the latest event. `provenance` has the event that set each value:
-- {"events": [{"time": µs since 1970, "id": "…", "source": "…", "step": 1}], "fields": {"name": 0}}.
CREATE TABLE contacts (
    company_id  text NOT NULL,
    contact_id  uuid NOT NULL,
    version     bigint NOT NULL,
    name        text,
    identity    text,
    phone       text,
    email       text,
    company     text,
    position    text,
    birthday    text,
    zip_code    text,
    country     text,
    state       text,
    city        text,
    district    text,
    street      text,
    number      text,
    complement  text,
    provenance  jsonb NOT NULL,
    -- The contact's identifiers, the same as its rows in contact_identifiers. A transaction that has locked the row
    -- knows them, so contact_identifiers needs no index by contact.
    phones      text[] NOT NULL DEFAULT '{}',
    emails      text[] NOT NULL DEFAULT '{}',
    -- Sides of separations: a contact with "<link_id>/a" never merges with one with "<link_id>/b".
    separations text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (company_id, contact_id)
);

-- The owner of each phone and email; makes them unique. Only an erasure removes rows, so former phones and emails
-- still find their contact.
CREATE TABLE contact_identifiers (
    company_id text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('email', 'phone')),
    value      text NOT NULL,
    contact_id uuid NOT NULL,
    PRIMARY KEY (company_id, kind, value)
);

-- Ids that were merged into another contact. Each leads to a living contact directly, never to another alias.
CREATE TABLE contact_aliases (
    company_id text NOT NULL,
    alias_id   uuid NOT NULL,
    contact_id uuid NOT NULL,
    merged_by  uuid NOT NULL,                        -- event_key of the event that merged them
    merged_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, alias_id)
);
CREATE INDEX contact_aliases_by_contact ON contact_aliases (company_id, contact_id);

-- The history of links: merges, unmerges, and merges that a rule forbade.
CREATE TABLE contact_links (
    company_id  text NOT NULL,
    link_id     uuid NOT NULL,                       -- derived from event, step and kind; random for 'unmerged'
    kind        text NOT NULL CHECK (kind IN ('merged', 'unmerged', 'conflict')),
    contact_id  uuid NOT NULL,                       -- the contact that survived, or that the event was for
    other_id    uuid NOT NULL,                       -- the contact that was merged away, or that is kept apart
    rule        text,                                -- of a conflict: the rule that forbade the merge
    event_key   uuid,                                -- null for an unmerge
    source      text,
    event_id    text,
    step        smallint,
    operator    text,                                -- of an unmerge
    happened_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, link_id)
);
CREATE INDEX contact_links_by_contact ON contact_links (company_id, contact_id);
CREATE INDEX contact_links_by_other ON contact_links (company_id, other_id);


-- The ledger

-- The order in which events were applied; an unmerge applies them again in this order. A batch takes its number after
-- it has locked its contacts, so two batches of one contact have their numbers in the right order.
CREATE SEQUENCE applied_batches;

-- One row for each CRM step of an applied event, or one row with step 0 for an event without CRM steps. It proves that
-- the event was applied, and keeps the values it gave. Every event has a row with ordinal 0, so two workers that apply
-- the same event collide on it.
CREATE TABLE trigger_events (
    company_id    text NOT NULL,
    event_key     uuid NOT NULL,                     -- derived from source and id
    ordinal       smallint NOT NULL,                 -- counts the rows of one event from 0
    step          smallint NOT NULL,                 -- within the chain, from 1
    source        text NOT NULL,
    event_id      text NOT NULL,
    event_time    timestamptz NOT NULL,
    body_hash     bytea NOT NULL,                    -- SHA-256 of the message body
    trigger_name  text NOT NULL,
    assistant_id  text,
    session_id    text,
    traceparent   text,
    tracestate    text,
    skipped_steps smallint NOT NULL,                 -- beyond maxInteractions
    contact_id    uuid,                              -- at the time; resolve it through contact_aliases
    operation     text CHECK (operation IN ('created', 'updated', 'unchanged')),
    version       bigint,
    changed       text[],
    merged        uuid[],
    fields        jsonb,                             -- accepted values by field name
    rejected      jsonb,                             -- [{"field": "phone", "reason": "…"}]
    batch         bigint NOT NULL DEFAULT 0,         -- from applied_batches
    position      integer NOT NULL DEFAULT 0,        -- within the batch
    erased        boolean NOT NULL DEFAULT false,    -- the person's data was erased, or was never stored
    applied_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, event_key, ordinal)
);
CREATE INDEX trigger_events_by_contact ON trigger_events (company_id, contact_id, event_time)
    WHERE contact_id IS NOT NULL;

-- Messages that came back so often that they are processed alone, and how often that was started.
CREATE TABLE crash_suspects (
    body_hash  bytea PRIMARY KEY,
    starts     integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);


-- Messages to publish

-- Committed messages that the broker has not confirmed. A confirmed message is deleted. A relay takes over messages
-- whose lease has expired.
CREATE TABLE outbox (
    company_id           text NOT NULL,
    message_id           uuid NOT NULL,
    routing_key          text NOT NULL,
    type                 text NOT NULL,
    source               text NOT NULL,
    subject              text,
    correlation_id       text NOT NULL,
    traceparent          text,
    tracestate           text,
    time                 timestamptz NOT NULL,       -- CloudEvents time
    body                 bytea NOT NULL,
    reply_to             text,                       -- a queue that receives the message, too
    reply_correlation_id text,                       -- the requester's own id of its request
    leased_until         timestamptz NOT NULL,
    PRIMARY KEY (company_id, message_id)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX outbox_by_lease ON outbox (leased_until);

-- Chains that report their result (interpretResponse, reply_to), until their last webhook has ended.
CREATE TABLE chain_results (
    company_id     text NOT NULL,
    event_key      uuid NOT NULL,
    waiting        integer NOT NULL,                 -- webhook steps that have not ended
    chain          jsonb NOT NULL,                   -- the event and its steps, as known when it was applied
    reply_to       text,
    correlation_id text,                             -- the requester's own id of its request
    traceparent    text,
    tracestate     text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, event_key)
);


-- Webhooks

-- The receivers of webhooks: one row for each company and address. The address is as the trigger's author wrote it:
-- scheme, host, port and path, without the query. The row has the state of the endpoint's lane, for all workers.
CREATE TABLE webhook_endpoints (
    company_id       text NOT NULL,
    endpoint_id      uuid NOT NULL,                  -- derived from company and url
    url              text NOT NULL,
    -- Copied from the settings, for the claim.
    max_in_flight    integer NOT NULL,               -- concurrent requests of one process
    send_interval_us bigint NOT NULL DEFAULT 0,      -- between two requests of all processes; 0 without a limit
    -- Paused by an operator.
    paused_at        timestamptz,
    paused_by        text,
    -- Answered 410 Gone. Its deliveries wait until an operator enables it.
    disabled_at      timestamptz,
    disabled_because text,
    held_until       timestamptz NOT NULL DEFAULT 'epoch', -- Retry-After
    next_slot_at     timestamptz NOT NULL DEFAULT 'epoch', -- when the rate limit allows the next request
    breaker          text NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'half_open', 'ramp_up')),
    breaker_until    timestamptz NOT NULL DEFAULT 'epoch', -- the end of open, or of the probe's lease in half_open
    openings         integer NOT NULL DEFAULT 0,     -- consecutive
    allowance        integer NOT NULL DEFAULT 0,     -- in ramp_up: concurrent requests of one process
    failures         integer NOT NULL DEFAULT 0,     -- consecutive
    failing_since    timestamptz,
    last_success_at  timestamptz,
    last_failure_at  timestamptz,
    last_error       text,                           -- human-readable; nothing that the receiver sent
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, endpoint_id)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 200
);

-- One webhook step of one event, or a digest of several. Postgres owns the retry clock: a claim moves next_attempt_at
-- to the end of its lease, so a delivery whose worker died becomes due again by itself.
CREATE TABLE webhook_deliveries (
    company_id       text NOT NULL,
    delivery_id      uuid NOT NULL,                  -- the webhook-id header; derived from event and step
    event_key        uuid NOT NULL,
    step             smallint NOT NULL,
    source           text NOT NULL,
    event_id         text NOT NULL,
    trigger_name     text NOT NULL,
    contact_id       uuid,
    contact_version  bigint,
    traceparent      text,
    tracestate       text,
    endpoint_id      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- the nil id without an endpoint
    method           text NOT NULL,
    url              text NOT NULL,
    headers          jsonb NOT NULL,                 -- [["name", "value"], …], secrets included
    body             bytea,                          -- the exact bytes; bytea keeps the order of keys
    fault            text,                           -- why it cannot be rendered; such a delivery is never sent
    newest_only      boolean NOT NULL DEFAULT false, -- never sent after a newer version of its contact
    awaited          boolean NOT NULL DEFAULT false, -- its end counts for chain_results; false once it has counted
    digest           boolean NOT NULL DEFAULT false, -- waits to be sent in a digest
    digest_id        uuid,                           -- the digest that it went out in
    state            text NOT NULL
        CHECK (state IN ('pending', 'delivered', 'dead', 'discarded', 'superseded', 'digested')),
    attempts         integer NOT NULL DEFAULT 0,     -- in all rounds, replays included
    schedule_from    integer NOT NULL DEFAULT 0,     -- attempts that the retry schedule of this round does not count
    round_started_at timestamptz NOT NULL DEFAULT now(), -- when it was created, replayed or resent; its age counts from here
    next_attempt_at  timestamptz NOT NULL,
    lease_token      uuid,
    last_status      integer,
    last_error       text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    PRIMARY KEY (company_id, delivery_id)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
-- The lanes: one lookup finds the first pending delivery of an endpoint. Deliveries of one batch are due at the same
-- moment. If the index deduplicated their entries, none could be marked dead before all of them are, and each claim
-- would look again at everything that was claimed before it.
CREATE INDEX webhook_deliveries_lanes ON webhook_deliveries (company_id, endpoint_id, next_attempt_at)
    WITH (deduplicate_items = off) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (company_id, contact_id, endpoint_id, contact_version)
    WHERE newest_only;
-- "Newest only" looks for the pending deliveries of a contact, which may have thousands of finished versions. Like its
-- query, this index avoids `=`: the planner would let `=` use the index of lanes as well, and read a whole lane.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (company_id, contact_id, endpoint_id, contact_version)
    WHERE newest_only AND state IS NOT DISTINCT FROM 'pending';
CREATE INDEX webhook_deliveries_members ON webhook_deliveries (company_id, digest_id) WHERE digest_id IS NOT NULL;
-- For listings by time, at almost no cost. Vacuum summarizes new ranges of pages; `autosummarize` would flood
-- the server's log.
CREATE INDEX webhook_deliveries_created ON webhook_deliveries USING brin (created_at) WITH (pages_per_range = 16);

-- One HTTP request.
CREATE TABLE webhook_attempts (
    company_id    text NOT NULL,
    delivery_id   uuid NOT NULL,
    attempt       integer NOT NULL,                  -- counted from 1
    started_at    timestamptz NOT NULL,
    duration_ms   integer NOT NULL,
    connect_ms    integer,                           -- until the connection was open; null on a reused connection
    answer_ms     integer,                           -- until the response head arrived
    outcome       text NOT NULL,                     -- the class of the error, or 'delivered'
    status        integer,
    error         text,
    response_body bytea,                             -- at most 64 KiB
    PRIMARY KEY (company_id, delivery_id, attempt)
);


-- Dead letters

-- Messages and deliveries that cannot be processed, until a replay resolves them or an operator discards them.
CREATE TABLE dead_letters (
    company_id     text NOT NULL,                    -- '' if the message has none
    dead_letter_id uuid NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('upsert', 'webhook')),
    reason         text NOT NULL,
    message        text NOT NULL,                    -- human-readable; no personal data
    body_hash      bytea NOT NULL,                   -- SHA-256 of the body
    body           bytea NOT NULL,
    routing_key    text NOT NULL,
    properties     jsonb NOT NULL,                   -- AMQP properties and headers
    source         text,
    event_id       text,
    trigger_name   text,
    delivery_id    uuid,                             -- of stage webhook
    attempts       integer NOT NULL DEFAULT 1,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    replays        integer NOT NULL DEFAULT 0,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'resolved', 'discarded')),
    settled_at     timestamptz,
    settled_by     text,                             -- the operator who discarded it
    PRIMARY KEY (company_id, dead_letter_id),
    UNIQUE (company_id, stage, body_hash)            -- a redelivered message is the same dead letter
);
CREATE INDEX dead_letters_open ON dead_letters (last_seen_at DESC) WHERE state IN ('open', 'replaying');


-- Erasures

-- Identifiers of erased people, as keyed hashes. Earlier events that name one are not applied.
CREATE TABLE suppressions (
    company_id text NOT NULL,
    hash       bytea NOT NULL,
    erased_at  timestamptz NOT NULL,
    PRIMARY KEY (company_id, hash)
);

-- The key of these hashes, one for each company, created with its first erasure.
CREATE TABLE suppression_keys (
    company_id text PRIMARY KEY,
    key        bytea NOT NULL
);

-- The former ids of erased people. They prove the erasure, and nothing else.
CREATE TABLE contact_erasures (
    company_id text NOT NULL,
    contact_id uuid NOT NULL,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    operator   text NOT NULL,
    PRIMARY KEY (company_id, contact_id)
);
