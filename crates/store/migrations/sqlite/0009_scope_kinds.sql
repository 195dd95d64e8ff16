-- A scope may ask for groups of several kinds, which may be called alike. What was compared last is compared anew.
DROP TABLE scope_group;
CREATE TABLE scope_group (
    sync INTEGER NOT NULL,
    asked TEXT NOT NULL,
    named TEXT NOT NULL,
    object INTEGER NOT NULL,
    transitive INTEGER NOT NULL,
    PRIMARY KEY (sync, asked, named)
) WITHOUT ROWID;
UPDATE sync SET members_as_of = NULL;
