-- The kernel recycles its ids, so every row has an id of its own and the kernel's is an attribute.

CREATE TABLE programs (
    id              INTEGER PRIMARY KEY,
    kernel_id       INTEGER NOT NULL UNIQUE,
    tag             TEXT    NOT NULL,   -- 16 hex digits
    load_time       INTEGER NOT NULL,   -- ns since the kernel booted
    name            TEXT    NOT NULL,   -- the function in the object
    type            TEXT    NOT NULL,
    pinned_path     TEXT    NOT NULL,
    object_path     TEXT    NOT NULL,
    source_path     TEXT,
    global_data     TEXT    NOT NULL,   -- JSON: name -> base64
    attach_function TEXT,
    map_owner_id    INTEGER,            -- as the load asked
    license         TEXT,
    gpl_compatible  INTEGER NOT NULL,   -- 0 or 1
    map_directory   TEXT    NOT NULL,
    map_owner       INTEGER,            -- whose id names the map set; no foreign key: the owner may go first
    metadata        TEXT    NOT NULL,   -- JSON: key -> value
    created_at      INTEGER NOT NULL,   -- ns since 1970
    updated_at      INTEGER
) STRICT;

CREATE INDEX programs_by_map_owner ON programs (map_owner) WHERE map_owner IS NOT NULL;

-- One row per map, however many programs share it; it goes with the last of them.
CREATE TABLE maps (
    id          INTEGER PRIMARY KEY,
    kernel_id   INTEGER NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    pinned_path TEXT
) STRICT;

CREATE TABLE program_maps (
    program_id INTEGER NOT NULL REFERENCES programs (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,        -- in the order of the object
    map_id     INTEGER NOT NULL REFERENCES maps (id),
    PRIMARY KEY (program_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX program_maps_by_map ON program_maps (map_id);
