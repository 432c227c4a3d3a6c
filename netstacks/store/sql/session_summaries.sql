-- name: get
SELECT session_id, text, provider, model, created_at, created_by, covered_bytes
FROM session_summaries
WHERE session_id = %(session_id)s

-- name: put
-- FOR SHARE serialises this with discarding the recording, so that a summary does not outlive its recording.
INSERT INTO session_summaries (session_id, text, provider, model, created_at, created_by, covered_bytes)
SELECT id, %(text)s, %(provider)s, %(model)s, %(created_at)s, %(created_by)s, %(covered_bytes)s
FROM sessions
WHERE id = %(session_id)s AND recording_began_at IS NOT NULL
FOR SHARE
ON CONFLICT (session_id) DO UPDATE
SET text = excluded.text,
    provider = excluded.provider,
    model = excluded.model,
    created_at = excluded.created_at,
    created_by = excluded.created_by,
    covered_bytes = excluded.covered_bytes

-- name: delete
DELETE FROM session_summaries WHERE session_id = ANY(%(ids)s::uuid[])
