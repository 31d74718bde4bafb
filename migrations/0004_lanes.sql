-- Deliveries of one batch are due at the same moment. Were their entries in the index of lanes folded into one,
-- none could be marked as dead before all are, and each claim would look at all that were claimed before it.
ALTER INDEX webhook_deliveries_lanes SET (deduplicate_items = off);
REINDEX INDEX webhook_deliveries_lanes; -- and what waits already

-- "Newest only" looks for what is pending of a contact, which may have thousands of finished versions. Not `=`, as
-- in the query: the planner would let that take the index of lanes as well, and read all that waits in one.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (company_id, contact_id, endpoint_id, contact_version)
    WHERE newest_only AND state IS NOT DISTINCT FROM 'pending';
