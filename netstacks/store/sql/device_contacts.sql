-- Contacts and uses are hints. A row that another transaction has locked is skipped: one transaction notes many of them,
-- in the order of their arrival, so two that waited for each other's rows would deadlock.

-- name: note
-- The newer contact stays: writes of several instances may arrive in any order. A log-in shows that the device presents
-- the approved key again.
UPDATE devices
SET contact = %(contact)s, contact_at = %(at)s, contact_reason = %(reason)s, contact_by = %(by)s,
    session_at = CASE WHEN %(is_session)s THEN greatest(session_at, %(at)s) ELSE session_at END,
    host_key_mismatch_at = CASE WHEN %(contact)s = 'host_key' THEN %(at)s
                                WHEN NOT %(is_session)s THEN host_key_mismatch_at END
WHERE id = (SELECT id FROM devices
            WHERE id = %(device_id)s AND (contact_at IS NULL OR contact_at <= %(at)s)
            FOR NO KEY UPDATE SKIP LOCKED)

-- name: note_use
-- The credential's row is locked in place of that of its use, which may not exist yet.
INSERT INTO credential_uses (credential_id, used_at, username, device_id, device_name)
SELECT id, %(at)s, %(username)s, %(device_id)s, %(device_name)s FROM credentials WHERE id = %(credential_id)s
FOR NO KEY UPDATE SKIP LOCKED
ON CONFLICT (credential_id) DO UPDATE
SET used_at = excluded.used_at, username = excluded.username, device_id = excluded.device_id,
    device_name = excluded.device_name
WHERE credential_uses.used_at <= excluded.used_at
