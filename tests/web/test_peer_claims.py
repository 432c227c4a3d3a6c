"""Claims that a peer has signed and that are malformed: every route of the private listener says what is wrong."""

import base64
import hmac
import json
import re
import secrets
import time
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import ImATeapot

from netstacks.peer.token import PeerTokens
from netstacks.terminal.session import Session
from netstacks.web.context import Services
from tests.web.conftest import JWT_SECRET

PEER_PORT = 7
ID = str(UUID(int=1))
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PRINCIPAL = {
    "kind": "viewer", "permission": "read-only", "user_id": ID, "username": "ana", "address": None, "share_id": ID,
    "max_viewers": 5, "expires_at": 1_900_000_000,
}  # fmt: skip
# All claims that any route reads.
WHOLE = {
    "epoch": 1, "visitor": PRINCIPAL, "reason": "why", "only_detached": False, "share_id": None, "viewer_id": None,
    "user_id": ID, "username": "ana", "role": "operator", "login_id": ID, "address": "192.0.2.1",
    "reconnect_token": None, "session_id": ID, "token": None, "what": "access", "login_ids": [ID],
    "session_ids": [ID], "by": "ana", "text": "a notice", "name": "operator",
}  # fmt: skip
TEXTS = st.sampled_from(["", "\0", "\ud800", "x" * 2000, "nan", "-1", ID, "viewer", "control"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(sorted(PRINCIPAL)), inner, max_size=3),
    max_leaves=4,
)
# The registered claims of a valid token.
REGISTERED = ("aud", "sub", "iat", "exp", "jti", "nbf", "iss", "claims")
ACCEPTED = 418
WITHOUT_CLAIMS = ("/peer/alive", "/peer/instance/forecast", "/peer/instance/cancel-drain")


class Held(Session):
    """A session that accepts every call."""

    def __init__(self) -> None:
        self.facts = cast(Any, SimpleNamespace(id=UUID(ID), owner="ctrl-a"))
        self.attachments = []
        self.expulsions = 0

    def end(self, reason: str, *, only_detached: bool = False) -> None:
        reason.encode()
        assert "\0" not in reason

    def tell_user(self, text: str) -> None:
        text.encode()
        assert "\0" not in text


class Moves:
    def is_away(self, token: UUID) -> bool:
        return False

    def move(self, session: Session, by: str) -> None:
        by.encode()
        assert "\0" not in by


class PrivateSocket:
    """A connection to the private listener. An upgrade that is accepted goes no further than this."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", PEER_PORT

    def dup(self) -> None:
        raise ImATeapot


@pytest.fixture
def services(services: Services) -> Services:
    """The services of an instance that holds every session, and has no room for more."""
    services.agent = cast(Any, SimpleNamespace(me=SimpleNamespace(id="ctrl-a")))
    services.peer_tokens = PeerTokens(JWT_SECRET)
    services.peer_port = PEER_PORT
    session = Held()
    services.broker = cast(Any, SimpleNamespace(admit=lambda session_id, epoch: session, describe=lambda key: None))
    services.admission = cast(Any, SimpleNamespace(try_now=lambda: None))
    services.moves = cast(Any, Moves())
    services.forecasts = cast(Any, SimpleNamespace(of_instance=dict, of_session=lambda session: {}))
    services.session_survey = cast(Any, SimpleNamespace(here=lambda session_ids: {}))
    return services


def routes(app: Flask) -> list[tuple[str, str]]:
    """Method and path of all peer routes."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/peer/")]
    found = {("POST" if "POST" in (rule.methods or ()) else "GET", re.sub("<[^>]+>", ID, rule.rule)) for rule in rules}
    return sorted(found)


def ask(app: Flask, method: str, path: str, **said: Any) -> tuple[int, str]:
    """Status and text of the answer to a token that says this instead of, or besides, what it must."""
    now = int(time.time())
    body = {"aud": "ctrl-a", "sub": path, "iat": now, "exp": now + 15, "jti": secrets.token_hex(8), "claims": {}} | said
    payload, head = (json.dumps(part).encode() for part in (body, {"alg": "HS256", "typ": "JWT"}))
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, payload))
    key = hmac.digest(JWT_SECRET.encode(), b"netstacks peer token", "sha256")
    signature = base64.urlsafe_b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")
    token = (signed + b"." + signature).decode()
    answer = app.test_client().open(
        path,
        method=method,
        headers=(UPGRADE if method == "GET" else {}) | {"Authorization": f"Bearer {token}"},
        environ_overrides={"gunicorn.socket": PrivateSocket()},
    )
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("report", "has_database"),
    [
        (None, False),
        (SimpleNamespace(degraded=("valkey", "consistency")), True),
        (SimpleNamespace(degraded=("database",)), False),
    ],
    ids=["starting", "it answers", "it does not"],
)
def test_an_instance_says_whether_its_database_answers(
    app: Flask, services: Services, report: SimpleNamespace | None, has_database: bool
) -> None:
    services.health = cast(Any, SimpleNamespace(report=lambda: report))
    status, text = ask(app, "POST", "/peer/alive")
    assert (status, json.loads(text)) == (200, {"has_database": has_database})


def test_every_route_understands_what_it_asks_for(app: Flask) -> None:
    assert len(routes(app)) >= 9
    for method, path in routes(app):
        visitor = PRINCIPAL | ({"kind": "control"} if path.endswith("/terminal") else {})
        status, text = ask(app, method, path, claims=WHOLE | {"visitor": visitor})
        # The log-in of a client that is handed on is not known here.
        expected = {401} if path == "/peer/terminals" else {200, 204, ACCEPTED}
        assert status in expected, f"{path}: {status} {text}"


def test_every_route_says_what_is_missing(app: Flask) -> None:
    for method, path in routes(app):
        status, text = ask(app, method, path)
        if path not in WITHOUT_CLAIMS:
            assert status == 400, path
            assert "malformed" in text


EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def judge(status: int, text: str) -> None:
    assert status in (200, 204, 400, 401, 403, 404, 409, ACCEPTED), text


@EXAMPLES
@given(data=st.data(), value=VALUES)
def test_no_member_of_any_value_is_an_error_of_ours(app: Flask, data: st.DataObject, value: Any) -> None:
    method, path = data.draw(st.sampled_from(routes(app)))
    in_principal = data.draw(st.booleans())
    whole: dict[str, Any] = PRINCIPAL if in_principal else WHOLE
    name = data.draw(st.sampled_from(sorted(whole)))
    spoilt = {each: whole[each] for each in whole if each != name} | data.draw(st.sampled_from([{name: value}, {}]))
    judge(*ask(app, method, path, claims=WHOLE | {"visitor": spoilt} if in_principal else spoilt))


@EXAMPLES
@given(data=st.data(), value=VALUES, name=st.sampled_from(REGISTERED))
def test_no_token_of_any_content_is_an_error_of_ours(app: Flask, data: st.DataObject, value: Any, name: str) -> None:
    method, path = data.draw(st.sampled_from(routes(app)))
    judge(*ask(app, method, path, **{"claims": WHOLE, name: value}))
