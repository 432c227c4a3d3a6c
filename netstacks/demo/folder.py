"""The folder of the demo: secrets, the demo device's host key and its port, kept from one run to the next."""

import fcntl
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Folder:
    """Created when missing. Other users may traverse it, because PostgreSQL runs as its own user, but not list it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        path.chmod(0o711)
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Locks the folder during the block; exits when another run holds the lock."""
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"Already running: another process holds {self.path}.") from None
            yield

    def secret(self, name: str, size: int = 32) -> Path:
        """The file of a random secret of `size` bytes, generated once and readable by its owner only."""
        return self._kept(name, lambda: secrets.token_hex(size).encode())

    def host_key(self) -> Path:
        """The host key of the demo device, the same at every start; RSA, because fakenos accepts no other type."""
        return self._kept("device.key", _rsa_key)

    def port(self) -> int:
        """The demo device's port of the last run if it is free, else the next free one."""
        path = self.path / "device.port"
        port = free_port("127.0.0.1", int(path.read_text()) if path.exists() else 2222)
        path.write_text(f"{port}\n")
        return port

    def _kept(self, name: str, make: Callable[[], bytes]) -> Path:
        path = self.path / name
        if not path.exists():
            # Renamed when complete: an interrupted write must not leave a truncated secret for all later runs.
            new = path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_bytes(make())
            new.rename(path)
        return path


def free_port(host: str, first: int) -> int:
    """The first free port from `first` on."""
    for port in range(first, min(first + 100, 65536)):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError:
                continue
            return port
    raise SystemExit(f"No free port from {first} on.")


def _rsa_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
