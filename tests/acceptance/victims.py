"""An existing object for each parameter of a route's path, and for the members of its body that name one."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from netstacks.recording.chunks import EventKind
from netstacks.store import prompts, session_summaries, user_settings
from netstacks.store.pool import Database
from netstacks.store.session_summaries import SessionSummary
from tests.acceptance.hostile import PASSWORD
from tests.rows import make_session, record
from tests.web.test_hostkeys import KEY

_CREDENTIAL = {"credential_type": "ssh_password", "username": "x", "secret": "s"}
SCRIPTED = {"type": "custom", "models": ["scripted-1"], "key": "k"}
# Nothing listens on port 9, the one of the protocol Discard.
_NOWHERE = "https://127.0.0.1:9/"
ORIGIN = "http://127.0.0.1:8080"


class Victims:
    """Makes objects, at first use each; `made` has those of this route, by the names of its parameters.

    `ask` sends a body to a path, by POST unless another `method` is given, and returns the JSON of the answer. `me` is
    the user whose log-in it uses.
    """

    def __init__(
        self, path: str, ask: Callable[..., Any], database: Database, me: dict[str, str], *, chat_url: str, here: str
    ) -> None:
        self._path, self._ask, self._database, self._me = path, ask, database, me
        self._chat_url, self._here = chat_url, here
        self._name = f"v{uuid.uuid4().hex}"
        self.made: dict[str, str] = {}
        for parameter in re.findall(r"<(?:\w+:)?(\w+)>", path):
            self[parameter]

    def __getitem__(self, parameter: str) -> str:
        if parameter not in self.made:
            self.made[parameter] = str(getattr(self, f"_make_{parameter}")())
        return self.made[parameter]

    def _id(self, path: str, **body: Any) -> str:
        return str(self._ask(path, **body)["id"])

    def _make_device_id(self) -> str:
        return self._id("/api/devices", name=self._name, host="127.0.0.1", port=1)

    def _make_edit_id(self) -> str:
        devices, changes = [self["device_id"]], {"site": self._name}
        return str(self._ask("/api/v1/devices", method="PATCH", ids=devices, changes=changes)["edit_id"])

    def _make_credential_id(self) -> str:
        is_personal = "/personal/" in self._path
        return self._id(
            "/api/credentials/personal" if is_personal else "/api/credentials", name=self._name, **_CREDENTIAL
        )

    def _make_definition_id(self) -> str:
        return self._id("/api/session-definitions", name=self._name, host="127.0.0.1", port=1)

    def _make_folder_id(self) -> str:
        return self._id("/api/session-definitions/folders", name=self._name)

    def _make_item_id(self) -> str:
        return self._id(self._path.partition("/<")[0], name=self._name)

    def _make_user_id(self) -> str:
        return self._id("/api/users", username=self._name, password=PASSWORD, role="viewer")

    def _make_login_id(self) -> UUID:
        """A further log-in: of the user in the path, else of the attacker."""
        is_other = "user_id" in self.made
        self._ask("/api/auth/login", username=self._name if is_other else self._me["username"], password=PASSWORD)
        with self._database.transaction() as tx:
            row = tx.execute("SELECT id FROM logins ORDER BY created_at DESC LIMIT 1").fetchone()
        assert row
        return UUID(str(row["id"]))

    def _make_provider_id(self) -> str:
        if "/llm/" in self._path:
            return self._id("/api/v1/llm/providers", name=self._name, **SCRIPTED, base_url=self._chat_url)
        return self._id("/api/v1/identity-providers", name=self._name, issuer=_NOWHERE, client_id="c", origins=[ORIGIN])

    def _make_mapping_id(self) -> str:
        provider = f"/api/v1/identity-providers/{self['provider_id']}"
        return str(self._ask(f"{provider}/mappings", group=self._name, role="viewer")["mappings"][0]["id"])

    def _make_link_id(self) -> str:
        self["user_id"]
        provider = f"/api/v1/identity-providers/{self['provider_id']}"
        return self._id(f"{provider}/links", username=self._name, subject="s")

    def _make_target_id(self) -> str:
        target = {"type": "webhook", "address": _NOWHERE, "is_enabled": False}
        return self._id("/api/v1/audit/targets", name=self._name, **target)

    def _make_passkey_id(self) -> UUID:
        return self._passkey_of(self._me["id"])

    def _passkey_of(self, user_id: str) -> UUID:
        passkey_id = uuid.uuid4()
        with self._database.transaction() as tx:
            tx.execute(
                "INSERT INTO passkeys (id, user_id, name, rp_id, credential_id, public_key, sign_count, is_backed_up)"
                " VALUES (%s, %s, 'x', '127.0.0.1', %s, 'k', 0, false)",
                (passkey_id, user_id, passkey_id.bytes),
            )
        return passkey_id

    def _make_confirmation(self) -> str:
        return str(self._ask("/api/v1/account/confirmation", password=PASSWORD)["confirmation"])

    def _make_ticket(self) -> str:
        """Of a user who has given the password, and is asked for a second factor."""
        self._passkey_of(self["user_id"])
        return str(self._ask("/api/auth/login", username=self._name, password=PASSWORD)["ticket"])

    def _make_session_id(self) -> UUID:
        """A detached session with a recording and a summary."""
        me = UUID(self._me["id"])
        device = UUID(self["device_id"])
        session_id = make_session(
            self._database, user_id=me, username=self._me["username"], device_id=device, owner=None
        )
        record(self._database, session_id, (EventKind.OUTPUT, b"hello"))
        summary = SessionSummary(session_id, "hello", "first", "scripted-1", datetime.now(UTC), "x", 5)
        with self._database.transaction() as tx:
            session_summaries.put(tx, summary)
            tx.execute("UPDATE sessions SET state = 'detached', detached_at = now() WHERE id = %s", (session_id,))
        return session_id

    _make_recording_id = _make_session_id

    def _make_token(self) -> str:
        return str(self._ask(f"/api/sessions/{self['session_id']}/share")["token"])

    def _make_chat_url(self) -> str:
        return self._chat_url

    def _make_viewer_id(self) -> UUID:
        return uuid.uuid4()

    def _make_prompt_id(self) -> UUID:
        with self._database.transaction() as tx:
            return prompts.ask(tx, UUID(self._me["id"]), self._name, 22, "SHA256:x", None).id

    def _make_host(self) -> str:
        self._ask("/api/host-keys", host=f"{self._name}.example", port=22, public_key=KEY)
        return f"{self._name}.example"

    def _make_public_key(self) -> str:
        return KEY

    def _make_port(self) -> str:
        return "22"

    def _make_instance_id(self) -> str:
        return self._here

    def _make_key(self) -> str:
        if self._path.startswith("/api/v1/settings/"):
            return "login.banner"
        with self._database.transaction() as tx:
            user_settings.put(tx, UUID(self._me["id"]), "ui.theme", "dark")
        return "ui.theme"

    def _make_name(self) -> str:
        if not self._path.startswith("/api/v1/roles/"):
            return "index.html"
        self._ask("/api/v1/roles", name=self._name, permissions=["devices.access"])
        return self._name

    def _make_filename(self) -> str:
        return "style.css"

    def _any(self) -> str:
        return "x"

    # No objects: their routes refuse whatever is named.
    _make_rest = _make_session = _make_terminal = _any
