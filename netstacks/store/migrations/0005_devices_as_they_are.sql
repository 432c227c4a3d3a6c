-- What a device's entry says of how it is spoken to.
-- `algorithms` is the level of cryptography that may be used with it; `legacy_algorithms` stays for instances of the
-- former version, which read it during a rolling upgrade, and is true for every level but `modern`.
-- `encoding` is the character set of its terminals. `lines` is how many terminals it has, NULL when that is no matter.
-- `patience_secs` is how long each step of a log-in may take, NULL for the default.
ALTER TABLE devices
    ADD COLUMN algorithms text NOT NULL DEFAULT 'modern' CHECK (algorithms IN ('modern', 'legacy', 'antique')),
    ADD COLUMN encoding text NOT NULL DEFAULT 'utf-8',
    ADD COLUMN lines integer CHECK (lines BETWEEN 1 AND 1000),
    ADD COLUMN patience_secs integer CHECK (patience_secs BETWEEN 5 AND 600);

-- All that the former switch allowed.
UPDATE devices SET algorithms = 'antique' WHERE legacy_algorithms;

-- A rejected host key stays rejected for some minutes.
ALTER TABLE host_key_prompts ADD COLUMN answered_at timestamptz;

-- What became of the last log-in with a credential at an address: a secret that the device has refused is not tried
-- again before `refused_until`, and one that is not known to be right is tried by one connection at a time, which
-- holds the row until `trying_until`. A row of another `version` of the credential or the device says nothing.
CREATE TABLE login_trials (
    credential_id uuid NOT NULL REFERENCES credentials ON DELETE CASCADE,
    host          text NOT NULL,
    port          integer NOT NULL,
    version       text NOT NULL,
    holder        uuid,
    trying_until  timestamptz,
    accepted      boolean NOT NULL DEFAULT false,
    refusals      integer NOT NULL DEFAULT 0,
    refused_until timestamptz,
    reason        text,
    PRIMARY KEY (credential_id, host, port)
);
