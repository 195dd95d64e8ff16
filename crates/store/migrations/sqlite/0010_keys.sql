-- round 3: all keys are being read, of a source whose deltas show no deletions. keys_read: when that was last complete,
-- in milliseconds since 1970.
ALTER TABLE source_type ADD COLUMN keys_read INTEGER;
