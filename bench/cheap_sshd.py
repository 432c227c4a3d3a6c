"""Thousands of idle devices in one process: an SSH server on every address of 127.0.0.0/8, at one port.

Every log-in with PASSWORD succeeds, whatever the user name. The shell prints a banner and a prompt, and sends back what
it receives; Ctrl-D ends it. `python -m bench.cheap_sshd PORT KEY_FILE` runs it in the foreground.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.ports import free_port

PASSWORD = "a password of the devices"
_GREETING = b"Welcome to a device of the bench\r\ndevice#"
_END_OF_INPUT = b"\x04"
_READY = b"ready\n"
_BACKLOG = 4096


class CheapSshd:
    """The server in a process of its own, for as long as the `with` block lasts; `start` and `stop` may alternate."""

    user = "admin"
    password = PASSWORD

    def __init__(self) -> None:
        self.port = free_port()
        key = Ed25519PrivateKey.generate()
        public_key = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        self.host_key_type, self.host_key_base64 = public_key.split()
        self._private_key = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Returns when it accepts connections. Raises RuntimeError when it does not."""
        with tempfile.NamedTemporaryFile() as key_file:
            key_file.write(self._private_key)
            key_file.flush()
            command = [sys.executable, "-m", "bench.cheap_sshd", str(self.port), key_file.name]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
            assert self._process.stdout is not None
            if self._process.stdout.readline() != _READY:
                raise RuntimeError(f"the SSH server does not start: it ends with {self._process.wait()}")
        return self

    def stop(self) -> None:
        """Ends the server and every connection."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None


class _Server(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == PASSWORD

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return _Shell()


class _Shell(asyncssh.SSHServerSession[bytes]):
    _channel: asyncssh.SSHServerChannel[bytes]

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: object, term_modes: object) -> bool:
        return True

    def shell_requested(self) -> bool:
        return True

    def session_started(self) -> None:
        self._channel.write(_GREETING)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if data == _END_OF_INPUT:
            self._channel.exit(0)
        else:
            self._channel.write(data)


async def _serve(port: int, key_file: str) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # All addresses of the loopback interface, and no others.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("0.0.0.0", port))
    server = await asyncssh.listen(
        sock=listener,
        backlog=_BACKLOG,
        server_factory=_Server,
        # As an object: a path is read again at every log-in.
        server_host_keys=[asyncssh.read_private_key(key_file)],
        encoding=None,
        line_editor=False,
        compression_algs=None,
        keepalive_interval=0,
        rekey_bytes=1 << 34,
        rekey_seconds=36_000,
    )
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    await server.wait_closed()


if __name__ == "__main__":
    asyncssh.set_log_level("CRITICAL")
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
