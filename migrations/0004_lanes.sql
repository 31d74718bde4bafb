-- Deliveries of one batch are due at the same moment. Were their entries in the index of lanes folded into one,
-- none could be marked as dead before all are, and each claim would look at all that were claimed before it.
ALTER INDEX webhook_deliveries_lanes SET (deduplicate_items = off);
