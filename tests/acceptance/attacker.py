"""One instance in this process, without a server in front of it, and a client that sends what no library sends.

To be used in a process that is patched as a worker's is (tests/patched.py).
"""

import io
import json
import re
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_to_bytes

import psycopg
from argon2 import PasswordHasher
from werkzeug.test import run_wsgi_app

from netstacks import logs
from netstacks.crypto import passwords
from netstacks.services import Node
from netstacks.settings import Settings
from netstacks.store.pool import Database
from netstacks.web.api import device_check
from netstacks.web.app import WAITING_ROOM, create_app
from tests.acceptance.hostile import FINE, PASSWORD, Route
from tests.acceptance.victims import ORIGIN, SCRIPTED, Victims
from tests.controller import JWT_SECRET, MASTER_KEY, until
from tests.llm.scripted_provider import ScriptedProvider, answer

_INSTANCE_ID = "ctrl-attacked"
_USERNAME = "attacker"
_NO_FAILURES = "DELETE FROM failed_logins"
# Undoes what former requests of a route have done: no limit of log-ins answers before the view does, the user of the
# fine body can log in, what the fine body makes is new, its versions are the current ones, and the attacker's password
# is that of the fine body.
_BEFORE = {
    "/api/auth/login": (
        "DELETE FROM failed_logins; INSERT INTO users (id, username, role, password_hash)"
        " SELECT gen_random_uuid(), %(name)s, 'viewer', %(hash)s ON CONFLICT DO NOTHING"
    ),
    "/api/auth/login/code": _NO_FAILURES,
    "/api/auth/password": "DELETE FROM failed_logins; UPDATE users SET password_hash = %(hash)s",
    "/api/users": "DELETE FROM users WHERE username = %(name)s OR email = %(email)s",
    "/api/v1/account/confirmation": _NO_FAILURES,
    "/api/v1/audit/targets": "DELETE FROM audit_targets WHERE name = %(name)s",
    "/api/v1/identity-providers": "DELETE FROM identity_providers WHERE name = %(name)s",
    "/api/v1/identity-providers/<uuid:provider_id>": "UPDATE identity_providers SET version = 1",
    "/api/v1/identity-providers/<uuid:provider_id>/links": "DELETE FROM external_identities",
    "/api/v1/identity-providers/<uuid:provider_id>/mappings": "DELETE FROM group_mappings",
    "/api/v1/llm/providers": "DELETE FROM llm_providers WHERE name = %(name)s",
    "/api/v1/roles": "DELETE FROM roles WHERE name = %(name)s",
    "/api/v1/roles/<name>": "UPDATE roles SET version = 1 WHERE NOT is_builtin",
}
# Passkeys belong to the origin of a page, and a log-in by single sign-on begins on one.
_OF_PAGES = ("/api/auth/", "/api/v1/account/")
_FAILURE = re.compile("failed|Error")
# Where the loop was busy for long, which this host may be slow enough for.
_STACK = re.compile(r"\S+:\d+ < ")
# Statuses that are answered before a view runs. So is 422 to a query that PostgreSQL could not store.
_REFUSALS = {401, 403, 429, 503}
# What is not offered, what another server has failed at, and what cannot be done now. A crash is 500.
_NO_CRASHES = {501, 502, 503}
# Their views answer 503: the attacker's session has no owner, and its instance no peers.
_FOR_OWNERS = {
    ("GET", "/api/v1/ha/sessions/<uuid:session_id>/forecast"),
    ("POST", "/api/v1/ha/sessions/<uuid:session_id>/move"),
    ("POST", "/api/v1/ha/sessions/<uuid:session_id>/watch"),
}
# Nothing is there that a request could be sent for: they answer 404 to all.
_FINDING_NOTHING = {("GET", "/api/agents/<path:rest>")}


@dataclass(frozen=True)
class Target:
    """The address of an existing object, and a body that the route accepts."""

    address: str
    fine: dict[str, Any]


class Attacker:
    """Sends requests to the application and collects the statuses of the answers by route, within its `with` block."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._own = ExitStack()
        self._headers: dict[str, str] = {}
        self._me: dict[str, str] = {}
        self.statuses: dict[tuple[str, str], set[int]] = defaultdict(set)

    def __enter__(self) -> Self:
        # Each of some thousand passwords would take 25 ms.
        passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        folder = Path(self._own.enter_context(tempfile.TemporaryDirectory()))
        (folder / "index.html").write_text("a client")
        self._log = folder / "log"
        sys.stderr = self._own.enter_context(self._log.open("w", errors="backslashreplace"))
        logs.configure("text", instance_id=_INSTANCE_ID)
        settings = Settings(
            database_url=self._database_url,
            vault_master_key=MASTER_KEY,
            jwt_secret=JWT_SECRET,
            bootstrap_admin_username=_USERNAME,
            bootstrap_admin_password=PASSWORD,
            spool_dir=folder / "spool",
            terminal_web_dir=folder,
        )
        node = Node(settings, _INSTANCE_ID)
        self._app = create_app(node.services)
        node.lifecycle.start(None, self._app.extensions[WAITING_ROOM])
        health = node.services.health
        until(lambda: (report := health.report()) is not None and report.status == "healthy", "healthy health")
        self._seen = len(self._log.read_text())
        self._provider = self._own.enter_context(ScriptedProvider())
        self._provider.always(answer("hello"))
        self._database = Database(self._database_url)
        self._database.open()
        self._own.callback(self._database.close)
        self._connection = self._own.enter_context(
            psycopg.connect(self._database_url, autocommit=True, cursor_factory=psycopg.ClientCursor)
        )
        password_hash = passwords.hash_password(PASSWORD)
        self._values = {"name": FINE["username"], "email": FINE["email"], "hash": password_hash}
        log_in = self._make("/api/auth/login", username=_USERNAME, password=PASSWORD)
        self._headers = {"HTTP_AUTHORIZATION": f"Bearer {log_in['access_token']}"}
        self._me = log_in["user"]
        # For the calls of a language model.
        self._make("/api/v1/llm/providers", name="scripted", **SCRIPTED, base_url=self._provider.chat_url)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Asserts that no failure was logged, of whatever greenlet."""
        failures = self._failures()
        sys.stderr = sys.__stderr__
        self._own.close()
        assert kind or not failures, failures

    def _failures(self) -> str:
        sys.stderr.flush()
        lines = self._log.read_text()[self._seen :].splitlines()
        return "\n".join(line for line in lines if _FAILURE.search(line) and not _STACK.match(line))

    def _make(self, path: str, *, method: str = "POST", **body: Any) -> Any:
        """The JSON of a successful answer."""
        headers = {**self._headers, "HTTP_ORIGIN": ORIGIN}
        status, answered = self._ask(method, path, json.dumps(body).encode(), headers)
        assert status in (200, 201) or b"ticket" in answered, f"{path}: {status} {answered!r}"
        return json.loads(answered)

    def target(self, route: Route) -> Target:
        """The path with ids of existing objects, and a body for it; made for this route alone."""
        path = route.path
        chat_url = self._provider.chat_url
        victims = Victims(path, self._make, self._database, self._me, chat_url=chat_url, here=_INSTANCE_ID)
        address = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: victims[found[1]], path)
        return Target(address, {name: _filled(given, victims) for name, given in route.fine().items()})

    def send(self, route: Route, address: str, body: bytes = b"", *, is_logged_in: bool = True) -> None:
        """Asserts that the answer is not a failure. `address` is the route's path with values for its parameters."""
        method, path = route.method, route.path
        if path in _BEFORE and body:
            self._connection.execute(_BEFORE[path], self._values)
        # The limit of checks is in memory.
        device_check._recent.clear()
        headers = self._headers if is_logged_in else {}
        if path.startswith(_OF_PAGES):
            headers = {**headers, "HTTP_ORIGIN": ORIGIN}
        status, _ = self._ask(method, address, body, headers)
        is_fine = status < 500 or status in _NO_CRASHES
        assert is_fine, f"{method} {address} {body[:200]!r}: {status}\n{self._failures()}"
        self.statuses[method, path].add(status)

    def _ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """The WSGI path as gunicorn makes it: the decoded bytes as they are."""
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1:8080",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **headers,
        }
        parts, status, _ = run_wsgi_app(self._app, environ, buffered=True)
        return int(status.split()[0]), b"".join(parts)

    def check_that_no_limit_answered(self) -> None:
        """Asserts that no rate limit has answered in the place of a view, which hides what the view does."""
        limited = {route for route, statuses in self.statuses.items() if 429 in statuses}
        assert not limited, limited

    def check_that_views_were_reached(self) -> None:
        """Asserts that every route has had an answer of its view, not only of the checks before it."""
        unreached = {
            (method, path)
            for (method, path), statuses in self.statuses.items()
            # The private listener's are not found at any other.
            if not path.startswith("/peer/")
            and not ((method, path) in _FOR_OWNERS and 503 in statuses)
            and not ((method, path) in _FINDING_NOTHING and 404 in statuses)
            and statuses <= _REFUSALS | ({404} if "<" in path else set()) | ({422} if method == "GET" else set())
        }
        assert not unreached, unreached


def _filled(given: Any, victims: Victims) -> Any:
    """The value with the texts that are made for a route in the place of those in angle brackets."""
    if isinstance(given, list):
        return [_filled(each, victims) for each in given]
    if isinstance(given, str) and given.startswith("<"):
        return victims[given[1:-1]]
    return given
