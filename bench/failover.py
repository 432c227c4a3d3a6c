"""Records a failover for the README: `python -m bench.failover` writes docs/failover.cast and docs/failover.svg.

A terminal of `make cluster`: the instance that owns it is killed while its user types, and the terminal goes on.
"""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import failover_picture
from netstacks.demo import ROUTER_NAME
from netstacks.demo.cluster import DemoCluster
from netstacks.demo.folder import Folder
from netstacks.demo.seed import seed
from tests.controller import ROOT, Api, Controller, Terminal, until

CAST, PICTURE = ROOT / "docs/failover.cast", ROOT / "docs/failover.svg"
COLS, ROWS = 94, 18
_KEY_SECS, _LOOK_SECS = 0.09, 1.5
_RESET = b"\x1bc"


class Cast:
    """An asciicast v2. What the terminal shows are its events; what happens around it are its markers."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._events: list[tuple[float, str, str]] = []

    def note(self, kind: str, text: str) -> None:
        self._events.append((round(time.monotonic() - self._began_at, 3), kind, text))

    def write(self, path: Path) -> None:
        header = {"version": 2, "width": COLS, "height": ROWS, "title": "A failover"}
        path.write_text("".join(f"{json.dumps(each)}\n" for each in (header, *self._events)))


class Filmed(Terminal):
    """A terminal whose screen is recorded as our own page would show it."""

    def __init__(self, cast: Cast, api: Api, query: dict[str, object], *, former_epoch: int = 0) -> None:
        self._cast = cast
        self._former_epoch = former_epoch
        super().__init__(api, query)

    def _take(self, kind: int, payload: bytes) -> None:
        super()._take(kind, payload)
        if kind == 0x08 and self._former_epoch not in (0, self.info["epoch"]):
            self._cast.note("o", _RESET.decode())
        if kind in (0x01, 0x09):
            self._cast.note("o", payload.decode())

    def types(self, text: str, answer: str) -> None:
        """Types as a person does, and waits until the device has answered."""
        seen = len(self.output)
        for key in text:
            self.type(key)
            time.sleep(_KEY_SECS)
        self.type("\r")
        until(lambda: answer.encode() in self.output[seen + len(text) :], answer)
        time.sleep(_LOOK_SECS)


class Address(Controller):
    """An instance, or the load balancer, of the demo."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.port = int(self.url.rpartition(":")[2])


def record(cluster: DemoCluster, cast: Cast) -> None:
    username, password = cluster.settings.bootstrap_admin_username, cluster.settings.bootstrap_admin_password or ""
    seed(cluster.instances[0].url, username, password, cluster.device_port, cluster.key_file)
    api = Address(cluster.address).login(username, password)
    (device,) = [each for each in api.get("/api/devices/browse")["items"] if each["name"] == ROUTER_NAME]
    query = {"session_id": f"device-{device['id']}", "cols": COLS, "rows": ROWS, "term": "xterm-256color"}
    cast.note("m", "connected")
    terminal = Filmed(cast, api, {**query, "epoch": 0, "offset": 0})
    terminal.connected().expect(f"{ROUTER_NAME}#")
    terminal.types("sh ip int br", f"{ROUTER_NAME}#")
    owner = next(each for each in api.get("/api/v1/ha/sessions")["items"] if each["state"] == "active")["owner"]
    (instance,) = [each for each in cluster.instances if owner in each.describe()]
    command = f"kill {instance.number}"
    cast.note("m", f"> {command}")
    cast.note("m", cluster.execute(command))
    terminal.closed()
    cast.note("m", "reconnecting")
    again = Filmed(
        cast,
        api,
        {
            **query,
            "reconnect_token": str(terminal.token),
            "epoch": terminal.info["epoch"],
            "offset": len(terminal.output),
        },
        former_epoch=terminal.info["epoch"],
    ).connected()
    cast.note("m", "connected")
    assert again.info["session_id"] == terminal.info["session_id"]
    again.expect(f"{ROUTER_NAME}#")
    time.sleep(2 * _LOOK_SECS)
    again.types("show clock", f"{ROUTER_NAME}#")
    again.leave()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="netstacks-failover-") as name, ExitStack() as stack:
        cluster = DemoCluster(Folder(Path(name)), stack)
        cast = Cast()
        record(cluster, cast)
    cast.write(CAST)
    PICTURE.write_text(failover_picture.svg(CAST.read_text()))


if __name__ == "__main__":
    main()
