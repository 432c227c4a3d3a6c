"""Users and viewers that record what they were sent, and reconnect through any instance after every fault."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.acceptance.lab import Lab
from tests.acceptance.sharing import Viewer, share
from tests.controller import Controller, Terminal
from tests.torture.history import Connection, Told

# The device prints five times a second; a user that hears nothing for so long cuts the connection.
_PATIENCE_SECS = 2
_ATTACH_SECS = 4
_STAY_SECS = 120
# How long most users are away at most, and the share of the others that are away for longer.
_AWAY_SECS, _LONG_AWAY_SHARE = 3, 0.3
# A client looks at its connection more often than after such a pause.
_TICK_SECS, _PAUSE_SECS = 0.05, 0.6
ENDED = 4001
_SESSION_INFO = 0x08


class PauseWatch(threading.Thread):
    """Notices when this process stood still: what it sees right afterwards may have happened meanwhile."""

    def __init__(self) -> None:
        super().__init__(name="pause watch", daemon=True)
        self._awake_at = time.time()
        self._pause = 0.0, 0.0

    def run(self) -> None:
        while True:
            time.sleep(_TICK_SECS)
            now = time.time()
            if now - self._awake_at > _PAUSE_SECS:
                self._pause = self._awake_at, now
            self._awake_at = now

    def earliest(self) -> float:
        """Since when that may be which is seen now."""
        now, awake_at = time.time(), self._awake_at
        began_at, ended_at = (awake_at, now) if now - awake_at > _PAUSE_SECS else self._pause
        return began_at if now - ended_at < _PAUSE_SECS else now


_pauses = PauseWatch()


class Client(threading.Thread):
    """Keeps one connection at a time and notes each, in order; `has_ended` when it was told that the session has."""

    def __init__(self, name: str, session: str, via: Sequence[Controller], seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self.session = session
        self.connections: list[Connection] = []
        self.failure: Exception | None = None
        self.has_ended = False
        self._via = via
        self._random = Random(seed)
        self._stopping = threading.Event()
        self._terminal: Terminal | None = None
        self._asked: tuple[int, int] | None = None
        self._typed: list[int] = []
        self._served_at = 0.0
        self._heard = 0, 0.0
        if not _pauses.is_alive():
            _pauses.start()

    def stop(self) -> None:
        """Ends the client's thread, and waits for its end."""
        self._stopping.set()
        self.join(60)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._live()
                time.sleep(self._random.uniform(0.05, 0.3))
        except Exception as error:
            self.failure = error

    def _live(self) -> None:
        raise NotImplementedError

    def _attach(self, asked: tuple[int, int] | None, dial: Callable[[], Terminal]) -> bool:
        """One attempt. An admitted client records all that comes from then on."""
        try:
            terminal = dial()
        except (InvalidHandshake, ConnectionClosed, OSError):
            return False
        give_up_at = time.monotonic() + _ATTACH_SECS
        while not terminal.info and not terminal.close and time.monotonic() < give_up_at:
            time.sleep(0.02)
        if not terminal.info:
            self._look_for_the_end(terminal)
            cut(terminal)
            return False
        self._begin(terminal, asked)
        return True

    def _begin(self, terminal: Terminal, asked: tuple[int, int] | None) -> None:
        self._terminal, self._asked, self._typed = terminal, asked, []
        self._served_at = time.time()
        self._heard = 0, time.monotonic()

    def _part(self, *, is_last: bool = False, leaves: bool = False) -> None:
        """Cuts the connection and notes what came over it."""
        terminal = self._terminal
        assert terminal is not None
        parted_at = max(self._served_at, _pauses.earliest()) if terminal.close else time.time()
        cut(terminal)
        self._look_for_the_end(terminal)
        self._terminal = None
        self.connections.append(
            Connection(
                client=self._label(),
                session=self.session,
                asked=self._asked,
                epoch=terminal.info["epoch"],
                offset=terminal.info["offset"],
                output=terminal.output,
                notices=terminal.notices,
                typed=tuple(self._typed),
                is_last=is_last,
                leaves=leaves,
                began_at=self._served_at,
                ended_at=parted_at,
            )
        )

    def _label(self) -> str:
        return self.name

    def _look_for_the_end(self, terminal: Terminal) -> None:
        if _is_told_the_end(terminal):
            self.has_ended = True

    def _hears_nothing(self) -> bool:
        assert self._terminal is not None
        now, size = time.monotonic(), len(self._terminal.output)
        if size != self._heard[0]:
            self._heard = size, now
        return now - self._heard[1] > _PATIENCE_SECS

    def _someone(self) -> Controller:
        return self._random.choice(self._via)


def cut(terminal: Terminal) -> None:
    """Cuts the connection; it may be over already, though its reader does not know yet."""
    if not terminal.close:
        with contextlib.suppress(OSError):
            terminal.vanish()


def _is_told_the_end(terminal: Terminal) -> bool:
    return terminal.close is not None and terminal.close[0] == ENDED


class Typist(Client):
    """A session's user: types numbered lines, is cut off, leaves for a while, and comes back where it was.

    Now and then for up to `away_secs`. When the session has ended meanwhile, it opens another one, by another name.
    """

    def __init__(self, number: int, labs: Sequence[Lab], seed: str, *, away_secs: float = _AWAY_SECS) -> None:
        name = f"s{number}"
        super().__init__(name, name, [lab.api.controller for lab in labs], seed)
        self._labs = labs
        self._away_secs = away_secs
        self._names = (f"{name}-{count}" for count in itertools.count(2))
        self._number = 0
        self._epoch_of_shell = 0
        # By the name that it goes by in diaries.
        self.session_ids: dict[str, str] = {}
        self.windows: list[Window] = []
        self.told: list[Told] = []
        self._adopt(labs[number % len(labs)].open(term=name, epoch=0, offset=0))

    def _adopt(self, terminal: Terminal) -> None:
        self._begin(terminal, (0, 0))
        self._first = terminal
        self._epoch_of_shell = 0
        self.session_ids[self.session] = terminal.info["session_id"]

    @property
    def is_attached(self) -> bool:
        terminal = self._terminal
        return terminal is not None and terminal.close is None

    def share(self) -> str:
        """A link for viewers."""
        return share(self._first)

    def _label(self) -> str:
        return self.session

    def _live(self) -> None:
        terminal = self._terminal
        if self.has_ended and terminal is None:
            self._start_anew()
        elif terminal is None:
            self._return()
        elif terminal.close or self._hears_nothing():
            self._part()
        elif self._random.random() < 0.02:
            self._part()
            self._stay_away()
        elif self._sees_shell(terminal):
            self._number += 1
            # Noted first: it may arrive though we are told of an error.
            self._typed.append(self._number)
            self._say(terminal, str(self._number))

    def _stay_away(self) -> None:
        long = self._away_secs > _AWAY_SECS and self._random.random() < _LONG_AWAY_SHARE
        self._stopping.wait(self._random.uniform(0, self._away_secs if long else _AWAY_SECS))

    def _sees_shell(self, terminal: Terminal) -> bool:
        """Whether this epoch's shell is there to read: what is typed before might be echoed.

        Its first line may have left the screen before we came back; the lines that follow tell as much.
        """
        if b"shell " in terminal.output or b"line " in terminal.output:
            self._epoch_of_shell = terminal.info["epoch"]
        return bool(terminal.info["epoch"] == self._epoch_of_shell)

    def _say(self, terminal: Terminal, line: str) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            terminal.type(line + "\r")

    def _look_for_the_end(self, terminal: Terminal) -> None:
        if _is_told_the_end(terminal):
            self.has_ended = True
            assert terminal.close is not None
            self.told.append(Told(self.session, time.time(), (terminal.errors or [terminal.close[1]])[-1]))

    def _start_anew(self) -> None:
        """A name is used once: what became of a try that failed is not known."""
        self.session = next(self._names)
        lab = self._random.choice(self._labs)
        connect_request = {"term": self.session, "epoch": 0, "offset": 0}
        if self._attach((0, 0), lambda: lab.api.open(lab.device, lab.credential, **connect_request)):
            assert self._terminal is not None
            self._adopt(self._terminal)
            self.has_ended = False

    def _return(self) -> None:
        """Through any instance; now and then through another at the same time, as from two windows."""
        last = self.connections[-1]
        asked = last.epoch, last.offset + len(last.output)
        via, another = self._random.sample(self._via, 2)
        window = None
        if self._random.random() < 0.5 and not self._stopping.is_set():
            name = f"{self.session}, window {len(self.windows) + 1}"
            window = Window(name, self.session, asked, lambda: self._dial(another, asked))
            self.windows.append(window)
            window.start()
        if self._attach(asked, lambda: self._dial(via, asked)):
            assert self._terminal is not None
            assert self._terminal.info["session_id"] == self.session_ids[self.session], "another session"
        if window is not None:
            window.join()

    def _dial(self, via: Controller, asked: tuple[int, int]) -> Terminal:
        return self._first.again(via, epoch=asked[0], offset=asked[1])

    def leave(self) -> None:
        """Goes away for good and without a word, if it has got anything to leave."""
        if self._terminal is not None:
            self._part(leaves=not self._terminal.close)

    @property
    def has_left(self) -> bool:
        return bool(self.connections and self.connections[-1].leaves)

    def finish(self) -> None:
        """Comes back if need be, says goodbye, and sees the end of the session."""
        give_up_at = time.monotonic() + _STAY_SECS
        while not (self.has_ended or self.has_left) and time.monotonic() < give_up_at:
            if self._terminal is None:
                self._return()
            elif self._sees_shell(self._terminal):
                self._say(self._terminal, "bye")
                self._wait_for_close(self._terminal)
            elif self._hears_nothing():
                self._part()
            time.sleep(0.1)

    def _wait_for_close(self, terminal: Terminal) -> None:
        give_up_at = time.monotonic() + _ATTACH_SECS
        while not terminal.close and time.monotonic() < give_up_at:
            time.sleep(0.02)
        self._part(is_last=_is_told_the_end(terminal))


class Window(Client):
    """A second window of the same user: the one try that it makes may take the session over; it looks on and closes."""

    def __init__(self, name: str, session: str, asked: tuple[int, int], dial: Callable[[], Terminal]) -> None:
        super().__init__(name, session, [], name)
        self._place, self._dial = asked, dial

    def _live(self) -> None:
        self._stopping.set()
        if self._attach(self._place, self._dial):
            assert self._terminal is not None
            give_up_at = time.monotonic() + 1
            while not self._terminal.close and time.monotonic() < give_up_at:
                time.sleep(0.02)
            self._part()


class _View(Viewer):
    """Its socket stays while the session changes owners. Each tells where it begins; `former` is what was before."""

    def __init__(self, *given: Any, **query: str) -> None:
        self.former: list[tuple[dict[str, Any], bytes, bytes]] = []
        super().__init__(*given, **query)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _SESSION_INFO and self.info:
            self.former.append((self.info, self.output, self.notices))
            self.output = self.notices = b""
        super()._take(kind, payload)


class Watcher(Client):
    """A viewer with a link: it sees the output from the moment of joining until the session has ended."""

    def __init__(self, name: str, session: str, link: str, via: Sequence[Controller], seed: str) -> None:
        super().__init__(name, session, via, seed)
        self._link = link

    def _live(self) -> None:
        if self._terminal is None:
            if not self.has_ended:
                self._attach(None, lambda: _View(self._someone(), self._link, offset="0"))
        elif self._terminal.close or self._hears_nothing():
            self._part()

    def _part(self, *, is_last: bool = False, leaves: bool = False) -> None:
        view = self._terminal
        assert isinstance(view, _View)
        super()._part(is_last=is_last, leaves=leaves)
        last = self.connections.pop()
        self.connections += [
            replace(last, epoch=info["epoch"], offset=info["offset"], output=output, notices=notices, is_last=False)
            for info, output, notices in view.former
        ]
        self.connections.append(last)
