-- From where users have logged in. Guesses from elsewhere do not delay them there.
CREATE TABLE known_networks (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    network text NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, network)
);

-- Whether the password has as many characters as an administrator's must have. Of those set before it is not known.
ALTER TABLE users ADD COLUMN is_password_long boolean NOT NULL DEFAULT true;
