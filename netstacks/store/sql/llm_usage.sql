-- name: add
-- The database's clock, so that all instances use the same day.
INSERT INTO llm_usage AS row (day, provider_id, user_id, requests, failures, input_tokens, output_tokens)
VALUES ((now() AT TIME ZONE 'UTC')::date, %(provider_id)s, %(user_id)s, 1, %(failures)s, %(input_tokens)s,
        %(output_tokens)s)
ON CONFLICT (day, provider_id, coalesce(user_id, '00000000-0000-0000-0000-000000000000')) DO UPDATE
SET requests = row.requests + 1, failures = row.failures + excluded.failures,
    input_tokens = row.input_tokens + excluded.input_tokens,
    output_tokens = row.output_tokens + excluded.output_tokens

-- name: today_of_user
-- Bounded, because the sum of rows that were written by other programs may exceed a bigint.
SELECT least(coalesce(sum(requests), 0), 1e18)::bigint AS requests,
       least(coalesce(sum(failures), 0), 1e18)::bigint AS failures,
       least(coalesce(sum(input_tokens), 0), 1e18)::bigint AS input_tokens,
       least(coalesce(sum(output_tokens), 0), 1e18)::bigint AS output_tokens
FROM llm_usage
WHERE user_id = %(user_id)s AND day = (now() AT TIME ZONE 'UTC')::date

-- name: today_by_provider
SELECT provider_id,
       least(sum(requests), 1e18)::bigint AS requests,
       least(sum(failures), 1e18)::bigint AS failures,
       least(sum(input_tokens), 1e18)::bigint AS input_tokens,
       least(sum(output_tokens), 1e18)::bigint AS output_tokens
FROM llm_usage
WHERE day = (now() AT TIME ZONE 'UTC')::date
GROUP BY provider_id
