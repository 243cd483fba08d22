-- What the kernel calls at a point may have no row in programs, and what holds it none in links: both are the
-- kernel's, and so are their ids here.

CREATE TABLE dispatchers (
    attach_point      TEXT    NOT NULL PRIMARY KEY, -- as the details say
    revision          INTEGER NOT NULL,
    form              TEXT    NOT NULL,   -- as the details say
    kernel_program_id INTEGER NOT NULL,
    kernel_link_id    INTEGER,            -- NULL where a filter holds the program
    pin_path          TEXT,               -- of that link
    members           TEXT    NOT NULL,   -- JSON: the ids of links, in the order in which they run
    details           TEXT    NOT NULL    -- JSON
) STRICT, WITHOUT ROWID;

ALTER TABLE programs ADD COLUMN engine TEXT NOT NULL DEFAULT 'auto';
