"""Many sessions that are opened one after the other and end all at once."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.acceptance.lab import Lab
from tests.controller import Terminal
from tests.torture.clients import ENDED, cut
from tests.torture.history import Connection

# More log in at a device at once only wait for their turn.
_AT_ONCE = 6
# To be let in, to see the shell, and to be told the end, on a busy machine.
_OPEN_SECS, _SHELL_SECS, _END_SECS = 10, 10, 40
# Their shells say nothing but what they are asked: see `device`.
PREFIX = "crowd"
_numbers = itertools.count(1)


class Crowd:
    """Each member has a session, under a name that is used once."""

    def __init__(self, lab: Lab) -> None:
        self.session_ids: dict[str, str] = {}
        self.connections: list[Connection] = []
        self._lab = lab
        self._name = f"{PREFIX}{next(_numbers)}"
        self._members: dict[str, tuple[Terminal, float]] = {}

    def gather(self, size: int, secs: float) -> None:
        """As many as come in within the time, and up to `size`."""
        give_up_at = time.monotonic() + secs
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for number in range(size):
                pool.submit(self._come, f"{self._name}-{number}", give_up_at)

    def _come(self, name: str, give_up_at: float) -> None:
        if time.monotonic() > give_up_at:
            return
        try:
            terminal = self._lab.api.open(self._lab.device, self._lab.credential, term=name, epoch=0, offset=0)
        except (InvalidHandshake, ConnectionClosed, OSError):
            return
        _wait(lambda: bool(terminal.info and terminal.token) or terminal.close is not None, _OPEN_SECS)
        if terminal.info:
            self._members[name] = terminal, time.time()
            self.session_ids[name] = terminal.info["session_id"]
        else:
            cut(terminal)

    def end(self) -> None:
        """All say goodbye and see the end."""
        terminals = [terminal for terminal, _ in self._members.values()]
        # What is typed before would be echoed, which is not in the shell's diary.
        _wait(lambda: all(b"shell " in each.output or each.close for each in terminals), _SHELL_SECS)
        threads = [threading.Thread(target=_say_bye, args=(each,)) for each in terminals]
        for thread in threads:
            thread.start()
        _wait(lambda: all(each.close for each in terminals), _END_SECS)
        for name, (terminal, served_at) in self._members.items():
            is_last = terminal.close is not None and terminal.close[0] == ENDED
            cut(terminal)
            self.connections.append(
                Connection(
                    client=name,
                    session=name,
                    asked=(0, 0),
                    epoch=terminal.info["epoch"],
                    offset=terminal.info["offset"],
                    output=terminal.output,
                    notices=terminal.notices,
                    is_last=is_last,
                    began_at=served_at,
                    ended_at=time.time(),
                )
            )


def _say_bye(terminal: Terminal) -> None:
    with contextlib.suppress(ConnectionClosed, OSError):
        terminal.type("bye\r")


def _wait(condition: Callable[[], bool], secs: float) -> None:
    give_up_at = time.monotonic() + secs
    while not condition() and time.monotonic() < give_up_at:
        time.sleep(0.05)
