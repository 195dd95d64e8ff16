-- By what each member of a batch is found at the target, in their order: its length in four bytes, then as the
-- engine encodes it. The source may have changed by the time an answer turns out to be lost.
ALTER TABLE batch ADD COLUMN sought BLOB;
