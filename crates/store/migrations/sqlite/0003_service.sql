-- What a service that runs all syncs needs to know between cycles.

-- When a person asked for a cycle; none once it has begun.
ALTER TABLE sync ADD COLUMN wake_at INTEGER;

-- The state was restored, so the target may be ahead of it: every linked object is read again before anything is sent.
ALTER TABLE sync ADD COLUMN reconcile INTEGER NOT NULL DEFAULT 0;

-- Which link's pause ends first.
CREATE INDEX link_waiting ON link (sync, not_before) WHERE not_before IS NOT NULL AND dirty > evaluated;
