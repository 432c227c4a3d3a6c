"""`make run`: starts PostgreSQL, a demo device and the controller, adds demo data, and stops all of them together.

Data and logs are in `var/`. With DATABASE_URL set, that database is used instead of an embedded one.
"""

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from netstacks.demo import ROUTER_NAME
from netstacks.demo.children import Child, ChildEnded
from netstacks.demo.folder import Folder, free_port
from netstacks.demo.postgres import postgres
from netstacks.demo.seed import Refused, seed, wait_until_ready
from netstacks.settings import Settings, SettingsError, load

ROOT = Path(__file__).resolve().parents[2]

ALREADY_CHANGED = "the one that you have set (the demo device was not updated)"

_READY = """
  NetStacks Controller is running.

    Address    {url}/
    User name  {username}
    Password   {password}

  Log in, choose the device {device} and type `show version`.
  Data and logs are kept in var/. Ctrl-C stops everything.
"""


def main() -> int:
    """Runs until Ctrl-C, or until one of the processes ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    with ExitStack() as stack:
        try:
            children = _start(Folder(ROOT / "var"), stack)
            while True:
                for child in children:
                    child.check()
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("\nStopping ...")
            return 0
        except (ChildEnded, Refused, SettingsError) as error:
            say(f"\n{error}\n\nStopping ...")
            return 1


def _start(folder: Folder, stack: ExitStack) -> list[Child]:
    """Starts the dependencies, then the controller; the stack stops them in the opposite order."""
    stack.enter_context(folder.held())
    environ = environment(folder)
    children = []
    if "DATABASE_URL" not in environ:
        say("Starting the database ...")
        database, environ["DATABASE_URL"] = stack.enter_context(postgres(folder.path))
        children.append(database)
    settings = load(environ)

    device_port, key_file = folder.port(), folder.host_key()
    command = [sys.executable, "-m", "netstacks.demo.device", str(device_port), str(key_file)]
    children.append(stack.enter_context(Child("The demo device", command, folder.path / "device.log")))

    say("Starting the controller ...")
    port = free_port("0.0.0.0", settings.port)  # noqa: S104 - where gunicorn.conf.py listens
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
    controller = Child("The controller", command, folder.path / "controller.log", environ=environ | {"PORT": str(port)})
    children.append(stack.enter_context(controller))

    url = f"http://127.0.0.1:{port}"
    wait_until_ready(url, controller)
    _seed(url, settings, device_port, key_file)
    return children


def environment(folder: Folder) -> dict[str, str]:
    """The environment, with a short drain and with generated secrets where none are set."""
    environ = {name: value for name, value in os.environ.items() if value}
    # No other instance can take sessions over, so Ctrl-C need not wait for a full drain.
    environ.setdefault("DRAIN_TIMEOUT_SECS", "4")
    for variable, size in (("VAULT_MASTER_KEY", 32), ("JWT_SECRET", 32), ("BOOTSTRAP_ADMIN_PASSWORD", 6)):
        if variable not in environ and f"{variable}_FILE" not in environ:
            environ[f"{variable}_FILE"] = str(folder.secret(variable.lower(), size))
    return environ


def _seed(url: str, settings: Settings, device_port: int, key_file: Path) -> None:
    username, password = settings.bootstrap_admin_username, settings.bootstrap_admin_password or ""
    is_seeded = seed(url, username, password, device_port, key_file)
    shown = password if is_seeded else ALREADY_CHANGED
    say(_READY.format(url=url, username=username, password=shown, device=ROUTER_NAME))


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
