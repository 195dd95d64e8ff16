-- What people decide, and what guard and quarantine remember.

-- A hold is about one kind of change, and for cleared values about one attribute. Holds of the former form are made
-- anew by the next cycle.
DELETE FROM hold;
ALTER TABLE hold ADD COLUMN attribute TEXT;
ALTER TABLE hold ADD COLUMN base INTEGER NOT NULL DEFAULT 0;

-- Approved changes: each serves the identical change only, and until it expires.
CREATE TABLE granted (
    link INTEGER NOT NULL,
    kind TEXT NOT NULL,
    attribute TEXT NOT NULL,
    value BLOB NOT NULL,
    sync INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (link, kind, attribute, value)
) WITHOUT ROWID;
CREATE INDEX granted_sync ON granted (sync);

-- The revision as of which a person decided over the link: what was evaluated before it counts no more.
ALTER TABLE link ADD COLUMN decided INTEGER NOT NULL DEFAULT 0;
CREATE INDEX link_decided ON link (sync, id) WHERE decided > 0;

-- Which guarded changes were counted with a batch, as JSON: those without effect are given back.
ALTER TABLE batch ADD COLUMN guarded TEXT NOT NULL DEFAULT '[]';

CREATE TABLE quarantine (
    sync INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    attribute TEXT,
    since INTEGER NOT NULL,
    probes INTEGER NOT NULL,
    next_probe_at INTEGER NOT NULL
);

-- A sync's last outcomes in one row, since they are only ever read and written together.
CREATE TABLE outcome_window (
    sync INTEGER PRIMARY KEY,
    outcomes BLOB NOT NULL
);

CREATE INDEX event_sync ON event (sync, id);
