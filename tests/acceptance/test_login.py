"""Log-ins on a whole controller: what only a real server with many clients can show."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.controller import ADMIN, Api, Controller, until
from tests.postgres import Postgres


@pytest.fixture
def own_controller(own_postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(own_postgres.create_database()).start()
    yield controller
    controller.stop()


def renew(api: Api) -> str:
    body = api.call("POST", "/api/auth/refresh", json={"refresh_token": api.refresh_token}, expect=200)
    return str(body["refresh_token"])


def test_a_refresh_does_not_wait_for_a_frozen_database(own_controller: Controller, own_postgres: Postgres) -> None:
    api = own_controller.login()
    own_postgres.freeze()
    try:
        with ThreadPoolExecutor(20) as clients:
            assert set(clients.map(lambda _: renew(api), range(20))) == {api.refresh_token}
    finally:
        own_postgres.thaw()
    until(lambda: renew(api) != api.refresh_token, "the next refresh token")


def test_a_burst_of_guesses_is_stopped_at_ten(own_controller: Controller) -> None:
    def guess(number: int) -> int:
        body = {"username": ADMIN[0], "password": f"guess {number}"}
        return requests.post(f"{own_controller.url}/api/auth/login", json=body, timeout=30).status_code

    with ThreadPoolExecutor(30) as clients:
        assert Counter(clients.map(guess, range(30))) == {401: 10, 429: 20}
