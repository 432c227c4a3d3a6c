-- name: take
-- Of two concurrent holders for the same slot (the column `turn`), the second gets no row and must retry.
INSERT INTO login_turns (host, port, turn, holder, until)
SELECT %(host)s, %(port)s, free.turn, %(holder)s, now() + make_interval(secs => %(lease_secs)s)
FROM generate_series(1, %(slots)s) AS free (turn)
WHERE NOT EXISTS (
    SELECT FROM login_turns AS taken
    WHERE taken.host = %(host)s AND taken.port = %(port)s AND taken.turn = free.turn AND taken.until > now()
)
LIMIT 1
ON CONFLICT (host, port, turn) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE login_turns.until <= now()
RETURNING turn

-- name: renew
UPDATE login_turns SET until = now() + make_interval(secs => %(lease_secs)s)
WHERE host = %(host)s AND port = %(port)s AND holder = %(holder)s

-- name: give_back
DELETE FROM login_turns WHERE host = %(host)s AND port = %(port)s AND holder = %(holder)s
