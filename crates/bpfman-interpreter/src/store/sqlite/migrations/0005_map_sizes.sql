-- How many entries maps were given whose declarations leave it to the loader. JSON: name -> number
ALTER TABLE programs ADD COLUMN map_sizes TEXT NOT NULL DEFAULT '{}';
