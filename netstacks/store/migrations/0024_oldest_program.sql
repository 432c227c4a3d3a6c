-- The oldest schema version that a program must know to work with this database. A migration that only adds leaves it as it
-- is: programs of the version before go on, and may be started again. One that takes away what they use raises it.
INSERT INTO settings (key, value) VALUES ('schema.oldest_program', '24')
ON CONFLICT (key) DO UPDATE SET value = excluded.value;
