-- Tags group devices: lists filter by them, and a role may be limited to the devices with one of its tags.
ALTER TABLE devices ADD COLUMN tags text[] NOT NULL DEFAULT '{}';
CREATE INDEX devices_tags ON devices USING gin (tags);
