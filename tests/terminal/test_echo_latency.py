"""The echo latency: which keys and which output it takes, and the histogram that it goes into."""

import time
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest

from netstacks.terminal import echo_latency
from netstacks.terminal.attachment import Kind
from netstacks.terminal.echo_latency import EchoLatency
from netstacks.terminal.quick_metrics import QuickCounter, QuickHistogram
from tests.terminal.test_session import Room
from tests.waits import until


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The latencies in seconds, in order."""
    found: list[float] = []
    monkeypatch.setattr(echo_latency.ECHO_LATENCY, "observe", found.append)
    return found


def exposed(name: str) -> float:
    found = REGISTRY.get_sample_value(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keys", "sent", "latencies"),
    [
        ([(1, 100)], [(1.2, 101)], [0.2]),
        # Output that is older than the key, to a slow client.
        ([(1, 100)], [(1.1, 90), (1.2, 100), (1.5, 101)], [0.5]),
        # Of keys in quick succession the first is measured.
        ([(1, 100), (1.3, 100), (1.6, 100)], [(1.7, 101)], [0.7]),
        # A password has no echo; the key that ends it has one.
        ([(1, 100), (2, 100), (4, 100)], [(4.1, 101)], [0.1]),
        # A message of the device, long after a key without an echo.
        ([(1, 100)], [(61, 200)], []),
        ([], [(1.2, 101)], []),
    ],
    ids=["echo", "older output", "quick keys", "password", "message", "no key"],
)
def test_the_right_key_and_output_are_measured(
    keys: list[tuple[float, int]],
    sent: list[tuple[float, int]],
    latencies: list[float],
    observed: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    echo = EchoLatency()
    for at, offset in keys:
        echo.typed(at, offset)
    for now, offset in sent:
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        echo.sent(offset)
    assert observed == pytest.approx(latencies)


def test_a_key_is_measured_once(observed: list[float]) -> None:
    echo = EchoLatency()
    echo.typed(time.monotonic(), 0)
    echo.sent(1)
    echo.sent(2)
    assert len(observed) == 1


def test_a_session_measures_the_keys_of_its_user_and_counts_the_bytes(room: Room, observed: list[float]) -> None:
    _, control = room.attach()
    _, viewer = room.attach(Kind.VIEWER)
    typed, printed = exposed("netstacks_client_bytes_total"), exposed("netstacks_device_bytes_total")
    control.heard()
    room.session.input(control, b"k")
    room.device.says(b"k")
    until(lambda: observed, "the echo")
    viewer.heard()
    room.session.input(viewer, b"vv")
    room.device.says(b"vv")
    until(lambda: viewer.cursor == 3, "the other output")
    assert len(observed) == 1
    assert 0 <= observed[0] < 30
    assert exposed("netstacks_client_bytes_total") == typed + 3
    assert exposed("netstacks_device_bytes_total") == printed + 3


def test_a_slow_terminal_is_measured_when_it_is_served(room: Room, observed: list[float]) -> None:
    client, control = room.attach()
    client.stops_reading()
    room.device.says(b"before")
    until(lambda: room.session.output.end == 6, "older output")
    control.heard()
    room.session.input(control, b"k")
    room.device.says(b"k")
    until(lambda: room.session.output.end == 7, "the echo in the log")
    assert observed == []
    client.reads_on()
    until(lambda: control.cursor == 7, "the rest")
    assert len(observed) == 1


def test_quick_metrics_are_exposed_as_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    monkeypatch.setattr("netstacks.terminal.quick_metrics.REGISTRY", ours)
    bounds = (0.001, 0.5, 1.0)
    histogram, quick = Histogram("h", "text", buckets=bounds, registry=theirs), QuickHistogram("h", "text", bounds)
    for value in (0.0, 0.001, 0.0011, 0.5, 0.7, 1.0, 99.0):
        histogram.observe(value)
        quick.observe(value)
    without_created = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == without_created
    counter = QuickCounter("c", "text")
    counter.value += 5
    assert "c_total 5.0" in generate_latest(ours).decode()
