"""The memory of a terminal is freed at once, however it ended: nothing is left to the garbage collector."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.lab import Lab, make_lab
from tests.controller import ROOT, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd

_ROUNDS = 3


class ProbedController(Controller):
    """A controller whose worker collects no garbage, and reports the objects that only a collection would free."""

    def launch(self) -> "ProbedController":
        self.environ["GARBAGE_SOCKET"] = str(Path(self.environ["SPOOL_DIR"]) / "garbage")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "tests" / "garbage_probe.py")],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def garbage(self) -> list[str]:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.environ["GARBAGE_SOCKET"])
            names: list[str] = json.loads(b"".join(iter(lambda: probe.recv(65536), b"")))
        return names


@pytest.fixture(scope="module")
def probed(postgres: Postgres) -> Iterator[ProbedController]:
    short = {"SESSION_DETACH_TTL_SECS": "10", "SESSION_CLOSE_GRACE_SECS": "1", "HA_HEARTBEAT_INTERVAL_SECS": "1"}
    controller = ProbedController(postgres.create_database(), **short)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def lab(probed: ProbedController, sshd: Sshd) -> Lab:
    return make_lab(probed.login(), sshd)


def _no_sessions(lab: Lab) -> bool:
    return not lab.api.get("/api/sessions?state=live")["items"]


def _exits(lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("exit\r")
    terminal.closed()


def _leaves(lab: Lab) -> None:
    terminal = lab.open()
    terminal.type("echo se''en\r")
    terminal.expect("seen")
    terminal.leave()


def _vanishes(lab: Lab) -> None:
    lab.open().vanish()


def _comes_back(lab: Lab) -> None:
    terminal = lab.open()
    terminal.vanish()
    terminal.again().connected().leave()


def _stays_after_the_end(lab: Lab) -> None:
    terminal = lab.open()
    terminal.type("exit\r")
    terminal.ended()
    terminal.type("\r")
    until(lambda: terminal.frames.count(0x07) == 2, "another session")
    terminal.type("exit\r")
    terminal.ended()
    terminal.leave()


def _is_refused(lab: Lab) -> None:
    wrong = lab.api.add_credential(lab.credential["username"], "a wrong password")
    terminal = lab.api.open(lab.device, wrong)
    terminal.refused()
    terminal.leave()


def _asks_over_http(lab: Lab) -> None:
    lab.api.get("/api/sessions?state=live")


@pytest.mark.parametrize(
    "act", [_exits, _leaves, _vanishes, _comes_back, _stays_after_the_end, _is_refused, _asks_over_http]
)
def test_nothing_is_left_to_the_garbage_collector(
    probed: ProbedController, lab: Lab, act: Callable[[Lab], None]
) -> None:
    act(lab)  # Once before, for objects that are made only once.
    until(lambda: _no_sessions(lab), "the end of the session", 90)
    probed.garbage()
    for _ in range(_ROUNDS):
        act(lab)
    until(lambda: _no_sessions(lab), "the end of the sessions", 90)
    assert probed.garbage() == []
