-- Identity: conflict policies, merges that can be undone, erasure.

ALTER TABLE contacts
    -- The keys that find the contact, the same as its rows in contact_identifiers: a batch that has
    -- the contact knows them without asking, and nobody looks them up by contact.
    ADD COLUMN phones      text[] NOT NULL DEFAULT '{}',
    ADD COLUMN emails      text[] NOT NULL DEFAULT '{}',
    -- What it must never be merged with: "<link_id>/a" never meets "<link_id>/b".
    ADD COLUMN separations text[] NOT NULL DEFAULT '{}';

UPDATE contacts c SET phones = k.phones, emails = k.emails
FROM (SELECT company_id, contact_id,
             coalesce(array_agg(value ORDER BY value) FILTER (WHERE kind = 'phone'), '{}') AS phones,
             coalesce(array_agg(value ORDER BY value) FILTER (WHERE kind = 'email'), '{}') AS emails
      FROM contact_identifiers GROUP BY 1, 2) k
WHERE c.company_id = k.company_id AND c.contact_id = k.contact_id;

DROP INDEX contact_identifiers_by_contact;

-- The order in which events were applied: an unmerge applies them again in this order. A batch takes
-- its number after it has locked its contacts, so two batches of one contact have it in the right order.
CREATE SEQUENCE applied_batches;
ALTER TABLE trigger_events
    ADD COLUMN batch    bigint NOT NULL DEFAULT 0,
    ADD COLUMN position integer NOT NULL DEFAULT 0,
    -- What it said about a person was erased, or never stored because the person had been erased.
    ADD COLUMN erased   boolean NOT NULL DEFAULT false;

UPDATE trigger_events t SET position = o.position
FROM (SELECT company_id, event_key, ordinal,
             row_number() OVER (ORDER BY applied_at, event_key, ordinal) AS position
      FROM trigger_events) o
WHERE t.company_id = o.company_id AND t.event_key = o.event_key AND t.ordinal = o.ordinal;

-- What linked two contacts, parted them, or would have linked them. Rows are only added.
CREATE TABLE contact_links (
    company_id text NOT NULL,
    link_id    uuid NOT NULL,                        -- derived from event, step and kind; random for 'unmerged'
    kind       text NOT NULL CHECK (kind IN ('merged', 'unmerged', 'conflict')),
    contact_id uuid NOT NULL,                        -- the contact that lived on, or that the event was for
    other_id   uuid NOT NULL,                        -- the contact that was merged away, or that was kept apart
    rule       text,                                 -- of a conflict: what forbade the merge
    event_key  uuid,                                 -- none where an operator did it
    source     text,
    event_id   text,
    step       smallint,
    operator   text,
    happened_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, link_id)
);
CREATE INDEX contact_links_by_contact ON contact_links (company_id, contact_id);
CREATE INDEX contact_links_by_other ON contact_links (company_id, other_id);

INSERT INTO contact_links (company_id, link_id, kind, contact_id, other_id, event_key, source, event_id, step, happened_at)
SELECT DISTINCT ON (a.company_id, a.alias_id)
       a.company_id, gen_random_uuid(), 'merged', coalesce(t.contact_id, a.contact_id), a.alias_id,
       a.merged_by, t.source, t.event_id, t.step, a.merged_at
FROM contact_aliases a
LEFT JOIN trigger_events t
    ON t.company_id = a.company_id AND t.event_key = a.merged_by AND a.alias_id = ANY (t.merged)
ORDER BY a.company_id, a.alias_id, t.step;

-- Who does not come back: a keyed hash of each phone and email of an erased person. Events from before
-- the erasure that name one of them are not applied.
CREATE TABLE suppressions (
    company_id text NOT NULL,
    hash       bytea NOT NULL,
    erased_at  timestamptz NOT NULL,
    PRIMARY KEY (company_id, hash)
);

-- The key of these hashes, one for each company, made when its first person is erased.
CREATE TABLE suppression_keys (
    company_id text PRIMARY KEY,
    key        bytea NOT NULL
);

-- Ids that belonged to an erased person. They go on telling that, and nothing else.
CREATE TABLE contact_erasures (
    company_id text NOT NULL,
    contact_id uuid NOT NULL,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    operator   text NOT NULL,
    PRIMARY KEY (company_id, contact_id)
);
