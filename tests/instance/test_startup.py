"""An instance that cannot start says why, and starts by itself once the cause is gone."""

from collections.abc import Callable

import psycopg
import pytest

from netstacks import greenlets
from netstacks.errors import StoreDenied
from netstacks.instance import startup as module
from netstacks.instance.startup import Startup
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from tests.waits import until

KEY = "5e" * 32


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_MISFIT_SECS", 0.05)


def begin(database: Database, prepare: Callable[[], None] = lambda: None) -> tuple[Startup, greenlets.Event]:
    ready = greenlets.Event()
    startup = Startup(database, Vault(database, KEY), prepare=prepare, on_ready=ready.set)
    startup.start()
    return startup, ready


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreDenied("permission denied for schema public"), "CREATE on the schema public"),
        (psycopg.errors.UndefinedFunction("no such function"), "PostgreSQL refuses a statement"),
        (ZeroDivisionError(), "an unexpected error"),
    ],
)
def test_each_failure_is_named_and_tried_again(database: Database, error: Exception, said: str) -> None:
    errors = [error]
    mended = greenlets.Event()

    def prepare() -> None:
        if not mended.is_set():
            raise errors[0]

    startup, ready = begin(database, prepare)
    assert said in until(lambda: startup.problem, "a problem")
    assert not startup.background.has_died
    mended.set()
    assert ready.wait(30)
    assert (startup.ready, startup.problem) == (True, None)
