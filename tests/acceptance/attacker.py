"""One instance in this process, without a server in front of it, and a client that sends what no library sends.

To be used in a process that is patched as a worker's is (tests/patched.py).
"""

import io
import json
import re
import sys
import tempfile
import uuid
from collections import defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_to_bytes

import psycopg
from argon2 import PasswordHasher
from werkzeug.test import run_wsgi_app

from netstacks import logs
from netstacks.crypto import passwords
from netstacks.recording.chunks import EventKind
from netstacks.services import Node
from netstacks.settings import Settings
from netstacks.store import prompts, session_summaries, user_settings
from netstacks.store.pool import Database
from netstacks.store.session_summaries import SessionSummary
from netstacks.web.app import WAITING_ROOM, create_app
from tests.acceptance.hostile import FINE
from tests.controller import JWT_SECRET, MASTER_KEY, until
from tests.llm.scripted_provider import ScriptedProvider, answer
from tests.rows import make_session, record
from tests.web.test_hostkeys import KEY

_INSTANCE_ID = "ctrl-attacked"
_USERNAME, _PASSWORD = "attacker", str(FINE["password"])
# Undoes what former requests of a route have done: no limit of log-ins answers before the view does, the user of the
# fine body can log in, and is new where users are made, and the attacker's password is that of the fine body.
_BEFORE = {
    "/api/auth/login": (
        "DELETE FROM failed_logins; INSERT INTO users (id, username, role, password_hash)"
        " SELECT gen_random_uuid(), %(name)s, 'viewer', %(hash)s ON CONFLICT DO NOTHING"
    ),
    "/api/auth/password": "DELETE FROM failed_logins; UPDATE users SET password_hash = %(hash)s",
    "/api/users": "DELETE FROM users WHERE username = %(name)s OR email = %(email)s",
}
# Statuses that are answered before a view runs. So is 422 to a query that PostgreSQL could not store.
_REFUSALS = {401, 403, 429, 503}


class Attacker:
    """Sends requests to the application and collects the statuses of the answers by route, within its `with` block."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._own = ExitStack()
        self._headers: dict[str, str] = {}
        self._user_id = ""
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
            bootstrap_admin_password=_PASSWORD,
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
        password_hash = passwords.hash_password(_PASSWORD)
        self._values = {"name": FINE["username"], "email": FINE["email"], "hash": password_hash}
        log_in = self._make("/api/auth/login", username=_USERNAME, password=_PASSWORD)
        self._headers = {"HTTP_AUTHORIZATION": f"Bearer {log_in['access_token']}"}
        self._user_id = log_in["user"]["id"]
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
        return "\n".join(line for line in lines if "failed" in line or "Error" in line)

    def _make(self, path: str, **body: Any) -> Any:
        """The JSON of a successful answer."""
        status, answered = self._ask("POST", path, json.dumps(body).encode(), self._headers)
        assert status in (200, 201), f"{path}: {status} {answered!r}"
        return json.loads(answered)

    def target(self, path: str) -> str:
        """The path with ids of existing objects, made for this route alone."""
        parameters = re.findall(r"<(?:\w+:)?(\w+)>", path)
        things = self._things() if parameters else {}
        if "/personal/" in path:
            things["credential_id"] = things["personal_id"]
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: things[found[1]], path)

    def _things(self) -> dict[str, str]:
        name = uuid.uuid4().hex
        credential = {"name": name, "credential_type": "ssh_password", "username": "x", "secret": "s"}
        device = self._make("/api/devices", name=name, host="127.0.0.1", port=1)["id"]
        provider = {"type": "custom", "base_url": self._provider.chat_url, "models": ["scripted-1"], "key": "k"}
        user = self._make("/api/users", username=name, password=_PASSWORD, role="viewer")
        self._make("/api/host-keys", host=f"{name}.example", port=22, public_key=KEY)
        self._make("/api/auth/login", username=_USERNAME, password=_PASSWORD)
        [login_id] = self._connection.execute("SELECT id FROM logins ORDER BY created_at DESC LIMIT 1").fetchone() or ()
        session_id = make_session(
            self._database,
            user_id=uuid.UUID(self._user_id),
            username=_USERNAME,
            device_id=uuid.UUID(device),
            owner=None,
        )
        record(self._database, session_id, (EventKind.OUTPUT, b"hello"))
        summary = SessionSummary(session_id, "hello", "first", "scripted-1", datetime.now(UTC), _USERNAME, 5)
        with self._database.transaction() as tx:
            session_summaries.put(tx, summary)
            user_settings.put(tx, uuid.UUID(self._user_id), "ui.theme", "dark")
            tx.execute("UPDATE sessions SET state = 'detached', detached_at = now() WHERE id = %s", (session_id,))
            prompt = prompts.ask(tx, uuid.UUID(self._user_id), name, 22, "SHA256:x", None)
        return {
            "credential_id": self._make("/api/credentials", **credential)["id"],
            "personal_id": self._make("/api/credentials/personal", **credential)["id"],
            "device_id": device,
            "definition_id": self._make("/api/session-definitions", name=name, host="127.0.0.1", port=1)["id"],
            "folder_id": self._make("/api/session-definitions/folders", name=name)["id"],
            "provider_id": self._make("/api/v1/llm/providers", name=name, **provider)["id"],
            "user_id": user["id"],
            "login_id": str(login_id),
            "session_id": str(session_id),
            "recording_id": str(session_id),
            "token": self._make(f"/api/sessions/{session_id}/share")["token"],
            "viewer_id": str(uuid.uuid4()),
            "prompt_id": str(prompt.id),
            "host": f"{name}.example",
            "port": "22",
            "instance_id": _INSTANCE_ID,
            "key": "ui.theme",
            "name": "index.html",
            "filename": "style.css",
        }

    def send(self, method: str, path: str, target: str, body: bytes = b"", *, is_logged_in: bool = True) -> None:
        """Asserts that the answer is no failure. `path` is the route whose `target` this is."""
        if path in _BEFORE and method in ("POST", "PUT"):
            self._connection.execute(_BEFORE[path], self._values)
        status, _ = self._ask(method, target, body, self._headers if is_logged_in else {})
        assert status < 500 or status == 503, f"{method} {target} {body[:80]!r}: {status}\n{self._failures()}"
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
            and statuses <= _REFUSALS | ({404} if "<" in path else set()) | ({422} if method == "GET" else set())
        }
        assert not unreached, unreached
