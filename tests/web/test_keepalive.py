"""The keepalive checks all attached clients in turn, and goes on when the check of one fails."""

from collections import Counter
from collections.abc import Iterator

import pytest

from netstacks import greenlets
from netstacks.web.ws import keepalive


class Client:
    def __init__(self, name: str, looks: Counter[str], *, fails: bool = False) -> None:
        self._name = name
        self._looks = looks
        self._fails = fails

    def look(self) -> None:
        self._looks[self._name] += 1
        if self._fails:
            raise ValueError("this client's affair")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    # Clients that an earlier test has left behind would keep it running.
    keepalive._due_at.clear()
    monkeypatch.setattr(keepalive, "LOOK_SECS", 0.005)
    monkeypatch.setattr(keepalive, "_ROUND_SECS", 0.001)
    yield Counter()
    keepalive._due_at.clear()


def wait_for(looks: Counter[str], name: str, times: int) -> None:
    while looks[name] < times:
        greenlets.sleep(0.001)


def test_every_client_is_looked_at_again_and_again(looks: Counter[str]) -> None:
    for name in ("a", "b"):
        keepalive.watch(Client(name, looks))
    wait_for(looks, "a", 3)
    wait_for(looks, "b", 3)


def test_a_client_that_fails_keeps_no_other_from_being_looked_at(looks: Counter[str]) -> None:
    keepalive.watch(Client("failing", looks, fails=True))
    keepalive.watch(Client("other", looks))
    wait_for(looks, "other", 3)
    assert looks["failing"] >= 2


def test_a_forgotten_client_is_not_looked_at_and_the_next_one_is(looks: Counter[str]) -> None:
    gone = Client("gone", looks)
    keepalive.watch(gone)
    wait_for(looks, "gone", 1)
    keepalive.remove(gone)
    seen = looks["gone"]
    while keepalive._is_running:
        greenlets.sleep(0.001)
    keepalive.watch(Client("next", looks))
    wait_for(looks, "next", 2)
    assert looks["gone"] == seen
