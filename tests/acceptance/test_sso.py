"""An identity provider that fails costs a controller nothing but the log-ins by it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.controller import Controller, until
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.postgres import Postgres

DISCOVERY = "/.well-known/openid-configuration"
PATH = "/api/v1/identity-providers"


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database()).start()
    yield controller
    controller.stop()


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
def entry(controller: Controller, provider: OidcProvider) -> Iterator[dict[str, Any]]:
    admin = controller.login()
    body = {"name": "Example ID", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    entry = admin.post(PATH, body | {"default_role": "operator"})
    yield entry
    admin.call("DELETE", f"{PATH}/{entry['id']}")


def start(controller: Controller, entry: dict[str, Any], client: Any = requests) -> requests.Response:
    url = f"{controller.url}/api/auth/sso/{entry['id']}/start"
    answer: requests.Response = client.post(url, json={"next": "/"}, headers={"Origin": controller.url}, timeout=60)
    return answer


@pytest.mark.parametrize(
    ("fault", "text"),
    [("hang", "did not answer within 5 seconds"), ("drip", "did not answer within 5 seconds"), ("huge", "larger than")],
)
def test_while_a_provider_fails_everything_else_is_answered(
    controller: Controller, entry: dict[str, Any], provider: OidcProvider, fault: str, text: str
) -> None:
    provider.faults[DISCOVERY] = fault
    answers: list[requests.Response] = []
    clients = [threading.Thread(target=lambda: answers.append(start(controller, entry))) for _ in range(20)]
    for client in clients:
        client.start()
    until(lambda: provider.count(DISCOVERY), "a request at the provider")
    assert controller.health()["status"] == "healthy"
    controller.login()
    for client in clients:
        client.join(60)
    assert [each.status_code for each in answers] == [502] * 20
    assert all(text in each.json()["error"] for each in answers)
    # All of them waited for one answer.
    assert provider.count(DISCOVERY) == 1


def test_a_provider_that_is_back_is_used_at_once(
    controller: Controller, entry: dict[str, Any], provider: OidcProvider
) -> None:
    provider.faults[DISCOVERY] = "error"
    assert start(controller, entry).status_code == 502
    provider.faults.clear()
    with requests.Session() as browser:
        until(lambda: start(controller, entry, browser).ok, "the way to the provider")
        location = start(controller, entry, browser).json()["location"]
        browser.get(location, timeout=30)
        assert browser.get(f"{controller.url}/api/auth/me", timeout=30).json()["username"] == "lee"
