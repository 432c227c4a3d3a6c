"""Circuits of several instances on a real Valkey: one probe after the cooldown, and what its loss leads to."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netstacks import greenlets
from netstacks.cluster.circuits import Circuit
from netstacks.llm.circuits import Circuits
from netstacks.llm.failures import ProviderTimeout
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry
from tests.controller import ROOT, until
from tests.llm.probing_process import COOLDOWN_SECS, FAILURES, PROVIDER, circuits
from tests.patched import patched
from tests.patience import wait_patiently
from tests.valkey import Valkey

TIMED_OUT = ProviderTimeout("sent nothing")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of this machine fails no call to Valkey; a test that is patched has its own limits."""
    wait_patiently(monkeypatch)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


class Processes:
    """Instances that probe, and the diary that they write."""

    def __init__(self, valkey: Valkey, folder: Path) -> None:
        self._valkey = valkey
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, canary_secs: float) -> None:
        words = ["-m", "tests.llm.probing_process", self._valkey.url, name, str(self._folder), str(canary_secs)]
        self._processes[name] = subprocess.Popen([sys.executable, *words], cwd=ROOT)

    def let_probes_succeed(self) -> None:
        (self._folder / "works").touch()

    def lines(self, *words: str) -> list[tuple[str, str, float]]:
        """The diary's lines with these words, with the name of the instance and the time."""
        diary = self._folder / "diary"
        parts = [line.split() for line in diary.read_text().splitlines()] if diary.exists() else []
        return [(word, name, float(at)) for word, name, at in parts if word in words]

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def end(self) -> None:
        for name in list(self._processes):
            self.kill(name)


@pytest.fixture
def processes(valkey: Valkey, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(valkey, tmp_path)
    yield processes
    processes.end()


def stored(valkey: Valkey) -> Circuit:
    return ValkeyRegistry(connect(valkey.url)).circuits()[1][f"{PROVIDER.id}/m"]


def fail(mine: Circuits) -> None:
    for _ in range(FAILURES):
        mine.circuit_for(PROVIDER, "m").record(TIMED_OUT)
    mine.refresh()


def test_six_processes_send_one_probe_after_each_cooldown(valkey: Valkey, processes: Processes) -> None:
    for number in range(6):
        processes.start(f"w{number}", 0.3)
    until(lambda: len(processes.lines("is_up")) == 6, "the start of all processes", 90)
    me = circuits(valkey.url, "me")
    fail(me)
    assert not me.circuit_for(PROVIDER, "m").is_closed
    until(lambda: len(processes.lines("ends")) >= 2, "the second probe")
    processes.let_probes_succeed()
    until(lambda: stored(valkey).state == "closed", "a probe that succeeds")
    me.refresh()
    assert me.circuit_for(PROVIDER, "m").is_closed
    time.sleep(COOLDOWN_SECS)
    lines = processes.lines("begins", "ends")
    begun, ended = lines[::2], lines[1::2]
    assert [(word, name) for word, name, _ in begun] == [("begins", name) for _, name, _ in ended]
    for (_, _, ended_at), (_, _, next_at) in zip(ended, begun[1:], strict=False):
        assert next_at - ended_at >= COOLDOWN_SECS - 0.05


def test_the_lease_of_a_killed_instance_runs_out_and_another_one_probes(valkey: Valkey, processes: Processes) -> None:
    processes.let_probes_succeed()
    processes.start("dying", 60)
    until(lambda: processes.lines("is_up"), "the start of the process")
    fail(circuits(valkey.url, "me"))
    until(lambda: processes.lines("begins"), "the first probe")
    lease_ends_at = stored(valkey).probe_until
    processes.kill("dying")
    for name in ("x", "y"):
        processes.start(name, 0.1)
    until(lambda: stored(valkey).state == "closed", "the second probe")
    _, (_, name, again_at) = processes.lines("begins")
    assert name in ("x", "y")
    # Both clocks are this host's.
    assert again_at >= lease_ends_at - 0.05


@patched
def test_a_frozen_valkey_holds_up_no_call_and_learns_of_it_later() -> None:
    valkey = Valkey().start()
    try:
        a, b = circuits(valkey.url, "a"), circuits(valkey.url, "b")
        for each in (a, b):
            each.circuit_for(PROVIDER, "m")
            each.refresh()
        valkey.freeze()
        turns = greenlets.spawn("turns", lambda: [greenlets.sleep(0.01) for _ in range(5)])
        for _ in range(FAILURES):
            a.circuit_for(PROVIDER, "m").record(TIMED_OUT)
        assert not a.circuit_for(PROVIDER, "m").is_closed
        a.refresh()
        assert turns.ready()
        assert not a.circuit_for(PROVIDER, "m").is_closed
        assert b.circuit_for(PROVIDER, "m").is_closed
        valkey.thaw()
        wait_patiently(pytest.MonkeyPatch())
        until(lambda: (a.refresh(), b.refresh(), not b.circuit_for(PROVIDER, "m").is_closed)[2], "the news")
        assert stored(valkey).failures == FAILURES
    finally:
        valkey.destroy()


@pytest.mark.parametrize("empty", [False, True])
@patched
def test_open_circuits_outlive_the_loss_of_valkey(empty: bool) -> None:
    wait_patiently(pytest.MonkeyPatch())
    valkey = Valkey().start()
    try:
        a, b = circuits(valkey.url, "a"), circuits(valkey.url, "b")
        for each in (a, b):
            each.circuit_for(PROVIDER, "m")
        a.circuit_for(PROVIDER, "m").trip(600, "maintenance")
        b.refresh()
        open_until = stored(valkey).open_until
        valkey.kill()
        for each in (a, b):
            each.refresh()
            assert not each.circuit_for(PROVIDER, "m").is_closed
        a.circuit_for(PROVIDER, "m").trip(1200, "longer")
        if empty:
            valkey.wipe()
        valkey.start()
        for each in (b, a, b):
            each.refresh()
            assert not each.circuit_for(PROVIDER, "m").is_closed
        assert b.circuit_for(PROVIDER, "m").state().reason == stored(valkey).reason == "longer"
        assert stored(valkey).open_until > open_until + 500
    finally:
        valkey.destroy()
