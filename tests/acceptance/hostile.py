"""What no library would send: paths, queries, bodies and headers, and the routes that they are sent to."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import MagicMock

from pydantic import BaseModel

from netstacks.settings import Settings
from netstacks.web.app import create_app
from netstacks.web.http.declarations import declared
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
# What pages and WebSockets read by other means than a model.
_QUERIES = (
    *("before", "since", "until", "limit", "q", "search", "state", "actor", "event", "resource", "range", "next"),
    *("site", "device_type", "tag", "reachability", "credential", "sort", "order", "cursor"),
    *("device", "session_id", "share", "token", "use", "after_host", "after_port", "kind", "instance", "owner"),
)
_READING = (
    *("/admin/audit", "/admin/credentials", "/admin/devices", "/admin/ha", "/admin/host-keys"),
    *("/login", "/share", "/terminal", "/ws/"),
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
PASSWORD = "a fine password"
# What an authenticator signs.
_SIGNED = ("clientDataJSON", "authenticatorData", "attestationObject", "signature", "userHandle")
# Values that most routes accept, so that only the one wrong member is at fault. In angle brackets: the id of an
# existing object, or another text that is made for the route (tests/acceptance/victims.py).
FINE: dict[str, Any] = {
    **{"username": "x", "name": "x", "host": "h", "port": 22, "email": "a@b", "role": "viewer", "is_active": True},
    **{"credential_type": "ssh_password", "secret": "s", "password": PASSWORD},
    **{"current_password": PASSWORD, "new_password": "another fine password"},
    **{"public_key": "<public_key>", "reason": "r", "folder_id": None, "refresh_token": "x", "license_key": "x"},
    **{"ticket": "<ticket>", "code": "000000", "confirmation": "<confirmation>", "setup": "x"},
    **{"credential": {"id": "AA", "rawId": "AA", "type": "public-key", "response": dict.fromkeys(_SIGNED, "AA")}},
    "tags": ["x"],
    **{"messages": [{"role": "user", "content": "x"}], "output": "x", "prompt": "x", "text": "x", "question": "x"},
    **{"session_definition_id": "<definition_id>", "command": "x", "ids": ["<device_id>"], "changes": {"site": "x"}},
    **{"value": "x", "version": 1, "permissions": ["devices.access"], "enabled": True, "model": "scripted-1"},
    **{"issuer": "https://127.0.0.1:9/", "client_id": "x", "origins": ["http://127.0.0.1:8080"]},
    **{"group": "x", "subject": "x"},
}
# The members that have another meaning below these paths.
_FINE_BELOW: dict[str, dict[str, Any]] = {
    "/api/v1/audit/targets": {"type": "webhook", "address": "https://127.0.0.1:9/", "is_enabled": False},
    "/api/v1/llm/providers": {"type": "custom", "base_url": "<chat_url>", "models": ["scripted-1"], "key": "k"},
    "/api/v1/llm/providers/order": {"ids": ["<provider_id>"]},
    "/api/v1/identity-providers/order": {"ids": ["<provider_id>"]},
    "/api/v1/identity-providers/<uuid:provider_id>/mappings/order": {"ids": ["<mapping_id>"]},
    "/api/v1/identity-providers/<uuid:provider_id>/links": {"username": "attacker"},
    "/api/devices": {"model": "x"},
}
# Ends the log-in that the tests are made with, or never ends.
_LEFT_OUT = ("/api/auth/logout", "/api/v1/ha/stream", "/api/v1/audit/stream", "/admin/ha/stream")
# An instance that is drained refuses much.
_LAST = "/api/v1/ha/instances/<instance_id>/drain"


@dataclass(frozen=True)
class Route:
    """A method of a path, whose parameters are still in angle brackets.

    `members` are those of the JSON object that its view validates, `queries` the names of its query.
    """

    method: str
    path: str
    members: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()

    def fine(self) -> dict[str, Any]:
        """A body that the view accepts, but for the texts in angle brackets."""
        own = [given for below, given in _FINE_BELOW.items() if self.path.startswith(below)]
        known = FINE | {name: value for given in own for name, value in given.items()}
        return {name: known[name] for name in self.members if name in known}


def within(fine: Any, nasty: str) -> Iterator[str]:
    """The nasty JSON in the place of a fine value, as an entry of a list, and in the place of each value within."""
    yield nasty
    yield f"[{nasty}]"
    if isinstance(fine, dict):
        for name in fine:
            rest = "".join(f"{json.dumps(each)}: {json.dumps(given)}, " for each, given in fine.items() if each != name)
            for value in within(fine[name], nasty):
                yield f'{{{rest}"{name}": {value}}}'


def routes(*, with_head: bool = False) -> Iterator[Route]:
    """Each method of every path; of a parameter with a choice the first one.

    `with_head`: also HEAD, for which the view of GET is called, and OPTIONS, which is answered without a view.
    """
    settings = Settings(
        database_url="postgresql://localhost/unused", vault_master_key=MASTER_KEY, jwt_secret=JWT_SECRET
    )
    app = create_app(cast(Any, MagicMock(settings=settings)))
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule == _LAST):
        its = declared(app.view_functions[rule.endpoint])
        members, queries = _names(its.body), _names(its.query)
        for method in sorted((rule.methods or set()) - (set() if with_head else {"HEAD", "OPTIONS"})):
            if rule.rule not in _LEFT_OUT:
                path = re.sub(r"<any\('([^']*)'[^>]*>", r"\1", rule.rule)
                if path.startswith(_READING):
                    queries |= {*_QUERIES}
                yield Route(method, path, tuple(sorted(members)), tuple(sorted(queries)))


def _names(model: type[BaseModel] | None) -> set[str]:
    """The names by which requests give the members."""
    return {each.alias or name for name, each in model.model_fields.items()} if model else set()
