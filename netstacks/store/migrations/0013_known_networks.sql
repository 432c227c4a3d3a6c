-- From where users have logged in. Guesses from elsewhere do not delay them there.
CREATE TABLE known_networks (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    network text NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, network)
);

-- Whether the password has as many characters as an administrator's must have. Of those set before it is not known.
ALTER TABLE users ADD COLUMN is_password_long boolean NOT NULL DEFAULT true;

-- Where users have logged in of late. IPv6 addresses are left out: they count by their network.
INSERT INTO known_networks (user_id, network, last_at)
SELECT user_id, address, max(created_at)
FROM logins
WHERE address ~ '^[0-9]{1,3}(\.[0-9]{1,3}){3}$'
GROUP BY user_id, address;
