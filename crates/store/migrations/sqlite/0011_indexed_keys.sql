-- Indexes over long texts in no order were half of what a first load wrote to the log. They hold a digest of a long key
-- instead (see keys.rs), made with a key of this state's own, so that nobody can choose two keys that have the same one.
ALTER TABLE store ADD COLUMN digest_key BLOB;
UPDATE store SET digest_key = randomblob(32);
DROP INDEX link_target;
ALTER TABLE link ADD COLUMN indexed_key BLOB;
-- Null where the value itself is short.
ALTER TABLE written_value ADD COLUMN indexed_value BLOB;
