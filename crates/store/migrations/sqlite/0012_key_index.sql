-- The columns were filled after the version before.
CREATE UNIQUE INDEX link_target ON link (target_type, indexed_key, owner) WHERE indexed_key IS NOT NULL;
