"""Rows that are whole, one a list, and rows that something else has written: each beside the former."""

from uuid import UUID

GOOD_SESSION = UUID(int=1)

# In every list there is one whole row, which tells itself by the word `whole`.
WHOLE = f"""
INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, epoch, state, reconnect_hash,
                      started_at, recording_bytes, recording_began_at, recording_ended_at)
VALUES ('{GOOD_SESSION}', gen_random_uuid(), 'ana', 'whole', 'r1', 22, 'xterm', 80, 24, 1, 'detached', '\\x01',
        now(), 5, 1000, 1001);
INSERT INTO audit (actor, event, resource) VALUES ('ana', 'device.whole', 'device:1');
INSERT INTO host_keys VALUES ('whole.example', 22, 'ssh-ed25519', 'AAAA', 'ana');
INSERT INTO devices (id, name, host, port) VALUES (gen_random_uuid(), 'whole', 'r1', 22);
INSERT INTO credentials (id, name, credential_type, username, vault_type)
VALUES (gen_random_uuid(), 'whole', 'ssh_password', 'us', 'shared');
INSERT INTO users (id, username, role, password_hash) VALUES (gen_random_uuid(), 'whole', 'operator', '');
INSERT INTO session_definitions (id, name, host, port) VALUES (gen_random_uuid(), 'whole', 'r1', 22);
INSERT INTO llm_providers (id, name, type, base_url, models, position, enabled, max_concurrent, daily_tokens, revision,
                           updated_by)
VALUES (gen_random_uuid(), 'whole', 'openai', 'http://127.0.0.1:1', '{{m}}', 1, true, 1, 0, 1, 'ana');
INSERT INTO identity_providers (id, name, issuer, client_id, position, updated_by)
VALUES (gen_random_uuid(), 'whole', 'http://127.0.0.1:1', 'us', 1, 'ana');
INSERT INTO shares (id, session_id, permission, max_viewers, created_by, expires_at)
VALUES (gen_random_uuid(), '{GOOD_SESSION}', 'read-only', 5, 'whole', date_trunc('second', now()) + interval '1 day');
"""
SHARES = f"/api/sessions/{GOOD_SESSION}/share"
LISTS = (
    "/", "/admin/audit?event=device.*", "/admin/credentials", "/admin/devices", "/admin/host-keys", "/admin/roles",
    "/admin/sso", "/admin/users", "/api/audit/export?event=device.*", "/api/audit?event=device.*", "/api/credentials",
    "/api/credentials/accessible", "/api/devices/browse", "/api/host-keys", "/api/recordings",
    "/api/session-definitions", "/api/sessions", "/api/users", "/api/v1/audit?event=device.*", "/api/v1/credentials",
    "/api/v1/devices", "/api/v1/devices/export", "/api/v1/host-keys", "/api/v1/identity-providers",
    "/api/v1/llm/providers", "/credentials", "/sessions",
)  # fmt: skip

_SESSION = """
INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, epoch, state, reconnect_hash,
                      started_at, detached_at, ended_at, recording_bytes, recording_began_at, recording_ended_at)
VALUES (gen_random_uuid(), gen_random_uuid(), 'ana', 'bad', 'r1', 22, 'xterm', -1, 0, 1, 'ended',
        decode(md5(random()::text), 'hex'), {})
"""
_AUDIT = "INSERT INTO audit (at, actor, event, resource, details) VALUES ({}, 'bad', 'device.bad', 'x', {})"
_SETTING = "INSERT INTO settings VALUES ('{}', {})"
_PROVIDER = """
INSERT INTO llm_providers (id, name, type, base_url, models, position, enabled, max_concurrent, daily_tokens, revision,
                           updated_by, connect_secs, total_secs)
VALUES (gen_random_uuid(), {}, 'openai', {}, 2, true, 1, 0, 9223372036854775807, 'ana', {})
"""
_DEEP = "(repeat('[', 3000) || repeat(']', 3000))::jsonb"
_HUGE = "'1e5000'::jsonb"

ROWS = {
    "a session at infinity": _SESSION.format("'infinity', '-infinity', 'infinity', 5, 'NaN', 'Infinity'"),
    "a session before all time": _SESSION.format("'-infinity', 'infinity', '-infinity', 5, '-Infinity', 'NaN'"),
    "a session of the year 20000": _SESSION.format("'20000-01-01', NULL, '0044-03-15 BC', 5, 1e300, -1e300"),
    "a recording without an end": _SESSION.format("now(), NULL, NULL, 5, 1000, NULL"),
    "an audit row at infinity": _AUDIT.format("'infinity'", "'{}'"),
    "an audit row before all time": _AUDIT.format("'-infinity'", "'{}'"),
    "audit details that are a text": _AUDIT.format("now()", "'\"text\"'"),
    "audit details that are a list": _AUDIT.format("now()", "'[1, {\"a\": null}]'"),
    "audit details that are null": _AUDIT.format("now()", "'null'"),
    "audit details of many digits": _AUDIT.format("now()", f"jsonb_build_object('n', {_HUGE})"),
    "audit details without a bottom": _AUDIT.format("now()", f"jsonb_build_object('deep', {_DEEP})"),
    "a host key of no kind": "INSERT INTO host_keys VALUES ('bad.example', -5, 'ä', 'ä no base64 =', 'x', 'infinity')",
    "a provider at no address": _PROVIDER.format("'nowhere'", "'not a URL', ARRAY['m']", "'NaN', 'Infinity'"),
    "a provider without models": _PROVIDER.format(
        "'nameless'", "'http://127.0.0.1:1', ARRAY[[NULL, ''], [NULL, '']]", "NULL, NULL"
    ),
    "more tokens than there are": "INSERT INTO llm_usage (day, provider_id, user_id, input_tokens, output_tokens)"
    " SELECT (now() AT TIME ZONE 'UTC')::date, p.id, u.id, 9223372036854775807, 9223372036854775807"
    " FROM llm_providers p, users u",
    "a user of all times": "INSERT INTO users VALUES (gen_random_uuid(), '<b> user', '', '', 'viewer', 'no hash', true,"
    " '-infinity', 'infinity')",
    "a role of nulls": "INSERT INTO roles (name, permissions, device_tags, device_sites, version, created_at,"
    " updated_at) VALUES ('bad', ARRAY[[NULL, '*'], ['', NULL]], ARRAY[NULL]::text[], '{}', -1, '-infinity',"
    " 'infinity')",
    "a log-in of all times": "INSERT INTO logins (id, user_id, client_type, created_at, last_seen_at, expires_at)"
    " SELECT gen_random_uuid(), id, 'terminal', '-infinity', 'infinity', 'infinity' FROM users",
    "a device that speaks klingon": "INSERT INTO devices (id, name, host, port, encoding, created_at, updated_at)"
    " VALUES (gen_random_uuid(), '', 'xn--é..', 1, 'klingon', 'infinity', '-infinity')",
    "a credential at a negative port": "INSERT INTO credentials (id, name, credential_type, username, vault_type, host,"
    " port, updated_at) VALUES (gen_random_uuid(), '', 'ssh_key', NULL, 'shared', '::::', -5, 'infinity')",
    "a definition with no tags": "INSERT INTO session_definitions (id, name, host, port, tags, updated_at)"
    " VALUES (gen_random_uuid(), '', '', 1, ARRAY[[NULL, 'a'], ['b', NULL]], 'infinity')",
    "a question of all times": "INSERT INTO host_key_prompts SELECT gen_random_uuid(), id, '', -1, '', '', 'infinity'"
    " FROM users",
    "a share for ever": "INSERT INTO shares (id, session_id, permission, max_viewers, created_by, created_at,"
    f" expires_at) VALUES (gen_random_uuid(), '{GOOD_SESSION}', 'read-write', 5, '', '-infinity', 'infinity')",
    "a passkey of all times": "INSERT INTO passkeys SELECT gen_random_uuid(), id, '', '', '', '', -1,"
    " ARRAY[[NULL, 'a'], ['b', NULL]], false, 'infinity', '-infinity' FROM users WHERE username = 'page-admin'",
    "an authenticator app of all times": "INSERT INTO totp_factors SELECT id, -1, '-infinity', 'infinity'"
    " FROM users WHERE username = 'page-admin'",
    "a user setting of many digits": f"INSERT INTO user_settings SELECT id, 'terminal.default_credential', {_HUGE}"
    " FROM users",
}  # fmt: skip
SETTINGS = {
    "a licence that is a number": _SETTING.format("license_key", "'7'"),
    "a licence that is an object": _SETTING.format("license_key", "'{\"key\": []}'"),
    "a licence without a bottom": _SETTING.format("license_key", _DEEP),
    "a sanitization that is a text": _SETTING.format("ai.sanitization", "'\"all\"'"),
    "a pattern that is a number": _SETTING.format("ai.sanitization", "'{\"custom_patterns\": [7], \"allowlist\": 7}'"),
    "a switch that is a list": _SETTING.format("ai.enabled", "'[false]'"),
    "a feature that is a number": _SETTING.format("features.sharing", "'7'"),
    "a limit of many digits": _SETTING.format("sessions.per_user", _HUGE),
    "a banner without a bottom": _SETTING.format("login.banner", _DEEP),
    "a revision that is a text": _SETTING.format("llm.providers", "'\"seven\"'"),
    "a revision of many digits": _SETTING.format("llm.providers", _HUGE),
}  # fmt: skip

_JSON = ("null", "7", '"text"', "[[]]", "{}", '{"a": 1e400}', "1" + "0" * 5000, "[" * 500 + "]" * 500)
# What a column of each type may hold besides what this program writes; None is no value.
VALUES: dict[str, tuple[str | None, ...]] = {
    "bigint": (None, "0", "-9223372036854775808", "9223372036854775807"),
    "boolean": (None, "true", "false"),
    "bytea": (None, "", "\\x00ff"),
    "date": (None, "infinity", "-infinity", "0044-03-15 BC"),
    "double precision": (None, "NaN", "Infinity", "-Infinity", "1e308", "-1"),
    "integer": (None, "0", "-2147483648", "2147483647"),
    "jsonb": (None, *_JSON),
    "text": (None, "", " ", "<b>", "\u202e\x1b[2J", "x" * 3000, "xn--é", "%s", "::1", "active", "-1"),
    "text[]": (None, "{}", "{NULL}", "{{a,NULL},{b,c}}"),
    "timestamp with time zone": (None, "infinity", "-infinity", "0044-03-15 BC", "20000-01-01"),
}
# What a copy of a row has of its own, so that it is another row.
FRESH = {
    ("bytea", "key"): "decode(md5(random()::text), 'hex')",
    ("bytea", "reconnect_hash"): "decode(md5(random()::text), 'hex')",
    ("text", "email"): "gen_random_uuid()::text",
    ("text", "host"): "gen_random_uuid()::text",
    ("text", "group_name"): "gen_random_uuid()::text",
    ("text", "key"): "gen_random_uuid()::text",
    ("text", "name"): "gen_random_uuid()::text",
    ("text", "subject"): "gen_random_uuid()::text",
    ("text", "username"): "gen_random_uuid()::text",
    ("uuid", "id"): "gen_random_uuid()",
    ("uuid", "provider_id"): "gen_random_uuid()",
}
# By table the columns that an INSERT may name, with their types.
COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, NULL) AS type, a.attnotnull AS is_needed
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = '' AND a.attidentity = ''
ORDER BY c.relname, a.attnum
"""
# One row of further tables.
MORE_WHOLE = f"""
INSERT INTO credential_uses (credential_id, username, device_name) SELECT id, 'ana', 'whole' FROM credentials;
INSERT INTO login_turns VALUES ('r1', 22, 1, gen_random_uuid(), now());
INSERT INTO host_key_prompts (id, host, port, fingerprint) VALUES (gen_random_uuid(), 'r1', 22, 'SHA256:1');
INSERT INTO session_summaries (session_id, text, provider, model, created_by, covered_bytes)
VALUES ('{GOOD_SESSION}', 'whole', 'p', 'm', 'ana', 1);
INSERT INTO llm_usage (day, provider_id) SELECT (now() AT TIME ZONE 'UTC')::date, id FROM llm_providers;
INSERT INTO group_mappings SELECT gen_random_uuid(), id, 1, 'whole', 'viewer' FROM identity_providers;
INSERT INTO external_identities (id, provider_id, subject, user_id, created_by, is_link)
SELECT gen_random_uuid(), p.id, 'whole ' || u.id, u.id, 'ana', true FROM identity_providers p, users u;
INSERT INTO external_logins SELECT l.id, p.id FROM logins l, identity_providers p;
INSERT INTO settings VALUES ('whole', '1');
INSERT INTO setting_changes (key, version, changed_by) VALUES ('features.sharing', 1, 'whole');
INSERT INTO notices (key, subject, body) VALUES ('whole', 'whole', 'whole');
INSERT INTO user_settings SELECT id, 'whole', '1' FROM users;
INSERT INTO session_definition_folders (id, user_id, name) SELECT gen_random_uuid(), id, 'whole' FROM users;
INSERT INTO session_definition_assignments (id, user_id, definition_id)
SELECT gen_random_uuid(), u.id, d.id FROM users u, session_definitions d;
"""
