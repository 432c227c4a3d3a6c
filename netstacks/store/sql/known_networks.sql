-- name: is_known
SELECT EXISTS (
    SELECT FROM known_networks
    WHERE user_id = %(user_id)s AND network = %(network)s AND last_at > now() - %(kept)s
) AS is_known

-- name: note
INSERT INTO known_networks AS row (user_id, network)
VALUES (%(user_id)s, %(network)s)
ON CONFLICT (user_id, network) DO UPDATE SET last_at = now() WHERE row.last_at < now() - interval '1 day'

-- name: forget_old
DELETE FROM known_networks WHERE user_id = %(user_id)s AND last_at < now() - %(kept)s
