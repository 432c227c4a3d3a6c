-- Roles as rows. The presets are those of netstacks/permissions.py; nothing can change or delete them. An instance of the
-- former version knows the presets alone, and gives users of other roles no permission.
CREATE TABLE roles (
    name         text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    description  text NOT NULL DEFAULT '',
    permissions  text[] NOT NULL DEFAULT '{}',
    device_tags  text[] NOT NULL DEFAULT '{}',
    device_sites text[] NOT NULL DEFAULT '{}',
    is_builtin   boolean NOT NULL DEFAULT false,
    version      integer NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    updated_by   text
);
INSERT INTO roles (name, description, permissions, is_builtin) VALUES
    ('admin', 'all permissions', '{*}', true),
    ('operator', 'opens terminals, sees recordings and HA status',
     '{devices.access,ha.view,recordings.view,sessions.connect}', true),
    ('viewer', 'sees devices and recordings', '{devices.access,recordings.view}', true);

CREATE FUNCTION builtin_roles_are_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a built-in role cannot be changed';
END $$;
CREATE TRIGGER builtin_roles_fixed BEFORE UPDATE OR DELETE ON roles
    FOR EACH ROW WHEN (OLD.is_builtin) EXECUTE FUNCTION builtin_roles_are_fixed();

ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role FOREIGN KEY (role) REFERENCES roles ON UPDATE CASCADE;
CREATE INDEX users_by_role ON users (role);
