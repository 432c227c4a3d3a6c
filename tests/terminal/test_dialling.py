"""Dialling: the first address that answers wins, every failure is told in words, and nothing is left behind.

The names are of a table, since no test may depend on name servers; sockets, threads and time limits are real.
"""

import _socket
import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable, OpeningAbandoned
from netstacks.terminal import dialling, lookup
from netstacks.terminal.dialling import dial
from netstacks.terminal.lookup import Address
from tests.patched import patched
from tests.processes import sockets_and_pipes

# No test reaches this limit: it makes a hanging test fail.
LIMIT_SECS = 20.0
V4, V6 = socket.AF_INET, socket.AF_INET6


class Silence:
    """Silent name servers until `end`. A pipe, because gevent replaces the other things that a thread can wait for."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def wait(self) -> None:
        os.read(self._reader, 1)

    def end(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
        self._writer = -1

    def close(self) -> None:
        os.close(self._reader)


@contextlib.contextmanager
def names(table: dict[str, list[str] | OSError | Silence]) -> Iterator[list[str]]:
    """Name servers that know `table`: addresses, an error, or silence.

    Yields the names that were asked for. Silent ones answer at the end.
    """
    asked: list[str] = []

    def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(name)
        answer = table[name]
        if isinstance(answer, Silence):
            answer.wait()
            answer = ["127.0.0.1"]
        if isinstance(answer, OSError):
            raise answer
        return [
            (V6, socket.SOCK_STREAM, 6, "", (text, 0, 0, 0))
            if ":" in text
            else (V4, socket.SOCK_STREAM, 6, "", (text, 0))
            for text in answer
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_socket, "getaddrinfo", getaddrinfo)
        try:
            yield asked
        finally:
            silences = [answer for answer in table.values() if isinstance(answer, Silence)]
            for silence in silences:
                silence.end()
            while lookup._running:
                greenlets.sleep(0.01)
            for silence in silences:
                silence.close()


class Place:
    """One port of this machine: it is served at 127.0.0.1, and connections to `dead` are never answered."""

    dead = "127.0.0.2"

    def __enter__(self) -> "Place":
        self.live = socket.create_server(("127.0.0.1", 0))
        self.port = self.live.getsockname()[1]
        # The kernel drops what comes when the queue of a listener is full.
        self._full = socket.create_server((self.dead, self.port), backlog=0)
        self._queued = socket.create_connection((self.dead, self.port))
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self.live, self._queued, self._full):
            sock.close()


@pytest.fixture
def place() -> Iterator[Place]:
    with Place() as place:
        yield place


def stays() -> bool:
    return False


def after(calls: int) -> Callable[[], bool]:
    """A client that leaves at the given call."""
    left = iter([False] * calls)
    return lambda: next(left, True)


def connects_to_the_living(place: Place, host: str) -> None:
    before = sockets_and_pipes()
    with dial(host, place.port, timeout_secs=LIMIT_SECS, is_abandoned=stays) as sock:
        assert len(sockets_and_pipes() - before) == 1
        assert sock.getpeername() == ("127.0.0.1", place.port)
        assert sock.gettimeout() == 0.0


def test_a_dead_address_does_not_keep_the_next_one_waiting(place: Place) -> None:
    # The limit is shorter than what one dead address after the other would take: the kernel tries one for minutes.
    with names({"r1": [place.dead, "127.0.0.1"]}):
        sock = dial("r1", place.port, timeout_secs=LIMIT_SECS, is_abandoned=stays)
    with sock:
        assert sock.getpeername() == ("127.0.0.1", place.port)


@pytest.mark.parametrize(
    "first", [["127.0.0.2"], ["127.0.0.3"], ["2001:db8::1"], ["127.0.0.2", "127.0.0.3", "::1"], []]
)
def test_the_address_that_answers_wins_and_nothing_else_stays_open(place: Place, first: list[str]) -> None:
    with names({"r1": [*first, "127.0.0.1"]}):
        connects_to_the_living(place, "r1")


@patched
def test_the_address_that_answers_wins_in_a_worker() -> None:
    with Place() as place, names({"r1": [place.dead, "127.0.0.3", "127.0.0.1"]}):
        connects_to_the_living(place, "r1")


def test_one_of_two_addresses_that_answer_at_once_stays_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_SECS", 0.0)
    with socket.create_server(("127.0.0.4", place.port)), names({"r1": ["127.0.0.4", "127.0.0.1"]}):
        before = sockets_and_pipes()
        with dial("r1", place.port, timeout_secs=LIMIT_SECS, is_abandoned=stays):
            assert len(sockets_and_pipes() - before) == 1


def test_the_families_take_turns() -> None:
    addresses = [
        Address(V6, "::1"),
        Address(V6, "::2"),
        Address(V6, "::3"),
        Address(V4, "1.1.1.1"),
        Address(V4, "1.1.1.2"),
    ]
    turns = [address.text for address in dialling._interleaved(addresses)]
    assert turns == ["::1", "1.1.1.1", "::2", "1.1.1.2", "::3"]


def test_an_address_is_dialled_without_name_servers(place: Place) -> None:
    with names({}) as asked:
        connects_to_the_living(place, "127.0.0.1")
    assert asked == []


def test_a_name_of_this_machine_is_found_by_the_system_itself(place: Place) -> None:
    connects_to_the_living(place, "localhost")


def test_an_address_that_refuses_is_told(place: Place) -> None:
    with pytest.raises(DeviceUnreachable) as told:
        dial("127.0.0.3", place.port, timeout_secs=LIMIT_SECS, is_abandoned=stays)
    assert str(told.value) == f"127.0.0.3:{place.port} cannot be reached: Connection refused"


def test_each_address_and_its_reason_are_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def stays_for_a_while() -> bool:
        """Time passes with each question, and so not while this machine pauses."""
        nonlocal now
        now += 0.1
        return False

    monkeypatch.setattr(dialling, "time", SimpleNamespace(monotonic=lambda: now))
    before = sockets_and_pipes()
    with names({"xn--mnchen-3ya": ["127.0.0.3", place.dead, "127.0.0.4"]}), pytest.raises(DeviceUnreachable) as told:
        dial("xn--mnchen-3ya", place.port, timeout_secs=1.5, is_abandoned=stays_for_a_while)
    assert str(told.value) == (
        f"münchen:{place.port} cannot be reached: Connection refused (127.0.0.3, 127.0.0.4); no answer (127.0.0.2)"
    )
    assert sockets_and_pipes() <= before


def test_some_of_many_addresses_are_named(place: Place) -> None:
    many = [f"127.0.1.{number}" for number in range(1, 13)]
    with names({"r1": many}), pytest.raises(DeviceUnreachable) as told:
        dial("r1", place.port, timeout_secs=LIMIT_SECS, is_abandoned=stays)
    assert str(told.value).endswith("127.0.1.8); and 4 more addresses")


def test_a_client_that_leaves_ends_the_dial_and_leaves_no_socket(place: Place) -> None:
    before = sockets_and_pipes()
    with names({"r1": [place.dead]}), pytest.raises(OpeningAbandoned):
        dial("r1", place.port, timeout_secs=LIMIT_SECS, is_abandoned=after(3))
    assert sockets_and_pipes() <= before


def test_a_connection_that_is_made_while_the_client_leaves_is_closed(place: Place) -> None:
    place.live.settimeout(LIMIT_SECS)

    def leaves() -> bool:
        while not select.select([place.live], [], [], 0)[0]:
            greenlets.sleep(0.01)
        greenlets.sleep(0.05)
        return True

    before = sockets_and_pipes()
    with pytest.raises(OpeningAbandoned) as told:
        dial("127.0.0.1", place.port, timeout_secs=LIMIT_SECS, is_abandoned=leaves)
    # The traceback keeps every object of the dial, so that no socket is closed only because it is forgotten.
    assert told.tb is not None
    assert sockets_and_pipes() <= before
    with place.live.accept()[0] as accepted:
        assert accepted.recv(1) == b""


# Names


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "there is no such name"),
        (socket.gaierror(socket.EAI_NODATA, "No address"), "it has no address"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the name servers do not answer, or have failed"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "Non-recoverable failure"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(error: OSError, why: str) -> None:
    with names({"r1": error}), pytest.raises(DeviceUnreachable, match=f"the name r1 cannot be resolved: {why}"):
        dial("r1", 22, timeout_secs=LIMIT_SECS, is_abandoned=stays)


def test_a_name_of_other_letters_is_told_in_both_forms() -> None:
    with names({"xn--mnchen-3ya": []}), pytest.raises(DeviceUnreachable) as told:
        dial("xn--mnchen-3ya", 22, timeout_secs=LIMIT_SECS, is_abandoned=stays)
    assert str(told.value) == "the name münchen (xn--mnchen-3ya) cannot be resolved: it has no address"


def test_silent_name_servers_are_waited_for_so_long_and_no_longer() -> None:
    with names({"r1": Silence()}), pytest.raises(DeviceUnreachable, match=r"have not answered within 0\.5 s"):
        dial("r1", 22, timeout_secs=0.5, is_abandoned=stays)


def test_a_client_that_leaves_does_not_wait_for_name_servers() -> None:
    with names({"r1": Silence()}), pytest.raises(OpeningAbandoned):
        dial("r1", 22, timeout_secs=LIMIT_SECS, is_abandoned=after(2))


def _silent_names_hold_up_nothing_else() -> None:
    silent = {f"r{number}": Silence() for number in range(31)}
    with Place() as place, names({**silent, "well": ["127.0.0.1"], "r31": Silence()}):
        dials = [greenlets.spawn(f"dial-{name}", _fails, name) for name in silent]
        # All threads of `in_thread` are free, and one for names is.
        assert greenlets.in_thread(sum, [1, 2]) == 3
        connects_to_the_living(place, "well")
        dials.append(greenlets.spawn("dial-r31", _fails, "r31"))
        greenlets.sleep(0)
        assert "have not answered 32 other lookups yet" in _fails("well")
        # A dial to a name that is being looked up shares that lookup.
        assert "have not answered within 0.1 s" in _fails("r1", timeout_secs=0.1)
        for silence in silent.values():
            silence.end()
        greenlets.joinall(dials[:-1])
        connects_to_the_living(place, "well")


def _fails(name: str, timeout_secs: float = LIMIT_SECS) -> str:
    with pytest.raises(DeviceUnreachable) as told:
        dial(name, 1, timeout_secs=timeout_secs, is_abandoned=stays)
    return str(told.value)


def test_silent_names_hold_up_nothing_else() -> None:
    _silent_names_hold_up_nothing_else()


@patched
def test_silent_names_hold_up_nothing_else_in_a_worker() -> None:
    _silent_names_hold_up_nothing_else()


def test_concurrent_dials_of_one_name_share_its_lookup() -> None:
    answer = Silence()
    with Place() as place, names({"r1": answer}) as asked:
        dials = [greenlets.spawn("dial", connects_once, place) for _ in range(5)]
        greenlets.sleep(0)
        answer.end()
        greenlets.joinall(dials)
        assert all(each.successful() for each in dials)
        assert asked == ["r1"]
        connects_once(place)
        assert asked == ["r1", "r1"]


def connects_once(place: Place) -> None:
    dial("r1", place.port, timeout_secs=LIMIT_SECS, is_abandoned=stays).close()


# Zones


def test_a_zone_is_the_number_of_its_interface() -> None:
    number = socket.if_nametoindex("lo")
    for host in ("fe80::1%lo", f"fe80::1%{number}"):
        address = lookup.literal(host)
        assert address is not None
        assert (address.family, address.at(22)) == (V6, ("fe80::1", 22, 0, number))


def test_a_zone_that_this_machine_does_not_have_is_told() -> None:
    with pytest.raises(DeviceUnreachable, match="the zone nowhere0 is not an interface"):
        dial("fe80::1%nowhere0", 22, timeout_secs=LIMIT_SECS, is_abandoned=stays)


def test_a_link_local_address_without_a_zone_is_told() -> None:
    with pytest.raises(
        DeviceUnreachable, match=r"\[fe80::1\]:22 cannot be reached: a link-local address needs its zone"
    ):
        dial("fe80::1", 22, timeout_secs=LIMIT_SECS, is_abandoned=stays)
