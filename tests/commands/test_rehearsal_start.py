"""An instance on a restored database that does not become healthy is reported with the reason."""

import pytest

from netstacks.commands import rehearsal_start
from netstacks.errors import InvalidInput
from tests.controller import JWT_SECRET, MASTER_KEY
from tests.ports import free_port


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_MASTER_KEY", MASTER_KEY)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)


def test_an_instance_that_is_not_healthy_in_time_is_reported_with_its_health(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = rehearsal_start._health

    def health(port: int) -> tuple[str, str]:
        """Its time is over as soon as it has told its health, however long the start takes."""
        status, answer = ask(port)
        if status == "unhealthy":
            monkeypatch.setattr(rehearsal_start, "_START_SECS", 0.0)
        return status, answer

    monkeypatch.setattr(rehearsal_start, "_health", health)
    with pytest.raises(InvalidInput, match=r"is not healthy: .*unhealthy"):
        rehearsal_start.start(f"postgresql://127.0.0.1:{free_port()}/none")


def test_an_instance_that_ends_is_reported_with_its_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")
    with pytest.raises(InvalidInput, match=r"(?s)ends with 2.*JWT_SECRET"):
        rehearsal_start.start("postgresql://127.0.0.1/none")
