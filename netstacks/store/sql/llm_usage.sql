-- name: add
-- The clock of the database: instances agree on the day.
INSERT INTO llm_usage AS row (day, provider_id, user_id, requests, failures, input_tokens, output_tokens)
VALUES ((now() AT TIME ZONE 'UTC')::date, %(provider_id)s, %(user_id)s, 1, %(failures)s, %(input_tokens)s,
        %(output_tokens)s)
ON CONFLICT (day, provider_id, coalesce(user_id, '00000000-0000-0000-0000-000000000000')) DO UPDATE
SET requests = row.requests + 1, failures = row.failures + excluded.failures,
    input_tokens = row.input_tokens + excluded.input_tokens,
    output_tokens = row.output_tokens + excluded.output_tokens

-- name: today_of_user
SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(failures), 0)::bigint AS failures,
       coalesce(sum(input_tokens), 0)::bigint AS input_tokens, coalesce(sum(output_tokens), 0)::bigint AS output_tokens
FROM llm_usage
WHERE user_id = %(user_id)s AND day = (now() AT TIME ZONE 'UTC')::date

-- name: today_by_provider
SELECT provider_id, sum(requests)::bigint AS requests, sum(failures)::bigint AS failures,
       sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens
FROM llm_usage
WHERE day = (now() AT TIME ZONE 'UTC')::date
GROUP BY provider_id
