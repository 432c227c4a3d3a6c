"""Starts the program on a restored database, as after a loss, and checks that it is healthy."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from netstacks import resources
from netstacks.errors import InvalidInput

_START_SECS = 60.0
_STOP_SECS = 10.0
_POLL_SECS = 0.2
# What the instance gets of this command's environment: with the other settings it would join or call other servers.
_SECRETS = ("VAULT_MASTER_KEY", "VAULT_MASTER_KEY_PREVIOUS", "JWT_SECRET")
_PASSED_ON = {"PATH", "HOME", "PYTHONPATH", "LANG", *_SECRETS, *(f"{name}_FILE" for name in _SECRETS)}
_LOG_CHARACTERS = 500


def start(database_url: str) -> float:
    """Runs one instance on the database until it is healthy: on loopback, without Valkey and without peers.

    Returns how long that took, in seconds. Make sure that the database leads to no other server (`rehearsals.isolate`).
    Raises InvalidInput when the instance ends, or is not healthy within a minute.
    """
    with (
        tempfile.TemporaryDirectory(prefix="netstacks-rehearsal-") as temporary,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        folder = Path(temporary)
        environ = {
            # PG*: libpq reads a password or certificates for the server from them.
            **{name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("PG")},
            "DATABASE_URL": database_url,
            "SPOOL_DIR": str(folder / "spool"),
            "DISK_FREE_MIN_BYTES": "0",
        }
        log = folder / "log"
        # The listener is passed on: another process cannot take its port meanwhile.
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
        with (
            log.open("wb") as output,
            subprocess.Popen(  # noqa: S603 - our own program
                [*command, "--bind", f"fd://{listener.fileno()}"],
                env=environ,
                cwd=resources.folder(),
                pass_fds=[listener.fileno()],
                stdout=output,
                stderr=output,
            ) as process,
        ):
            try:
                return _wait(process, listener.getsockname()[1], log)
            finally:
                _stop(process)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> float:
    began_at = time.monotonic()
    health = "no answer"
    while process.poll() is None and time.monotonic() < began_at + _START_SECS:
        status, health = _health(port)
        if status == "healthy":
            return time.monotonic() - began_at
        time.sleep(_POLL_SECS)
    what = f"ends with {process.returncode}" if process.poll() is not None else f"is not healthy: {health}"
    raise InvalidInput(
        f"an instance on the restored database {what}\n{log.read_text(errors='replace')[-_LOG_CHARACTERS:]}"
    )


def _health(port: int) -> tuple[str, str]:
    """The status, and the whole answer in one line."""
    url = f"http://127.0.0.1:{port}/api/v1/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    except OSError as error:
        return "", f"{type(error).__name__}"
    return str(json.loads(text).get("status")), text.strip()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
