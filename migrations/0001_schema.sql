-- Every primary key and unique index begins with company_id, so no key of one company reaches a row of another, and
-- the schema can be distributed by company_id. The exceptions are crash_suspects, whose messages have not been decoded,
-- so their company is unknown, processes, rates, operations and idempotency_keys, which are of every company, and dead_letter_notes, whose
-- failures many companies share.
--
-- Texts in keys are compared by bytes (COLLATE "C"): at less cost, in the order that the service sorts by, and
-- independently of the locale and of the C library, whose updates change orders and so break indexes.


-- Contacts

-- A contact: for each field, the value of the latest event. `provenance` has the event that set each value:
-- {"events": [{"time": µs since 1970, "ns": 0 to 999, "id": "…", "source": "…", "step": 1}], "fields": {"name": 0}}.
CREATE TABLE contacts (
    company_id  text COLLATE "C" NOT NULL,
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
    provenance  text NOT NULL,                       -- JSON, only ever read whole: jsonb would parse it for nothing
    -- The contact's identifiers, the same as its rows in contact_identifiers. A transaction that has locked the row
    -- knows them, so contact_identifiers needs no index by contact.
    phones      text[] NOT NULL DEFAULT '{}',
    emails      text[] NOT NULL DEFAULT '{}',
    -- Sides of separations: a contact with "<link_id>/a" never merges with one with "<link_id>/b".
    separations text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (company_id, contact_id)
) WITH (
    -- Every update is HOT, because no index has a column that changes, and there must never be one. It needs room on
    -- the page.
    fillfactor = 75,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- The owner of each phone and email; makes them unique. Only an erasure removes rows, so former phones and emails
-- still find their contact.
CREATE TABLE contact_identifiers (
    company_id text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('email', 'phone')),
    value      text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    PRIMARY KEY (company_id, kind, value)
);

-- Ids that were merged into another contact. Each leads to a living contact directly, never to another alias.
CREATE TABLE contact_aliases (
    company_id text COLLATE "C" NOT NULL,
    alias_id   uuid NOT NULL,
    contact_id uuid NOT NULL,
    version    bigint NOT NULL,                      -- when it was merged; an unmerge continues from there
    merged_by  uuid NOT NULL,                        -- event_key of the event that merged them
    merged_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, alias_id)
);
CREATE INDEX contact_aliases_by_contact ON contact_aliases (company_id, contact_id);

-- The history of links: merges, unmerges, and merges that a rule forbade.
CREATE TABLE contact_links (
    company_id  text COLLATE "C" NOT NULL,
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
-- Conflicts leave with the history.
CREATE INDEX contact_links_conflicts ON contact_links (happened_at) WHERE kind = 'conflict';


-- The ledger

-- The proof that an event was applied, kept for ever and therefore narrow. Its key is the one arbiter: two transactions
-- that end the same event collide on it. So an event that was refused has a row, too, until it is applied, or its dead
-- letters have left.
CREATE TABLE applied_events (
    company_id text COLLATE "C" NOT NULL,
    event_key  uuid NOT NULL,                        -- derived from source and id
    meaning    bytea,                                -- first 16 bytes of the hash of what the body means; null: refused
    erased     boolean NOT NULL,                     -- about a person who has been erased, before or after it was applied
    PRIMARY KEY (company_id, event_key)
);

-- The order in which CRM steps were applied; an unmerge applies them again in this order. A step takes its number while
-- its contact is locked, so two steps of one contact have their numbers in the right order.
CREATE SEQUENCE applied_steps;

-- The history of contacts: one row for each CRM step of an applied event, with the values that it gave. Whether an event
-- was applied never depends on it, so a part of it can be dropped: it is partitioned by time, without a unique key, and
-- its lists are texts, read only for one contact at a time.
CREATE TABLE trigger_events (
    company_id    text COLLATE "C" NOT NULL,
    contact_id    uuid NOT NULL,                     -- at the time; resolve it through contact_aliases
    event_time    timestamptz NOT NULL,
    event_nanos   smallint NOT NULL DEFAULT 0,       -- 0 to 999, to be added to event_time
    applied_order bigint NOT NULL DEFAULT nextval('applied_steps'),
    source        text NOT NULL,
    event_id      text NOT NULL,
    step          smallint NOT NULL,                 -- within the chain, from 1
    trigger_name  text NOT NULL,
    operation     text NOT NULL CHECK (operation IN ('created', 'updated', 'unchanged')),
    version       bigint NOT NULL,
    changed       text,                              -- fields whose value changed, separated by commas
    merged        text,                              -- contacts merged into this one, separated by commas
    fields        text NOT NULL,                     -- accepted values by field name
    rejected      text,                              -- [{"field": "phone", "reason": "…"}]
    -- On the row of the first CRM step: all webhook steps of the event that were to be sent, separated by commas. Their
    -- deliveries derive from event and step, so `verify` can tell that none is lost.
    webhooks      text,
    trace_id      uuid,                              -- of W3C Trace Context, if the event has one
    applied_at    timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (applied_at);
CREATE TABLE trigger_events_default PARTITION OF trigger_events DEFAULT;
-- Everybody looks for the rows of a contact. The time finds one row among them: an unmerge changes each, and
-- `contact show` names the trigger of each value.
CREATE INDEX trigger_events_by_contact ON trigger_events (company_id, contact_id, event_time);

-- Messages that came back so often that they are processed alone, and how often that was started.
CREATE TABLE crash_suspects (
    body_hash  bytea PRIMARY KEY,
    starts     integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);


-- Processes, and the effects of committed transactions

-- The running processes. A process renews its row every few seconds. Other processes release what a process owns once
-- its row has expired, and keep the row for an hour from then on in case the process only stood still.
CREATE TABLE processes (
    process_id     uuid PRIMARY KEY,
    alive_until    timestamptz NOT NULL,
    sends_webhooks boolean NOT NULL,
    heard_at       timestamptz NOT NULL DEFAULT now(), -- it has heard of what erasures had recalled by then
    buried_at      timestamptz                       -- when others began to release what it owned
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 200
);

-- What committed transactions still have to do: one row for each company, transaction and kind. The process that
-- committed it works on it from memory. What is done leaves the body, and the row goes with its last part.
CREATE TABLE effects (
    company_id text COLLATE "C" NOT NULL,
    batch      uuid NOT NULL,                        -- UUIDv7, one for each transaction, more if its requests are large
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('publish', 'send')),
    owner      uuid,                                 -- the process that works on it; null: any process, once it is due
    due_at     timestamptz NOT NULL DEFAULT now(),
    postponed  boolean NOT NULL DEFAULT false,       -- a queue has not taken its messages before
    items      integer NOT NULL,                     -- messages or requests in the body
    body       bytea COMPRESSION lz4 NOT NULL,       -- MessagePack
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, batch, kind)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.01,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX effects_due ON effects (kind, postponed, due_at) WHERE owner IS NULL;
CREATE INDEX effects_due_companies ON effects (kind, hashtext(company_id), company_id, due_at) WHERE owner IS NULL;
CREATE INDEX effects_owned ON effects (owner) WHERE owner IS NOT NULL;
-- Webhooks by age: the oldest, for retention, and the newest, for listings.
CREATE INDEX effects_unsent ON effects (created_at) WHERE kind = 'send';

-- Chains that report their result (interpretResponse, reply_to), until their last webhook has ended.
CREATE TABLE chain_results (
    company_id     text COLLATE "C" NOT NULL,
    event_key      uuid NOT NULL,
    waiting        integer NOT NULL,                 -- webhook steps that have not ended
    chain          jsonb NOT NULL,                   -- the event and its steps, as known when it was applied
    reply_to       text,
    correlation_id text,                             -- the requester's own id of its request
    traceparent    text,
    tracestate     text,
    created_at     timestamptz NOT NULL,             -- that of its deliveries
    PRIMARY KEY (company_id, event_key)
);
-- Retention keeps the attempts that a result reports.
CREATE INDEX chain_results_created ON chain_results (company_id, created_at);


-- Webhooks

-- The receivers of webhooks: one row for each company and address. The address is as the trigger's author wrote it:
-- scheme, host, port and path, without the query. The row has the state of the endpoint's lane, for all processes.
-- A lane's pending deliveries are sent by one process at a time, its owner.
CREATE TABLE webhook_endpoints (
    company_id       text COLLATE "C" NOT NULL,
    endpoint_id      uuid NOT NULL,                  -- derived from company and url
    url              text NOT NULL,
    -- Copied from the settings, for all processes.
    max_in_flight    integer NOT NULL,               -- concurrent requests
    send_interval_us bigint NOT NULL DEFAULT 0,      -- between two requests; 0 without a limit
    -- Paused by an operator.
    paused_at        timestamptz,
    paused_by        text,
    -- Answered 410 Gone. Its deliveries wait until an operator enables it.
    disabled_at      timestamptz,
    disabled_because text,
    held_until       timestamptz NOT NULL DEFAULT 'epoch', -- Retry-After
    next_slot_at     timestamptz NOT NULL DEFAULT 'epoch', -- when the rate limit allows the next request
    breaker          text NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'half_open', 'ramp_up')),
    breaker_until    timestamptz NOT NULL DEFAULT 'epoch', -- the end of open
    openings         integer NOT NULL DEFAULT 0,     -- consecutive
    allowance        integer NOT NULL DEFAULT 0,     -- in ramp_up: concurrent requests
    failures         integer NOT NULL DEFAULT 0,     -- consecutive
    failing_since    timestamptz,
    last_success_at  timestamptz,
    last_failure_at  timestamptz,
    last_error       text,                           -- human-readable; nothing that the receiver sent
    -- The schedule of the lane. A claim takes the lanes that are due, and never looks at the others.
    owner            uuid,                           -- the process that sends its pending deliveries
    next_due_at      timestamptz NOT NULL DEFAULT 'infinity', -- when it needs an owner; never too late, maybe too early
    -- The bucket of the company: a claim takes a few lanes from each, so the many lanes of one company hold up few others.
    turn             smallint NOT NULL GENERATED ALWAYS AS (hashtext(company_id) & 63) STORED,
    company_hash     integer NOT NULL GENERATED ALWAYS AS (hashtext(company_id)) STORED,
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- Retention removes the row some time after this. A delivery was inserted for it then, and maybe until 7 hours later.
    used_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, endpoint_id)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 200
);
CREATE INDEX webhook_endpoints_due ON webhook_endpoints (turn, next_due_at)
    WHERE owner IS NULL AND next_due_at < 'infinity';
-- The companies of a bucket, for a claim that has to pass over one of them, in an order that favors no names.
CREATE INDEX webhook_endpoints_companies ON webhook_endpoints (turn, company_hash, company_id, next_due_at)
    WHERE owner IS NULL AND next_due_at < 'infinity';
-- For operators: those that are closed or have failures.
CREATE INDEX webhook_endpoints_troubled ON webhook_endpoints (company_id, endpoint_id)
    WHERE paused_at IS NOT NULL OR disabled_at IS NOT NULL OR breaker <> 'closed' OR failures > 0;
CREATE INDEX webhook_endpoints_owned ON webhook_endpoints (owner) WHERE owner IS NOT NULL;
-- Those that do not get all requests at once are counted for metrics.
CREATE INDEX webhook_endpoints_not_open ON webhook_endpoints (breaker)
    WHERE breaker <> 'closed' OR paused_at IS NOT NULL OR disabled_at IS NOT NULL;

-- One webhook step of one event, or a digest of several. Written once if the first attempt delivers it. Otherwise it is
-- pending, and written once more when it ends; until then only its row in webhook_pending changes.
CREATE TABLE webhook_deliveries (
    company_id       text COLLATE "C" NOT NULL,
    delivery_id      uuid NOT NULL,                  -- the webhook-id header; derived from event and step
    created_at       timestamptz NOT NULL,           -- by the database's clock, as the process knows it
    event_key        uuid NOT NULL,
    step             smallint NOT NULL,
    source           text NOT NULL,
    event_id         text NOT NULL,
    trigger_name     text NOT NULL,
    contact_id       uuid,
    contact_version  bigint,
    traceparent      text,
    tracestate       text,
    endpoint_id      uuid NOT NULL,                  -- the nil id without an endpoint
    method           text NOT NULL,
    url              text NOT NULL,
    headers          text NOT NULL,                  -- [["name", "value"], …] as JSON, secrets included
    body             bytea,                          -- the exact bytes
    fault            text,                           -- why it cannot be rendered; such a delivery is never sent
    newest_only      boolean NOT NULL,               -- never sent after a newer version of its contact
    awaited          boolean NOT NULL,               -- its end counts for chain_results; false once it has counted
    digest           boolean NOT NULL,               -- waits, or waited, to be sent in a digest
    digest_id        uuid,                           -- the digest that it went out in
    state            text NOT NULL
        CHECK (state IN ('pending', 'delivered', 'dead', 'discarded', 'superseded', 'digested')),
    -- As of its end, or of the last resend.
    attempts         integer NOT NULL DEFAULT 0,     -- in all rounds, replays included
    last_status      integer,
    last_error       text,
    -- The attempt, if the first one delivered it. All others are in webhook_attempts.
    started_at       timestamptz,
    duration_ms      integer,
    connect_ms       integer,
    answer_ms        integer,
    response_body    bytea,
    finished_at      timestamptz,
    PRIMARY KEY (company_id, delivery_id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE webhook_deliveries_default PARTITION OF webhook_deliveries DEFAULT;
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (company_id, contact_id, endpoint_id, contact_version)
    WHERE newest_only;
CREATE INDEX webhook_deliveries_members ON webhook_deliveries (company_id, digest_id) WHERE digest_id IS NOT NULL;
-- For listings by time, at almost no cost. Vacuum summarizes new ranges of pages; `autosummarize` would flood
-- the server's log.
CREATE INDEX webhook_deliveries_created ON webhook_deliveries USING brin (created_at) WITH (pages_per_range = 16);

-- The retry clock of pending deliveries. Narrow, because each attempt writes the row again.
CREATE TABLE webhook_pending (
    company_id       text COLLATE "C" NOT NULL,
    delivery_id      uuid NOT NULL,
    created_at       timestamptz NOT NULL,           -- of the delivery, whose key it completes
    endpoint_id      uuid NOT NULL,
    due_at           timestamptz NOT NULL,
    attempts         integer NOT NULL,               -- in all rounds; also tells whether an outcome is still expected
    schedule_from    integer NOT NULL,               -- attempts that the retry schedule of this round does not count
    round_started_at timestamptz NOT NULL,           -- when it was created, replayed or resent; its age counts from here
    -- Of a delivery with newest_only.
    contact_id       uuid,
    contact_version  bigint,
    PRIMARY KEY (company_id, delivery_id)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX webhook_pending_lanes ON webhook_pending (company_id, endpoint_id, due_at, delivery_id);
CREATE INDEX webhook_pending_newest ON webhook_pending (company_id, contact_id, endpoint_id, contact_version)
    WHERE contact_id IS NOT NULL;
-- Of old deliveries that were replayed or resent. Retention keeps them, and must not search all rows while it has a lock.
CREATE INDEX webhook_pending_restarted ON webhook_pending (created_at)
    WHERE round_started_at - created_at > interval '12 hours';

-- One HTTP request, unless it is the only one of its delivery and delivered it. Partitioned like the deliveries, so that
-- the attempts of a delivery are in one partition and never outlive it.
CREATE TABLE webhook_attempts (
    company_id    text COLLATE "C" NOT NULL,
    created_at    timestamptz NOT NULL,              -- of the delivery, whose key it completes
    delivery_id   uuid NOT NULL,
    attempt       integer NOT NULL,                  -- counted from 1
    started_at    timestamptz NOT NULL,
    duration_ms   integer NOT NULL,
    connect_ms    integer,                           -- until the connection was open; null on a reused connection
    answer_ms     integer,                           -- until the response head arrived
    outcome       text NOT NULL,                     -- the class of the error, or 'delivered'
    status        integer,
    error         text,
    response_body bytea,                             -- at most 64 KiB; of the first and the last answer only
    PRIMARY KEY (company_id, created_at, delivery_id, attempt)
) PARTITION BY RANGE (created_at);
CREATE TABLE webhook_attempts_default PARTITION OF webhook_attempts DEFAULT;

-- Every HTTP request. Give created_at, or every partition is searched.
CREATE VIEW all_webhook_attempts AS
    SELECT company_id, created_at, delivery_id, attempt, started_at, duration_ms, connect_ms, answer_ms, outcome, status, error,
        response_body
    FROM webhook_attempts
    UNION ALL
    SELECT company_id, created_at, delivery_id, 1, started_at, duration_ms, connect_ms, answer_ms, 'delivered', last_status,
        NULL, response_body
    FROM webhook_deliveries WHERE started_at IS NOT NULL;


-- Dead letters

-- Messages and deliveries that cannot be processed, until a replay resolves them or an operator discards them.
CREATE TABLE dead_letters (
    company_id     text COLLATE "C" NOT NULL,                    -- '' if the message has none
    dead_letter_id uuid NOT NULL,
    stage          text COLLATE "C" NOT NULL CHECK (stage IN ('upsert', 'webhook')),
    reason         text COLLATE "C" NOT NULL,
    message        text NOT NULL,                    -- human-readable; no personal data
    meaning        bytea NOT NULL,                   -- hash of what the body means, however its JSON is written
    body           bytea NOT NULL,
    routing_key    text NOT NULL,
    properties     jsonb NOT NULL,                   -- AMQP properties and headers
    is_blank       boolean NOT NULL DEFAULT false,   -- may name an erased person: the contents were not kept
    source         text,
    event_id       text,
    event_key      uuid,                             -- of stage upsert: its row in applied_events
    trigger_name   text COLLATE "C",
    delivery_id    uuid,                             -- of stage webhook
    endpoint_id    uuid,                             -- of stage webhook: where the delivery goes
    signature      bytea NOT NULL,                   -- hash of what dead letters with the same cause have in common
    attempts       integer NOT NULL DEFAULT 1,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    replays        integer NOT NULL DEFAULT 0,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'resolved', 'discarded')),
    settled_at     timestamptz,
    settled_by     text,                             -- the operator who discarded it, or replaced it by an edited event
    unsettled      boolean NOT NULL GENERATED ALWAYS AS (state IN ('open', 'replaying')) STORED,
    -- An edited event is a dead letter of its own, which is being replayed.
    edited_from    uuid,                             -- the dead letter that was edited
    superseded_by  uuid,                             -- the edited one
    difference     jsonb,                            -- [{"path": "/data/…", "before": …, "after": …}]
    PRIMARY KEY (company_id, dead_letter_id),
    UNIQUE (company_id, stage, meaning)              -- a redelivered message is the same dead letter
);
-- Listings, from the newest to the oldest.
CREATE INDEX dead_letters_open ON dead_letters (last_seen_at, dead_letter_id) WHERE unsettled;
CREATE INDEX dead_letters_closed ON dead_letters (last_seen_at, dead_letter_id) WHERE NOT unsettled;
CREATE INDEX dead_letters_by_company ON dead_letters (company_id, last_seen_at, dead_letter_id);
CREATE INDEX dead_letters_by_reason ON dead_letters (reason, last_seen_at, dead_letter_id);
CREATE INDEX dead_letters_by_trigger ON dead_letters (trigger_name, last_seen_at, dead_letter_id);
CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint_id, last_seen_at, dead_letter_id)
    WHERE endpoint_id IS NOT NULL;
CREATE INDEX dead_letters_by_event ON dead_letters (event_id) WHERE event_id IS NOT NULL;
-- Groups are counted from this index alone.
CREATE INDEX dead_letters_by_signature ON dead_letters (signature, last_seen_at, dead_letter_id)
    INCLUDE (company_id, first_seen_at) WHERE unsettled;
CREATE INDEX dead_letters_settled ON dead_letters (settled_at) WHERE settled_at IS NOT NULL;
-- Retention keeps the deliveries that can be replayed, or restored and then replayed.
CREATE INDEX dead_letters_of_deliveries ON dead_letters (company_id, delivery_id)
    WHERE state IN ('open', 'replaying', 'discarded') AND delivery_id IS NOT NULL;
-- The ledger forgets that an event was refused once it has no dead letter.
CREATE INDEX dead_letters_of_events ON dead_letters (company_id, event_key) WHERE event_key IS NOT NULL;

-- What operators know about a group of dead letters. It outlives them: the failure may come back.
CREATE TABLE dead_letter_notes (
    signature  bytea PRIMARY KEY,
    note       text NOT NULL,
    written_by text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);


-- Erasures

-- Identifiers of erased people, as keyed hashes. Earlier events that name one are not applied.
CREATE TABLE suppressions (
    company_id text COLLATE "C" NOT NULL,
    hash       bytea NOT NULL,
    erased_at  timestamptz NOT NULL,
    PRIMARY KEY (company_id, hash)
);

-- The key of these hashes, one for each company, created with its first erasure.
CREATE TABLE suppression_keys (
    company_id     text COLLATE "C" PRIMARY KEY,
    key            bytea NOT NULL,
    last_erased_at timestamptz NOT NULL
);

-- Erasures that are not finished: the contact is gone, other rows may still be about the person. Personal data.
CREATE TABLE erasures (
    company_id text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    aliases    uuid[] NOT NULL,                      -- the ids that had been merged into it
    erased_at  timestamptz NOT NULL,
    kinds      text[] NOT NULL,                      -- of the identifiers
    keys       text[] NOT NULL,                      -- their values
    documents  text[] NOT NULL,
    recalled_at timestamptz,                         -- when it last removed webhooks that a process may have in memory
    tries       integer NOT NULL DEFAULT 0,          -- how often a process has begun to finish it
    next_try_at timestamptz NOT NULL DEFAULT '-infinity', -- until then they leave it alone
    PRIMARY KEY (company_id, contact_id)
);

-- The former ids of erased people. They prove the erasure, and nothing else.
CREATE TABLE contact_erasures (
    company_id text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    operator   text NOT NULL,
    PRIMARY KEY (company_id, contact_id)
);


-- Audit

-- What operators changed, one row for each thing, inserted in the transaction of the change. No personal data, no bodies.
CREATE TABLE audit_log (
    company_id  text COLLATE "C" NOT NULL,           -- '' where there is none
    audit_id    uuid NOT NULL,                       -- UUIDv7
    happened_at timestamptz NOT NULL DEFAULT now(),
    operator    text COLLATE "C" NOT NULL,
    via         text NOT NULL CHECK (via IN ('command_line', 'api', 'console')),
    action      text COLLATE "C" NOT NULL,
    object      text COLLATE "C" NOT NULL,           -- the id of what was changed
    reason      text,                                -- why, in the operator's words
    before      jsonb,                               -- states, counts and names
    after       jsonb,
    PRIMARY KEY (company_id, audit_id)
);
CREATE INDEX audit_log_by_time ON audit_log (happened_at, audit_id);
CREATE INDEX audit_log_by_operator ON audit_log (operator, happened_at, audit_id);
CREATE INDEX audit_log_by_action ON audit_log (action, happened_at, audit_id);
CREATE INDEX audit_log_by_company ON audit_log (company_id, happened_at, audit_id);
CREATE INDEX audit_log_by_object ON audit_log (object, happened_at, audit_id);

-- Changes that a client of the API named by a key, so that it can repeat a request whose answer it did not get. A row without
-- an answer is of a request that is running, or whose process died. Maintenance removes rows after a day.
CREATE TABLE idempotency_keys (
    caller     text COLLATE "C" NOT NULL,            -- the name of the token
    key        text COLLATE "C" NOT NULL,
    request    bytea NOT NULL,                       -- SHA-256 of method, path, query and body
    status     smallint,
    answer     text,                                 -- JSON; null if it must not be kept
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

CREATE FUNCTION refuse_to_change_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only';
END
$$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_audit_log();


-- Rates

-- What each process did in each minute of the last two hours, for charts.
CREATE TABLE rates (
    minute       timestamptz NOT NULL,
    process_id   uuid NOT NULL,                      -- of this process's own choice, no row of processes
    events       bigint NOT NULL,                    -- that were applied
    dead_letters bigint NOT NULL,                    -- that were opened, also again
    deliveries   bigint NOT NULL,                    -- that a receiver took
    PRIMARY KEY (minute, process_id)
);


-- Operations

-- One act of an operator on many dead letters or deliveries. Its items are chosen when it is planned, so what arrives later is not
-- among them. A process works on it as its owner, and another one goes on when that has died.
CREATE TABLE operations (
    operation_id  uuid PRIMARY KEY,                  -- UUIDv7
    action        text NOT NULL CHECK (action IN ('replay', 'discard', 'restore', 'resend', 'discard_deliveries')),
    state         text COLLATE "C" NOT NULL
        CHECK (state IN ('planning', 'planned', 'running', 'paused', 'done', 'canceled')),
    selection     jsonb NOT NULL,                    -- how the items were chosen, for people
    paused_because text,                             -- null: by an operator
    rate          integer,                           -- items per second; null: no limit
    canary        integer,                           -- items of the step that is judged before more follow; null: no such step
    canary_since  timestamptz,                       -- when the last item of that step was done
    total         bigint NOT NULL DEFAULT 0,
    done          bigint NOT NULL DEFAULT 0,
    skipped       bigint NOT NULL DEFAULT 0,
    failed        bigint NOT NULL DEFAULT 0,
    operator      text NOT NULL,
    via           text NOT NULL,
    reason        text,
    owner         uuid,                              -- the process that works on it
    owner_until   timestamptz NOT NULL DEFAULT 'epoch',
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz
);
CREATE INDEX operations_running ON operations (owner_until) WHERE state = 'running';
-- For metrics.
CREATE INDEX operations_open ON operations (created_at) WHERE state IN ('running', 'paused');
CREATE INDEX operations_created ON operations (created_at, operation_id);

-- The dead letters or deliveries of an operation, the oldest first. done + skipped + failed of them are settled, in this order.
CREATE TABLE operation_items (
    operation_id uuid NOT NULL,
    position     bigint NOT NULL,                    -- 0 for the newest, -1 for the one before it: they are chosen backward
    company_id   text COLLATE "C" NOT NULL,
    object_id    uuid NOT NULL,
    tries        integer NOT NULL DEFAULT 0,         -- how often it had been replayed or attempted when it was chosen
    outcome      text CHECK (outcome IN ('started', 'done', 'skipped', 'failed')),
    detail       text,                               -- why it was skipped or failed
    PRIMARY KEY (operation_id, position)
);
