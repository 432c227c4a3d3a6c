"""Users of the scripted devices: one at the page, and one at the Terminal client, which knows no offsets."""

import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tests.controller import Api, Terminal, terminal_query, until

Kind = Literal["page", "client"]
KINDS: tuple[Kind, ...] = ("page", "client")
# Everything here is known to come; on a busy machine it takes longer.
PATIENCE_SECS = 60


class Person(Terminal):
    """A user at a terminal; `shown` is all that they read there: output, notices and errors in one."""

    def __init__(self, api: Api, kind: Kind, query: dict[str, Any]) -> None:
        self.shown = b""
        self.kind = kind
        super().__init__(api, query | ({"offset": "tail"} if kind == "page" else {}))

    def _take(self, kind: int, payload: bytes) -> None:
        if kind in (0x01, 0x06, 0x09):
            self.shown += payload
        super()._take(kind, payload)

    def sees(self, text: str) -> None:
        self.sees_times(text, 1)

    def sees_times(self, text: str, times: int) -> None:
        until(
            lambda: self.shown.count(text.encode()) >= times or self._over(text.encode()),
            f"{text!r}, {times} times in {self.shown[-2000:]!r}",
            PATIENCE_SECS,
        )

    def _over(self, wanted: bytes) -> bool:
        # What came with the close is looked at before it is called too late.
        assert self.close is None or wanted in self.shown, f"{self.close} before {wanted!r}: {self.shown[-2000:]!r}"
        return False

    def answers(self, question: str, answer: str) -> None:
        """Types an answer once the question is there; the Terminal client sends no key before SessionInfo."""
        self.sees(question)
        assert self.info or self.kind == "page", (
            f"{question!r} was asked before SessionInfo: the client would not send keys"
        )
        self.type(answer + "\r")

    def gives_up(self) -> None:
        """Presses Ctrl+C, which ends the opening; the client's socket stays open and waits for Enter."""
        self.type("\x03")
        if self.kind == "page":
            self.closed()
        else:
            self.sees("Press Enter")

    def resize(self, cols: int, rows: int) -> None:
        self.frame(b"\x02" + cols.to_bytes(2, "big") + rows.to_bytes(2, "big"))

    def pings(self) -> None:
        pongs = self.frames.count(0x04)
        self.frame(b"\x03")
        until(lambda: self.frames.count(0x04) > pongs, "a pong")

    def ends(self, *texts: str) -> None:
        """Its session ends, and says so; the client's socket stays open and waits for Enter."""
        self._stops(4001, *texts)
        if self.kind == "client":
            self.sees("Session ended")

    def is_refused(self, *texts: str) -> None:
        """No session comes of it."""
        self._stops(4002, *texts)

    def _stops(self, code: int, *texts: str) -> None:
        if self.kind == "page":
            close = self.closed(PATIENCE_SECS)
            assert close[0] == code, (close, self.shown[-2000:])
            self.shown += close[1].encode()
        else:
            self.sees("Press Enter")
            self.pings()
        for text in texts:
            assert text.lower() in self.shown.decode(errors="replace").lower(), f"{text!r} in {self.shown[-2000:]!r}"


def meet(api: Api, kind: Kind, device: Any, credential: Any, **query: Any) -> Person:
    """Opens a terminal as the client does, or as the page."""
    return Person(api, kind, terminal_query(device, credential, **query))


@cache
def private_key(key_type: str) -> str:
    """A key of the tests' own, as a credential stores it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", key_type, "-f", str(path)], check=True)
        return path.read_text()
