-- Which groups a sync's scope names, as found among the source's objects, and who is in them, through other groups too
-- where it is `transitive`. Compared anew only when references or groups changed.
CREATE TABLE scope_group (
    sync INTEGER NOT NULL,
    named TEXT NOT NULL,
    transitive INTEGER NOT NULL,
    object INTEGER NOT NULL,
    PRIMARY KEY (sync, named, transitive)
) WITHOUT ROWID;
CREATE TABLE scope_member (
    sync INTEGER NOT NULL,
    object INTEGER NOT NULL,
    named INTEGER NOT NULL,
    PRIMARY KEY (sync, object, named)
) WITHOUT ROWID;

-- Grows with every reference that is added or removed.
ALTER TABLE store ADD COLUMN edge_revision INTEGER NOT NULL DEFAULT 0;
-- The revision as of which the members were compared.
ALTER TABLE sync ADD COLUMN members_as_of INTEGER;

-- Whether a sync writes references, so that it matters to it what others become.
ALTER TABLE sync ADD COLUMN refers INTEGER NOT NULL DEFAULT 0;
