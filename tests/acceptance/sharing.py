"""Viewers and shares, as the clients make them."""

from typing import Any

from tests.acceptance.cluster import come_back
from tests.acceptance.lab import Lab
from tests.controller import Api, Controller, Terminal, until

REFUSED, ENDED, RESTARTING = 4002, 4001, 1012
# A shell that prints nothing of itself, and what makes it count for about a second.
QUIET = "PS1=; stty -echo; echo re''ady\r"
COUNT = "for i in $(seq 1 20); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
COUNTED = b"".join(b"%d\r\n" % number for number in range(1000, 21_000))
WAITING = b"[the session's instance is gone; waiting for its user to reconnect]"
NEW_SHELL = b"[the SSH connection was re-established at "


class Viewer(Terminal):
    """A viewer with a link, logged in only if `api` is given, as on the client's page (docs/protocol.md, 7)."""

    def __init__(self, controller: Controller, token: str, *, api: Api | None = None, **query: str) -> None:
        super().__init__(api or Api(controller), {"share": token, **query}, path="/ws/shared")

    def joined(self) -> "Viewer":
        until(lambda: self.info or self._over(b"SessionInfo"), "SessionInfo")
        return self


def share(terminal: Terminal, **connect_request: Any) -> str:
    """Shares a session; the token."""
    token: str = terminal.api.post(shares_path(terminal), connect_request)["token"]
    return token


def shares_path(terminal: Terminal) -> str:
    return f"/api/sessions/{terminal.info['session_id']}/share"


def watching(terminal: Terminal) -> list[dict[str, Any]]:
    """The viewers, as the session's user sees them."""
    found: list[dict[str, Any]] = terminal.api.get(f"/api/sessions/{terminal.info['session_id']}/viewers")["items"]
    return found


def opened(lab: Lab) -> Terminal:
    """A terminal with a shell that prints nothing by itself."""
    terminal = lab.open()
    terminal.type(QUIET)
    terminal.expect("ready")
    return terminal


def claimed(terminal: Terminal, via: Controller) -> Terminal:
    """The user is back, at the next epoch, with a shell as quiet as the former."""
    again = come_back(terminal, via)
    again.api = again.api.at(via)
    # The screen of the former shell, which says "ready", may be shown first.
    epoch = again.info["epoch"]
    again.type(f"PS1=; stty -echo; echo re''ady-{epoch}\r")
    again.expect(f"ready-{epoch}\r\n")
    return again


def shown(viewer: Viewer) -> bytes:
    """Everything that the viewer's terminal was sent, the device's or not."""
    return viewer.notices if "offset" in viewer.query else viewer.output


def told(viewer: Viewer, text: bytes) -> None:
    until(lambda: text in shown(viewer) or viewer._over(text), f"{text!r} in {shown(viewer)[-300:]!r}")


def is_served(viewer: Viewer) -> None:
    """It is answered, and was not closed."""
    before = viewer.frames.count(0x04)
    viewer.frame(b"\x03")
    until(lambda: viewer.frames.count(0x04) > before or viewer._over(b"a pong"), "a pong")


def goes_on(terminal: Terminal, *viewers: Viewer) -> None:
    """Every byte of the new shell reaches the viewers, on sockets that were never closed."""
    for viewer in viewers:
        told(viewer, NEW_SHELL)
    terminal.type(COUNT)
    for viewer in viewers:
        viewer.expect("20999\r\n")
        assert COUNTED in viewer.output
        assert viewer.info["epoch"] == terminal.info["epoch"] > 1
        assert viewer.info["session_id"] == terminal.info["session_id"]
        assert shown(viewer).count(WAITING) == 1
        assert shown(viewer).count(NEW_SHELL) == 1
        assert 0x06 not in viewer.frames
