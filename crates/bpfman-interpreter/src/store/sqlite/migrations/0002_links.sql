-- AUTOINCREMENT: the id of a link is ours and is never used again, also when the link is gone.

CREATE TABLE links (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    program_id   INTEGER NOT NULL REFERENCES programs (id) ON DELETE CASCADE,
    kernel_id    INTEGER,               -- not unique: of a link that is gone the kernel has recycled it
    kind         TEXT    NOT NULL,      -- as the details say
    attach_point TEXT,                  -- as the details say; NULL where every link stands alone
    pin_path     TEXT,
    details      TEXT    NOT NULL,      -- JSON
    metadata     TEXT    NOT NULL,      -- JSON: key -> value
    created_at   INTEGER NOT NULL       -- ns since 1970
) STRICT;

CREATE INDEX links_by_program ON links (program_id);

CREATE INDEX links_by_attach_point ON links (attach_point) WHERE attach_point IS NOT NULL;
