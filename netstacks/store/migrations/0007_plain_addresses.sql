-- An IPv6 address that stands for an IPv4 address (::ffff:192.0.2.1) is stored as the latter. The former version kept it
-- as it was written, in one of two spellings, and no instance of this version would find it.
CREATE FUNCTION netstacks_plain_host(host text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN host ~ '^::ffff:([0-9a-f]{1,4}:[0-9a-f]{1,4}|[0-9]{1,3}(\.[0-9]{1,3}){3})$'
                THEN host('0.0.0.0'::inet + (host::inet - '::ffff:0:0'::inet))
                ELSE host END
$$;

-- Of several keys for one address, the one of the plain spelling holds, or else the newest.
DELETE FROM host_keys AS key USING host_keys AS other
WHERE key.host <> netstacks_plain_host(key.host)
  AND netstacks_plain_host(other.host) = netstacks_plain_host(key.host)
  AND other.port = key.port
  AND other.host <> key.host
  AND (other.host = netstacks_plain_host(other.host) OR (other.approved_at, other.host) > (key.approved_at, key.host));

UPDATE host_keys SET host = netstacks_plain_host(host) WHERE host <> netstacks_plain_host(host);
UPDATE devices SET host = netstacks_plain_host(host) WHERE host <> netstacks_plain_host(host);
UPDATE session_definitions SET host = netstacks_plain_host(host) WHERE host <> netstacks_plain_host(host);
UPDATE credentials SET host = netstacks_plain_host(host) WHERE host <> netstacks_plain_host(host);
UPDATE sessions SET host = netstacks_plain_host(host) WHERE host LIKE '::ffff:%' AND host <> netstacks_plain_host(host);

DROP FUNCTION netstacks_plain_host(text);
