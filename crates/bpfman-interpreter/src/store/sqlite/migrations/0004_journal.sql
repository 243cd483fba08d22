-- What an operation has begun and not ended: one row at most, for there is one writer.
CREATE TABLE journal (
    id        INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    operation TEXT    NOT NULL,
    way       TEXT    NOT NULL, -- JSON: back or forward
    actions   TEXT    NOT NULL  -- JSON: what ends it, in this order
) STRICT;

-- The operations that were killed and then brought to their end, the last few of them.
CREATE TABLE recoveries (
    id        INTEGER NOT NULL PRIMARY KEY,
    operation TEXT    NOT NULL,
    way       TEXT    NOT NULL, -- JSON: back or forward
    at        INTEGER NOT NULL, -- nanoseconds since 1970
    remains   TEXT    NOT NULL  -- JSON: what was left alone, line by line
) STRICT;
