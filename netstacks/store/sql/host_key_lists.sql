-- name: page
SELECT k.*,
       (SELECT coalesce(array_agg(d.name ORDER BY lower(d.name)), '{{}}') FROM devices d
        WHERE d.host = k.host AND d.port = k.port
          AND (NOT %(limited)s OR d.tags && %(reach_tags)s::text[] OR d.site = ANY(%(reach_sites)s::text[]))) AS devices,
       (SELECT max(d.host_key_mismatch_at) FROM devices d
        WHERE d.host = k.host AND d.port = k.port AND d.host_key_mismatch_at > k.approved_at
          AND (NOT %(limited)s OR d.tags && %(reach_tags)s::text[] OR d.site = ANY(%(reach_sites)s::text[])))
           AS mismatch_at
FROM host_keys k
WHERE {conditions}
ORDER BY k.host, k.port
LIMIT %(limit)s

-- name: with_search
(strpos(k.host, %(search_host)s) > 0 OR strpos(lower(k.approved_by), lower(%(search)s)) > 0
 OR strpos(k.public_key, %(search)s) > 0
 OR EXISTS (SELECT 1 FROM devices d
            WHERE d.host = k.host AND d.port = k.port AND strpos(lower(d.name), lower(%(search)s)) > 0
              AND (NOT %(limited)s OR d.tags && %(reach_tags)s::text[] OR d.site = ANY(%(reach_sites)s::text[]))))

-- name: within_reach
EXISTS (SELECT 1 FROM devices d
        WHERE d.host = k.host AND d.port = k.port
          AND (d.tags && %(reach_tags)s::text[] OR d.site = ANY(%(reach_sites)s::text[])))

-- name: after
(k.host, k.port) > (%(after_host)s, %(after_port)s)

-- name: prompts
SELECT p.*, u.username,
       (SELECT min(d.name) FROM devices d
        WHERE d.host = p.host AND d.port = p.port
          AND (NOT %(limited)s OR d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))) AS device
FROM host_key_prompts p LEFT JOIN users u ON u.id = p.user_id
WHERE p.approved IS NULL AND p.created_at > now() - make_interval(secs => %(ttl_secs)s)
  AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE d.host = p.host AND d.port = p.port AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))
ORDER BY p.created_at
