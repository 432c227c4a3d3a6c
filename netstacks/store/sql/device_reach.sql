-- name: taken_hosts
-- A link-local address may be stored with the name of an interface or with its number.
SELECT DISTINCT split_part(host, '%%', 1) AS host FROM devices
WHERE split_part(host, '%%', 1) = ANY(%(hosts)s)
  AND (tags && %(reach_tags)s OR site = ANY(%(reach_sites)s)) IS NOT TRUE
