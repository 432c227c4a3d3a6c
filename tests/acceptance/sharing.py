"""Viewers and shares, as the clients make them."""

from typing import Any

from tests.controller import Api, Controller, Terminal, until

REFUSED, ENDED, RESTARTING = 4002, 4001, 1012
# A shell that prints nothing of itself, and what makes it count for about a second.
QUIET = "PS1=; stty -echo; echo re''ady\r"
COUNT = "for i in $(seq 1 20); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
COUNTED = b"".join(b"%d\r\n" % number for number in range(1000, 21_000))


class Viewer(Terminal):
    """Who has a link, and no log-in unless `api` is given, as the Terminal client's share page (wire contract 7)."""

    def __init__(self, controller: Controller, token: str, *, api: Api | None = None, **query: str) -> None:
        super().__init__(api or Api(controller), {"share": token, **query}, path="/ws/shared")

    def joined(self) -> "Viewer":
        until(lambda: self.info or self._over(b"SessionInfo"), "SessionInfo")
        return self


def share(terminal: Terminal, **wish: Any) -> str:
    """Shares a session; the token."""
    token: str = terminal.api.post(shares_path(terminal), wish)["token"]
    return token


def shares_path(terminal: Terminal) -> str:
    return f"/api/sessions/{terminal.info['session_id']}/share"


def watching(terminal: Terminal) -> list[dict[str, Any]]:
    """Who watches, as the session's user sees it."""
    found: list[dict[str, Any]] = terminal.api.get(f"/api/sessions/{terminal.info['session_id']}/viewers")["items"]
    return found
