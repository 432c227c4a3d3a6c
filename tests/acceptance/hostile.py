"""What no library would send: paths, queries, bodies and headers, and the routes that they are sent to."""

import re
from collections.abc import Iterator
from typing import Any, cast
from unittest.mock import MagicMock

from netstacks.settings import Settings
from netstacks.web.app import create_app
from tests.controller import JWT_SECRET, MASTER_KEY

NASTY_PATHS = (
    "x",
    "%00",
    "a%00b",
    "%ff%fe",
    "%ed%a0%80",
    "..%2f..%2fetc%2fpasswd",
    "9" * 400,
    "-1",
    "%0d%0aX:1",
    "%5c",
)
QUERIES = (
    *("before", "since", "until", "limit", "offset", "q", "search", "state", "actor", "event", "format", "next"),
    *("device", "session_id", "share", "token"),
)
NASTY_QUERIES = (
    *("%00", "%ff", "%5c", "%25", "%5b", "//%5b", "-1", "9" * 30, "1e400", "NaN", "infinity"),
    *("0001-01-01T00:00:00%2b23:59", "9999-12-31T23:59:59-23:59", "9999-12-31", "-5000-01-01"),
)
NASTY_JSON = (
    *(r'"a\u0000"', r'"\ud800"', r'{"\u0000": 1}', '""', '"' + "a" * 100_000 + '"', "null", "true", "[]"),
    *("-1", "2147483648", "9" * 40, "9" * 5000, "1e400", "[" * 300 + "]" * 300),
)
NASTY_BODIES = (
    *(b"", b"\0", b"\xff\xfe", b"[", b"null", b'"x"', b"1", b"\xef\xbb\xbf{}", b"9" * 5000, b'{"a": 1}{}'),
    *(b'{"username": ' + b"[" * deep + b"]" * deep + b"}" for deep in (300, 900, 940, 980, 100_000)),
)
NASTY_HEADERS = (
    b"",
    b"\xff\xfe",
    b"[",
    b"http://[",
    b"http://]:x",
    b"http://a:99999999",
    b"Bearer \xff",
    b"*",
    b"a:b:c",
)
HEADERS = (
    *("Origin", "Host", "Cookie", "Authorization", "Content-Type", "Accept", "Range", "If-Range", "If-Modified-Since"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade", "Connection", "X-CSRF-Token", "X-Forwarded-For"),
)
_PASSWORD = "a fine password"
# A body that most routes accept, so that only the one wrong member is at fault.
FINE = {
    **{"username": "x", "name": "x", "host": "h", "port": 22, "email": "a@b", "role": "viewer", "is_active": True},
    **{"credential_type": "ssh_password", "secret": "s", "password": _PASSWORD},
    **{"current_password": _PASSWORD, "new_password": "another fine password"},
    **{"public_key": "x", "reason": "r", "folder_id": None, "refresh_token": "x"},
}
MEMBERS = (
    *FINE,
    *("device_type", "site", "description", "default_credential_id", "passphrase", "parent_id", "sort_order", "tags"),
    *("credential_override_id", "display_name", "license_key", "permission", "ttl_minutes", "force", "session_id"),
)
# Ends the log-in that the tests are made with, or never ends.
_LEFT_OUT = ("/api/auth/logout", "/api/v1/ha/stream")
# An instance that is drained refuses much.
_LAST = "/api/v1/ha/instances/<instance_id>/drain"


def routes() -> Iterator[tuple[str, str]]:
    """Each method of every path; the parameters of the path are still in angle brackets."""
    settings = Settings(
        database_url="postgresql://localhost/unused", vault_master_key=MASTER_KEY, jwt_secret=JWT_SECRET
    )
    parts = MagicMock(settings=settings)
    rules = create_app(cast(Any, parts)).url_map.iter_rules()
    for rule in sorted(rules, key=lambda each: each.rule == _LAST):
        for method in sorted(rule.methods or ()):
            if rule.rule not in _LEFT_OUT:
                yield method, re.sub(r"<any[^>]*>", "viewers", rule.rule)
