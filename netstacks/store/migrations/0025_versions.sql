-- How often a form or an import has changed the object, and the user who did it last: a form that was filled before another
-- change is refused, as those of roles and identity providers are.
ALTER TABLE users ADD COLUMN version integer NOT NULL DEFAULT 1, ADD COLUMN updated_by text;
ALTER TABLE devices ADD COLUMN version integer NOT NULL DEFAULT 1, ADD COLUMN updated_by text;
ALTER TABLE credentials ADD COLUMN version integer NOT NULL DEFAULT 1, ADD COLUMN updated_by text;
ALTER TABLE audit_targets ADD COLUMN version integer NOT NULL DEFAULT 1, ADD COLUMN updated_by text;
