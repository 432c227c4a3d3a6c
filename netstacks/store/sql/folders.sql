-- name: all
SELECT * FROM session_definition_folders WHERE user_id = %(user_id)s ORDER BY sort_order, lower(name), id

-- name: lock_all
-- Locks all folders of the user: two concurrent moves could form a cycle.
SELECT * FROM session_definition_folders WHERE user_id = %(user_id)s ORDER BY id FOR UPDATE

-- name: create
INSERT INTO session_definition_folders (id, user_id, parent_id, name)
VALUES (%(id)s, %(user_id)s, %(parent_id)s, %(name)s)
RETURNING *

-- name: update
UPDATE session_definition_folders
SET name = %(name)s, parent_id = %(parent_id)s, sort_order = %(sort_order)s, updated_at = now()
WHERE id = %(id)s
RETURNING *

-- name: delete
DELETE FROM session_definition_folders WHERE id = %(id)s
