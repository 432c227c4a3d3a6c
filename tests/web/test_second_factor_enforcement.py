"""Where a second factor is required but missing: views that lie apart, terminals that a peer takes over, open ones."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from flask import Flask

from netstacks.errors import AccessWithdrawn, Forbidden
from netstacks.instance.targets import ConnectRequest
from netstacks.peer.token import PeerTokens
from netstacks.permissions import preset
from netstacks.store import audit, second_factors
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web import peer
from netstacks.web.auth import enforcement
from netstacks.web.auth.factor_states import FactorStates
from netstacks.web.auth.guard import permission_of
from netstacks.web.auth.tokens import Subject, TokenType
from netstacks.web.context import Services
from netstacks.web.jumpbox.visit import Visit
from netstacks.web.ws.terminal import open_another
from tests.web.conftest import JWT_SECRET, Api
from tests.web.second_factors import add_app

AddUser = Callable[..., User]
LogIn = Callable[..., Api]

PEER_PORT = 4711
HANDED_ON = "/peer/terminals"
REQUIRED = "Two-step log-in is required"


@pytest.fixture
def lee(add_user: AddUser, log_in: LogIn) -> Api:
    add_user("lee")
    return log_in("lee")


@pytest.fixture
def instance(services: Services) -> Services:
    """An instance that opens terminals, and takes them over from the peer `there`."""
    opened = SimpleNamespace(open=lambda _: "a session")
    grant = SimpleNamespace(done=lambda: None)
    admission = SimpleNamespace(try_now=lambda: grant, wait=lambda *_: grant)
    services.opener, services.admission = cast(Any, opened), cast(Any, admission)
    services.peer_tokens, services.peer_port = PeerTokens(JWT_SECRET), PEER_PORT
    services.moves = cast(Any, SimpleNamespace(is_away=lambda _: False))
    agent: Any = services.agent
    agent.me.state, agent.is_draining = "active", False
    return services


def require(services: Services, policy: str) -> None:
    """The setting, which counts at once."""
    with services.database.transaction() as tx:
        tx.execute("INSERT INTO settings VALUES ('login.second_factor', to_jsonb(%s::text))", [policy])
    services.system_settings.refresh()


def subject_of(services: Services, api: Api) -> Subject:
    claims = services.tokens.read(TokenType.ACCESS, api.headers["Authorization"].split()[1])
    assert claims is not None
    return claims.subject


def test_no_view_that_is_free_of_the_requirement_needs_a_permission(app: Flask) -> None:
    free = [
        (rule.rule, permission_of(app.view_functions[rule.endpoint]))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] in enforcement._FREE_BLUEPRINTS
    ]
    assert ("/api/auth/login", None) in free
    assert [path for path, permission in free if permission] == []


def test_an_administrator_without_a_factor_resets_no_others(lee: Api, admin: Api, services: Services) -> None:
    add_app(lee)
    require(services, "administrators")
    answer = admin.delete(f"/api/v1/users/{lee.user_id}/second-factors")
    assert (answer.status_code, answer.json["error"][: len(REQUIRED)]) == (403, REQUIRED)
    with services.database.transaction() as tx:
        assert second_factors.kinds_of(tx, lee.user_id) == ["totp"]
    add_app(admin)
    assert admin.delete(f"/api/v1/users/{lee.user_id}/second-factors").status_code == 204


def hand_on(app: Flask, services: Services, subject: Subject) -> Any:
    """What the peer that a client is handed on to decides."""
    claims = {
        "user_id": str(subject.user_id),
        "username": subject.username,
        "role": subject.role,
        "login_id": str(subject.login_id),
        "address": "192.0.2.1",
        "reconnect_token": None,
    }
    headers = {
        "Authorization": f"Bearer {PeerTokens(JWT_SECRET).issue('here', HANDED_ON, claims)}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
    }
    socket = SimpleNamespace(getsockname=lambda: ("127.0.0.1", PEER_PORT))
    path = f"{HANDED_ON}?session_id=device-{uuid4()}"
    with app.test_request_context(path, headers=headers, environ_overrides={"gunicorn.socket": socket}):
        assert app.preprocess_request() is None
        return peer._authorise_handed_on()


def test_a_terminal_that_is_handed_on_to_a_peer_needs_the_factor(app: Flask, instance: Services, lee: Api) -> None:
    require(instance, "all")
    subject = subject_of(instance, lee)
    with pytest.raises(Forbidden, match=REQUIRED):
        hand_on(app, instance, subject)
    add_app(lee)
    assert hand_on(app, instance, subject).actor.name == "lee"


def another(services: Services, user_id: UUID, login_id: UUID) -> Any:
    actor = audit.Actor("lee", user_id, None, login_id)
    request = ConnectRequest(actor, None, None, "192.0.2.1", 22, term="xterm", cols=80, rows=24)
    return open_another(services, login_id, request)


def test_a_connection_from_before_the_requirement_opens_no_other_session(
    instance: Services, lee: Api, database: Database
) -> None:
    subject = subject_of(instance, lee)
    require(instance, "administrators")
    assert another(instance, subject.user_id, subject.login_id) == "a session"
    with database.transaction() as tx:
        tx.execute("DELETE FROM settings")
    require(instance, "all")
    with pytest.raises(Forbidden, match=REQUIRED):
        another(instance, subject.user_id, subject.login_id)
    add_app(lee)
    assert another(instance, subject.user_id, subject.login_id) == "a session"


def test_a_visit_of_the_jump_box_from_before_the_requirement_ends(instance: Services, lee: Api) -> None:
    states: Any = SimpleNamespace(role=lambda _: preset("operator"))
    visit = Visit(cast(Any, None), subject_of(instance, lee), states, FactorStates(), instance)
    visit.check()
    require(instance, "all")
    with pytest.raises(AccessWithdrawn, match=REQUIRED):
        visit.check()
    add_app(lee)
    visit.check()
