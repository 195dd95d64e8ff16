-- Values of multi-valued attributes, references among them, one by one: what the target certainly has (state 1), and
-- what may be there because its addition was sent (state 0). A value is an encoded key, of the referenced target object or
-- of the value alone.
DROP TABLE written_reference;
CREATE TABLE written_value (
    link INTEGER NOT NULL,
    attribute INTEGER NOT NULL,
    value BLOB NOT NULL,
    state INTEGER NOT NULL,
    PRIMARY KEY (link, attribute, value)
) WITHOUT ROWID;

-- What was read of references before did not say which objects they were read for; the next cycle reads anew.
UPDATE source_type SET attributes = '[]'
    WHERE id IN (SELECT source_type FROM source_object WHERE id IN (SELECT object FROM edge));
