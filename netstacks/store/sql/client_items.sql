-- name: all
SELECT id, item, created_at, updated_at FROM client_items
WHERE user_id = %(user_id)s AND collection = %(collection)s
ORDER BY created_at, id

-- name: get
SELECT id, item, created_at, updated_at FROM client_items
WHERE user_id = %(user_id)s AND collection = %(collection)s AND id = %(id)s

-- name: add
INSERT INTO client_items (id, user_id, collection, item)
SELECT %(id)s, %(user_id)s, %(collection)s, %(item)s
WHERE (SELECT count(*) FROM client_items WHERE user_id = %(user_id)s AND collection = %(collection)s) < %(max_items)s
RETURNING id, item, created_at, updated_at

-- name: change
UPDATE client_items SET item = item || %(item)s, updated_at = now()
WHERE user_id = %(user_id)s AND collection = %(collection)s AND id = %(id)s
RETURNING id, item, created_at, updated_at

-- name: delete
DELETE FROM client_items WHERE user_id = %(user_id)s AND collection = %(collection)s AND id = %(id)s
