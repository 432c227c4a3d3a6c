import socket

import pytest

from tests import ports
from tests.ports import free_port


def test_no_port_is_chosen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # From the beginning: the tests before may have chosen nearly all.
    monkeypatch.setattr(ports, "_left", [])
    chosen = [free_port() for _ in range(1000)]
    assert len(set(chosen)) == len(chosen)


def test_a_port_that_another_address_listens_on_is_not_free() -> None:
    taken = free_port()
    free = free_port()
    with socket.create_server(("127.0.0.7", taken)):
        ports._left += [free, taken]
        assert free_port() == free
