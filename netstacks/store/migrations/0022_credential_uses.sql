-- What became of the last contact with a device, by a terminal or by a check, on any instance: `reached`, `refused` (it
-- answers, but the log-in failed), `host_key` (it presents a key that is not approved), `unreachable`; NULL without any
-- contact. `session_at` is the last log-in that succeeded. `host_key_mismatch_at` is when the device last presented a key
-- that is not approved; NULL after a log-in that succeeded, or another address.
ALTER TABLE devices
    ADD COLUMN contact text CHECK (contact IN ('reached', 'refused', 'host_key', 'unreachable')),
    ADD COLUMN contact_at timestamptz,
    ADD COLUMN contact_reason text,
    ADD COLUMN contact_by text,
    ADD COLUMN session_at timestamptz,
    ADD COLUMN host_key_mismatch_at timestamptz;

-- One index for each order of the device list, and for each filter in the order of the names.
CREATE INDEX devices_by_host ON devices (host, id);
CREATE INDEX devices_by_site ON devices (lower(coalesce(site, '')), id);
CREATE INDEX devices_by_type ON devices (lower(device_type), id);
CREATE INDEX devices_by_session ON devices (coalesce(session_at, '-infinity'::timestamptz), id);
CREATE INDEX devices_by_age ON devices (created_at, id);
CREATE INDEX devices_of_site ON devices (site, lower(name), id);
CREATE INDEX devices_of_type ON devices (device_type, lower(name), id);
CREATE INDEX devices_of_contact ON devices (coalesce(contact, 'unknown'), lower(name), id);
CREATE INDEX devices_of_credential ON devices (default_credential_id, lower(name), id);

-- The last log-in to a device that succeeded with a credential.
CREATE TABLE credential_uses (
    credential_id uuid PRIMARY KEY REFERENCES credentials ON DELETE CASCADE,
    used_at       timestamptz NOT NULL DEFAULT now(),
    username      text NOT NULL,
    device_id     uuid,
    device_name   text NOT NULL
);
CREATE INDEX session_definitions_of_credential ON session_definitions (credential_override_id);

-- The last tests of a new secret, before it was stored: too many of them would lock the account on the device.
ALTER TABLE login_trials ADD COLUMN tested_at timestamptz[] NOT NULL DEFAULT '{}';
