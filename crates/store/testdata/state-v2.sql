-- Times are milliseconds since 1970 in UTC. Keys, states and written values are packed by muster-model.

CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    clock_high_water INTEGER NOT NULL
);

CREATE TABLE connection (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    identity TEXT
);

CREATE TABLE attribute (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    connection INTEGER NOT NULL REFERENCES connection,
    object_type TEXT NOT NULL,
    name TEXT NOT NULL,
    value_type TEXT NOT NULL,
    multiplicity TEXT NOT NULL,
    UNIQUE (connection, object_type, name, value_type, multiplicity)
);

-- round: 0 idle, 1 full, 2 delta. unswept: a generation is complete, and what it did not see is still there.
CREATE TABLE source_type (
    id INTEGER PRIMARY KEY,
    connection INTEGER NOT NULL REFERENCES connection,
    name TEXT NOT NULL,
    round INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    unswept INTEGER NOT NULL DEFAULT 0,
    watermark BLOB,
    cursor BLOB,
    attributes TEXT NOT NULL DEFAULT '[]',
    epoch INTEGER NOT NULL DEFAULT 0,
    lease_host TEXT,
    lease_until INTEGER,
    UNIQUE (connection, name)
);

CREATE TABLE target_type (
    id INTEGER PRIMARY KEY,
    connection INTEGER NOT NULL REFERENCES connection,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    lease_host TEXT,
    lease_until INTEGER,
    UNIQUE (connection, name)
);

CREATE TABLE journal (
    source_type INTEGER NOT NULL REFERENCES source_type,
    sequence INTEGER NOT NULL,
    page BLOB NOT NULL,
    PRIMARY KEY (source_type, sequence)
);

-- removed: 0 no, 1 soft, 2 hard. A row without state is a placeholder: referenced, but not seen yet.
CREATE TABLE source_object (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source_type INTEGER NOT NULL REFERENCES source_type,
    anchor BLOB NOT NULL,
    generation INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    removed_since INTEGER,
    state BLOB,
    UNIQUE (source_type, anchor)
);
CREATE INDEX source_object_removed ON source_object (source_type, removed_since) WHERE removed = 1;

CREATE TABLE edge (
    object INTEGER NOT NULL,
    attribute INTEGER NOT NULL,
    referenced INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (object, attribute, referenced)
) WITHOUT ROWID;
CREATE INDEX edge_referenced ON edge (referenced, attribute);

CREATE TABLE sync (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    source_type INTEGER NOT NULL REFERENCES source_type,
    target_type INTEGER NOT NULL REFERENCES target_type,
    fingerprint BLOB NOT NULL,
    filled_to INTEGER NOT NULL DEFAULT 0,
    retired INTEGER NOT NULL DEFAULT 0,
    paused TEXT
);

-- state: 0 candidate, 1 linked, 2 disabled, 3 gone, 4 released. origin: 0 none, 1 created, 2 adopted.
-- owner: 0 for an owning link, else the contributing sync: at most one owning link per target object.
-- Dirty means dirty > evaluated; both only grow. Fat values live in link_values, so that these rows stay lean.
CREATE TABLE link (
    id INTEGER PRIMARY KEY,
    sync INTEGER NOT NULL,
    object INTEGER NOT NULL,
    target_type INTEGER NOT NULL,
    owner INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL DEFAULT 0,
    origin INTEGER NOT NULL DEFAULT 0,
    dirty INTEGER NOT NULL DEFAULT 1,
    evaluated INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER,
    due_at INTEGER,
    target_key BLOB
);
CREATE UNIQUE INDEX link_object ON link (object, sync);
CREATE UNIQUE INDEX link_target ON link (target_type, target_key, owner) WHERE target_key IS NOT NULL;
CREATE INDEX link_dirty ON link (sync, id) WHERE dirty > evaluated;
CREATE INDEX link_due ON link (sync, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE link_values (
    link INTEGER PRIMARY KEY,
    written BLOB,
    sticky BLOB,
    grants BLOB,
    version BLOB
);

CREATE TABLE written_reference (
    link INTEGER NOT NULL,
    attribute INTEGER NOT NULL,
    target_link INTEGER NOT NULL,
    state INTEGER NOT NULL,
    dirty INTEGER NOT NULL,
    PRIMARY KEY (link, attribute, target_link)
) WITHOUT ROWID;
CREATE INDEX written_reference_target ON written_reference (target_link);

CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sync INTEGER NOT NULL,
    target_type INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    host TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    members BLOB NOT NULL
);

-- Only operations that outlive their batch. state: 0 waiting, 1 accepted, 2 parked, 3 unknown.
CREATE TABLE operation (
    id BLOB PRIMARY KEY,
    sync INTEGER NOT NULL,
    link INTEGER NOT NULL,
    state INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    not_before INTEGER,
    ticket TEXT,
    content BLOB
);
CREATE INDEX operation_link ON operation (link);

-- Codes, names of attributes and ids only; the target's own words are in operation.content.
CREATE TABLE parked (
    link INTEGER PRIMARY KEY,
    sync INTEGER NOT NULL,
    operation BLOB,
    kind INTEGER NOT NULL,
    rule TEXT NOT NULL,
    attribute TEXT,
    since INTEGER NOT NULL,
    attempts INTEGER NOT NULL
);
CREATE INDEX parked_sync ON parked (sync);

CREATE TABLE hold (
    id INTEGER PRIMARY KEY,
    sync INTEGER NOT NULL,
    kind TEXT NOT NULL,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL,
    allowed INTEGER NOT NULL,
    items BLOB NOT NULL,
    UNIQUE (sync, kind, digest)
);

CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sync INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    outcome TEXT,
    report TEXT
);
CREATE INDEX run_sync ON run (sync, id);

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    sync INTEGER,
    link INTEGER,
    code TEXT NOT NULL,
    detail TEXT
);
CREATE INDEX event_link ON event (link) WHERE link IS NOT NULL;

-- What percentages are taken of: guarded changes sent, by kind and minute.
CREATE TABLE counter (
    sync INTEGER NOT NULL,
    kind TEXT NOT NULL,
    minute INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (sync, kind, minute)
) WITHOUT ROWID;

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

PRAGMA application_id = 1299412082;
PRAGMA user_version = 2;
INSERT INTO store VALUES (1, x'0192a0000000700080000000000000aa', 1800000000000, 1800000000000);
INSERT INTO connection (id, name, identity) VALUES (1, 'entra', 'tenant'), (2, 'app', NULL);
INSERT INTO attribute (id, connection, object_type, name, value_type, multiplicity)
    VALUES (1, 1, 'user', 'mail', 'text', 'single'), (2, 1, 'user', 'manager', 'reference', 'single');
INSERT INTO source_type (id, connection, name, round, generation, watermark, attributes)
    VALUES (1, 1, 'user', 0, 3, x'6d61726b', '[1,2]');
INSERT INTO target_type (id, connection, name, epoch) VALUES (1, 2, 'user', 4);
INSERT INTO source_object (id, source_type, anchor, generation, removed, state)
    VALUES (1, 1, x'020161', 3, 0, x'01020378407a'), (2, 1, x'020162', 3, 0, x'0102017a');
INSERT INTO sync (id, name, source_type, target_type, fingerprint) VALUES (1, 'staff', 1, 1, zeroblob(16));
INSERT INTO link (id, sync, object, target_type, state, origin, dirty, evaluated, target_key)
    VALUES (1, 1, 1, 1, 1, 1, 1, 1, x'02016b'), (2, 1, 2, 1, 0, 0, 1, 0, NULL);
INSERT INTO link_values (link, written) VALUES (1, x'01020378407a');
INSERT INTO hold (sync, kind, attribute, digest, created_at, expires_at, state, wanted, allowed, base, items)
    VALUES (1, 'clear', 'mail', x'01010101010101010101010101010101', 1800000000000, 1800259200000, 0, 1, 0, 9,
            x'010000000000000007070707070707070707070707070707');
INSERT INTO granted VALUES (1, 'disable', '', x'08080808080808080808080808080808', 1, 1800259200000);
INSERT INTO quarantine VALUES (1, 'unique', 'login', 1800000000000, 3, 1800000480000);
INSERT INTO batch (id, sync, target_type, incarnation, epoch, host, sent_at, members, guarded)
    VALUES (1, 1, 1, 1, 1, 'here', 1800000000000, x'', '[[1,"disable"]]');
