"""The HTTP side in process: the real application on a real database, spoken to as a user of each role.

`admin`, `operator` and `viewer` are logged-in API clients, `anonymous` is one without a token:

    def test_viewer_may_not_add_devices(viewer):
        assert viewer.post("/api/devices", json={...}).status_code == 403

`page` is a browser page of the administrator: cookie, Origin and CSRF token. `services` holds what the views work
with, a hub without sessions among it; the other parts that belong to terminals are None: set the ones that a test
needs (`services.recorder = ...`) before it asks for a client. `add_user` creates further users, `log_in` logs one in,
`audited` lists what the audit log says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from netstacks.cluster.model import Snapshot
from netstacks.instance.current_settings import CurrentSettings, of_environment
from netstacks.instance.drain_control import DrainControl
from netstacks.instance.holdings import Holdings
from netstacks.instance.host_key_prompts import HostKeyPrompts
from netstacks.instance.withdrawals import Withdrawals
from netstacks.llm.directory import Defaults
from netstacks.llm.service import Llm
from netstacks.registry.memory import MemoryRegistry
from netstacks.settings import Settings
from netstacks.store import audit, users
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.store.vault import Vault
from netstacks.terminal.hub import Hub
from netstacks.web.app import create_app
from netstacks.web.auth.licensing import Licensing
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.parts import auth_parts, install
from netstacks.web.auth.share_tokens import ShareTokens
from netstacks.web.auth.tokens import Tokens
from netstacks.web.context import Services
from tests.web import compilation
from tests.web.answer_types import check_answer

JWT_SECRET = "a secret of this test that is long enough"
MASTER_KEY = "5e" * 32
PASSWORD = "correct horse battery"
# Cheap to verify: the cost is that of the hash, not of the program (tests/crypto/test_passwords.py looks at that one).
_PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


# Time limits of the product that a pause of the machine would reach: tests of them set their own.
_LIMITS = (
    "netstacks.instance.database_look._TIMEOUT_SECS",
    "netstacks.instance.drain_control._NOTICE_SECS",
    "netstacks.instance.forecasts._EXAMINE_SECS",
    "netstacks.instance.history.PATIENCE_SECS",
    "netstacks.instance.observer.PATIENCE_SECS",
    "netstacks.instance.session_survey._PATIENCE_SECS",
    "netstacks.web.api.login.REFRESH_SECS",
    "netstacks.web.auth.factor_states._ASK_SECS",
    "netstacks.web.auth.login_states.ASK_SECS",
    "netstacks.web.auth.oidc_http.TOTAL_SECS",
    "netstacks.web.pages.ha_live._PATIENCE_SECS",
    "netstacks.web.viewers.shared._DATABASE_SECS",
)
_PATIENCE_SECS = 30.0


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of the machine fails no request."""
    for limit in _LIMITS:
        monkeypatch.setattr(limit, _PATIENCE_SECS)
    if "own_postgres" not in request.fixturenames:
        monkeypatch.setattr("netstacks.store.pool.GET_CONNECTION_SECS", _PATIENCE_SECS)


def change_auth(api: "Api", **members: Any) -> None:
    """Has the application that `api` talks to authenticate with other settings."""
    app = api.client.application
    with app.app_context():
        install(app, replace(auth_parts(), **members))


@dataclass
class Api:
    """A client that sends `headers` with every request; `user` is the user they authenticate.

    `checks_answers`: an answer must be as its view declares.
    """

    client: FlaskClient
    headers: dict[str, str] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    checks_answers: bool = True

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("POST", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("PUT", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("DELETE", path, **kwargs)

    def send(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        headers = self.headers | kwargs.pop("headers", {})
        answer = self.client.open(path, method=method, headers=headers, **kwargs)
        if self.checks_answers:
            check_answer(self.client.application, answer)
        return answer

    @property
    def user_id(self) -> UUID:
        return UUID(self.user["id"])


@pytest.fixture(scope="package", autouse=True)
def compiled_once() -> Iterator[None]:
    with compilation.once():
        yield


@pytest.fixture
def settings() -> Settings:
    return Settings(database_url="postgresql://localhost/unused", vault_master_key=MASTER_KEY, jwt_secret=JWT_SECRET)


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    """The parts that views need; those of terminals are None, but for the hub."""
    vault = Vault(database, MASTER_KEY)
    vault.unlock()
    nothing = cast(Any, None)
    hub = Hub(DeferredWrites(database), detach_ttl_secs=60, close_grace_secs=10)
    login_states = LoginStates(database, max_days=30)
    me = SimpleNamespace(id="here")
    alone = cast(Any, SimpleNamespace(me=me, snapshot=Snapshot(0.0, {}), record_event=lambda *_, **__: None))
    return Services(
        settings=settings,
        system_settings=CurrentSettings(database, environment=of_environment(settings)),
        database=database,
        routing_database=database,
        vault=vault,
        tokens=Tokens(JWT_SECRET),
        login_states=login_states,
        withdrawals=Withdrawals(
            agent=alone,
            peers=nothing,
            holdings=Holdings(hub, nothing),
            database=database,
            forget=login_states.forget,
            forget_role=login_states.forget_role,
        ),
        licensing=Licensing(database, None),
        prompts=HostKeyPrompts(database),
        hub=hub,
        recorder=nothing,
        opener=cast(Any, None),
        broker=nothing,
        admission=nothing,
        agent=alone,
        peer_tokens=nothing,
        peers=nothing,
        share_tokens=ShareTokens(JWT_SECRET),
        deferred_writes=DeferredWrites(database),
        health=cast(Any, SimpleNamespace(report=lambda: None)),
        observer=nothing,
        consistency=nothing,
        history=nothing,
        session_survey=nothing,
        llm=_llm(database, vault),
        drain_control=DrainControl(),
        moves=nothing,
        forecasts=nothing,
        notices=nothing,
    )


def _llm(database: Database, vault: Vault) -> Llm:
    return Llm(
        database=database,
        vault=vault,
        registry=MemoryRegistry(),
        deferred_writes=DeferredWrites(database),
        instance_id="here",
        record_event=lambda *_, **__: None,
        defaults=Defaults(first_token_secs=30, total_secs=60),
        breaker_failures=3,
        breaker_cooldown_secs=30,
        interval_secs=5,
        user_concurrency=4,
        user_daily_tokens=0,
    )


@pytest.fixture
def app(services: Services) -> Flask:
    return create_app(services)


@pytest.fixture
def anonymous(app: Flask) -> Api:
    return Api(app.test_client())


@pytest.fixture
def add_user(database: Database) -> Callable[..., User]:
    """`add_user("lee", role="viewer", email=...)`: a user whose password is PASSWORD."""

    def add(username: str, *, role: str = "operator", **rest: Any) -> User:
        with database.transaction() as tx:
            return users.create(tx, username=username, password_hash=_PASSWORD_HASH, role=role, **rest)

    return add


@pytest.fixture
def log_in(app: Flask) -> Callable[..., Api]:
    """`log_in("lee")`: a new log-in of a user whose password is PASSWORD, as an API client of its own."""

    def log_in(username: str, client_type: str = "terminal") -> Api:
        client = app.test_client()
        body = {"username": username, "password": PASSWORD, "client_type": client_type}
        answer = client.post("/api/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        return Api(client, {"Authorization": f"Bearer {answer.json['access_token']}"}, answer.json["user"])

    return log_in


@pytest.fixture
def admin(add_user: Callable[..., User], log_in: Callable[..., Api]) -> Api:
    add_user("admin", role="admin", email="admin@example.net")
    return log_in("admin")


@pytest.fixture
def operator(add_user: Callable[..., User], log_in: Callable[..., Api]) -> Api:
    add_user("operator", role="operator")
    return log_in("operator")


@pytest.fixture
def viewer(add_user: Callable[..., User], log_in: Callable[..., Api]) -> Api:
    add_user("viewer", role="viewer")
    return log_in("viewer")


@pytest.fixture
def page(app: Flask, add_user: Callable[..., User]) -> Api:
    """A browser in which the administrator `page-admin` is logged in."""
    add_user("page-admin", role="admin")
    client = app.test_client()
    body = {"username": "page-admin", "password": PASSWORD}
    answer = client.post("/api/auth/login", json=body, headers={"X-NetStacks-Page": "1"})
    assert answer.status_code == 200, answer.text
    headers = {"Origin": "http://localhost", "X-CSRF-Token": answer.json["csrf_token"]}
    return Api(client, headers, answer.json["user"])


@pytest.fixture
def audited(database: Database) -> Callable[[str], list[dict[str, Any]]]:
    """`audited("device.*")`: audit rows of an event or of a family, oldest first."""

    def rows(event: str) -> list[dict[str, Any]]:
        with database.transaction() as tx:
            return audit.list_page(tx, event=event)[::-1]

    return rows
