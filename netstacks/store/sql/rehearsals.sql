-- name: forget_instances
DELETE FROM instance_settings

-- name: end_sessions
-- Their owners are instances of the database that the backup is of.
UPDATE sessions
SET owner = NULL, owner_address = NULL, state = 'ended', ended_at = now(), end_reason = 'the restore was rehearsed'
WHERE state <> 'ended'

-- name: remove_audit_targets
DELETE FROM audit_targets

-- name: remove_providers
DELETE FROM llm_providers

-- name: remove_mail_server
DELETE FROM settings WHERE key = 'mail.host'
