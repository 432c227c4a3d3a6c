"""A controller whose VALKEY_URL names a wrong server serves alone, and says everywhere what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.acceptance.ha import status
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.valkey import Sentinel, Valkey


@contextmanager
def servers() -> Iterator[tuple[Valkey, Sentinel]]:
    """A Valkey that asks for a password, and a Sentinel."""
    valkey = Valkey("--requirepass", "right").start()
    sentinel = Sentinel(valkey.port).start()
    try:
        yield valkey, sentinel
    finally:
        sentinel.destroy()
        valkey.destroy()


def test_a_wrong_valkey_is_named_and_crashes_nothing(postgres: Postgres) -> None:
    with servers() as (valkey, sentinel):
        for url, told in (
            (sentinel.url, "is a Sentinel, not a Valkey server: set VALKEY_SENTINEL_URL to it"),
            (f"redis://:wrong-secret@127.0.0.1:{valkey.port}/0", "it refuses the password"),
            (valkey.url, "it asks for a password"),
        ):
            check(Controller(postgres.create_database(), VALKEY_URL=url), told)


def check(controller: Controller, told: str) -> None:
    try:
        controller.start(wait_for="degraded")
        api = controller.login()
        until(lambda: told in (status(api)["valkey"]["error"] or ""), "the cause in HA status")
        assert controller.health()["degraded"] == ["valkey"]
        until(lambda: told in controller.log(), "the cause in the log")
        log = controller.log()
        assert "Traceback" not in log
        assert "wrong-secret" not in log + str(status(api))
    finally:
        controller.stop()
