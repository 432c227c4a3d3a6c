"""SSH to a real OpenSSH server: log-ins and their failures, every byte, and no resource left behind."""

import contextlib
import ctypes
import gc
import hashlib
import os
import random
import re
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceLoginRefused, DeviceUnreachable, OpeningAbandoned
from netstacks.terminal import libssh, ssh_client
from netstacks.terminal import shell as shell_module
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.host_key import HostKey
from netstacks.terminal.libssh import Counter
from netstacks.terminal.shell import Shell
from netstacks.terminal.ssh_connection import Hooks
from netstacks.terminal.ssh_target import SshTarget
from tests.processes import sockets_and_pipes
from tests.sshd import SSHD, Sshd
from tests.waits import until

pytestmark = pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root may create a user with a password")

LEGACY = (
    "KexAlgorithms diffie-hellman-group14-sha1",
    "HostKeyAlgorithms ssh-rsa",
    "PubkeyAcceptedAlgorithms ssh-ed25519,ssh-rsa",
    "Ciphers aes128-cbc",
    "MACs hmac-sha1",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with Sshd() as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Sshd) -> SshTarget:
    return SshTarget(server.host, server.port, server.user, private_key=server.private_key)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the device's user may write to."""
    with tempfile.TemporaryDirectory(prefix="netstacks-ssh-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def open_shell(target: SshTarget) -> Shell:
    return ssh_client.open_shell(target, Hooks(lambda found: None))


@contextlib.contextmanager
def quiet(target: SshTarget) -> Iterator[Shell]:
    """A shell that prints nothing but what its commands print, as it is."""
    shell = open_shell(target)
    try:
        shell.write(b"PS1=; PS2=; stty raw -echo; bind 'set enable-bracketed-paste off' 2>&-; echo re''ady\n")
        read_until(shell, b"ready\n")
        yield shell
    finally:
        shell.close()


def read_until(shell: Shell, end: bytes) -> bytes:
    output = b""
    while end not in output:
        piece = shell.read(65536)
        assert piece != b"", f"{shell.close_reason} before {end!r}: {output[-300:]!r}"
        output += piece or b""
    return output


def read_to_the_end(shell: Shell) -> bytes:
    output = b""
    while (piece := shell.read(65536)) != b"":
        output += piece or b""
    return output


def open_sockets() -> set[str]:
    gc.collect()  # libssh closes a socket with its session, which a traceback may still have in hand.
    return sockets_and_pipes()


# Logging in


def test_a_key_opens_a_shell_and_the_host_key_is_shown(server: Sshd, key: SshTarget) -> None:
    shown: list[HostKey] = []
    ssh_client.open_shell(key, Hooks(shown.append)).close()
    assert shown == [HostKey(server.host_key_type, server.host_key_base64)]


@needs_root
def test_a_password_opens_a_shell(server: Sshd, key: SshTarget) -> None:
    open_shell(replace(key, private_key=None, password=server.password)).close()


@needs_root
def test_keyboard_interactive_is_answered_with_the_password() -> None:
    only = ("PasswordAuthentication no", "KbdInteractiveAuthentication yes", "PubkeyAuthentication no")
    with Sshd(*only) as server:
        target = SshTarget(server.host, server.port, server.user, password=server.password)
        open_shell(target).close()
        with pytest.raises(DeviceLoginRefused, match="refused the password"):
            open_shell(replace(target, password="wrong"))


@needs_root
def test_a_wrong_password_is_told_in_words(server: Sshd, key: SshTarget) -> None:
    with pytest.raises(DeviceLoginRefused, match=f"refused the password of {server.user}"):
        open_shell(replace(key, private_key=None, password="wrong"))


def test_a_wrong_key_is_told_in_words(server: Sshd, key: SshTarget, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(DeviceLoginRefused, match=f"refused the private key of {server.user}"):
        open_shell(replace(key, private_key=(tmp_path / "other").read_text()))


@pytest.mark.parametrize("key_type", ["rsa", "ecdsa"])
def test_other_types_of_keys_log_in(server: Sshd, key: SshTarget, tmp_path: Path, key_type: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", key_type, "-f", str(tmp_path / "key")], check=True)
    with Sshd(f"AuthorizedKeysCommand /bin/cat {tmp_path / 'key.pub'}", "AuthorizedKeysCommandUser root") as other:
        private_key = (tmp_path / "key").read_text()
        open_shell(SshTarget(other.host, other.port, other.user, private_key=private_key)).close()


def test_the_echo_of_each_key_comes_by_itself(key: SshTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """libssh reads in every call: what it takes in while errors are looked for must not wait for the next key."""
    # Longer than this machine pauses.
    monkeypatch.setattr(shell_module, "_SILENCE_SECS", 30.0)
    with quiet(key) as shell:
        shell.write(b"exec cat\n")
        for number in range(5000):
            shell.try_write(b"%d\n" % number)
            output = b""
            while not output.endswith(b"\n"):
                piece = shell.read(100)
                assert piece is not None, f"{number} has not come back"
                output += piece
            assert output == b"%d\n" % number


@pytest.fixture
def exit_status_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late a busy machine sends it."""
    monkeypatch.setattr(shell_module, "_EXIT_STATUS_SECS", 30.0)


@pytest.mark.usefixtures("exit_status_is_waited_for")
def test_errors_of_the_shell_are_output_like_any_other(key: SshTarget) -> None:
    """Without a terminal the device sends them apart. More than a window of them must not stop the shell."""
    command = "sh -c 'seq 1 500000 >&2; echo done; echo failed >&2; exit 3'"
    with Sshd("PermitTTY no", command=command) as server:
        target = SshTarget(server.host, server.port, server.user, private_key=server.private_key)
        with contextlib.closing(open_shell(target)) as shell:
            output = read_to_the_end(shell)
    assert output.count(b"\n") == 500_002
    assert b"done\n" in output
    assert b"failed\n" in output
    assert shell.close_reason == "the device closed the connection (exit status 3)"


def test_an_old_device_is_served_only_when_its_entry_allows_it() -> None:
    with Sshd(*LEGACY, host_key_type="rsa") as server:
        target = SshTarget(server.host, server.port, server.user, private_key=server.private_key)
        with pytest.raises(DeviceUnreachable, match="set the device's algorithms to legacy"):
            open_shell(target)
        open_shell(replace(target, algorithms="legacy")).close()


# Reaching the device


def test_a_port_without_a_listener_is_told(key: SshTarget) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(DeviceUnreachable, match=f"127.0.0.1:{port} cannot be reached: Connection refused"):
        open_shell(replace(key, port=port))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "another protocol"])
def test_a_server_that_does_not_speak_ssh_is_given_up(key: SshTarget, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(answer)
                client.recv(65536)
                client.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(DeviceUnreachable, match=f"127.0.0.1:{port}"):
            open_shell(replace(key, port=port, patience_secs=1))


# The shell


def test_every_byte_comes_however_slowly_it_is_read(key: SshTarget, folder: Path) -> None:
    sent = random.Random(1).randbytes(8_000_000)
    (folder / "file").write_bytes(sent)
    digest, size = hashlib.sha256(), 0
    with quiet(key) as shell:
        shell.write(f"cat {folder / 'file'}\n".encode())
        while size < len(sent):
            piece = shell.read(random.choice([1, 4096, 65536]) if size < 100_000 else 65536)
            assert piece != b"", shell.close_reason
            digest.update(piece or b"")
            size += len(piece or b"")
            if random.random() < 0.02:
                greenlets.sleep(0.05)
    assert digest.digest() == hashlib.sha256(sent).digest()


def test_a_device_whose_output_is_not_read_is_held_back(key: SshTarget, folder: Path) -> None:
    with quiet(key) as shell:
        shell.write(f"while head -c 100000 /dev/zero; do echo >> {folder / 'rounds'}; done\n".encode())
        shell.read(1)

        def rounds() -> int:
            return (folder / "rounds").stat().st_size

        until((folder / "rounds").exists, "the first round")
        before, now = -1, 0
        while now != before:
            before = now
            greenlets.sleep(0.5)
            now = rounds()
        assert now < 1000
        for _ in range(200):
            shell.read(65536)
        while rounds() == now:
            shell.read(65536)


def test_a_shell_that_fell_silent_calls_when_it_speaks(key: SshTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "_SILENCE_SECS", 0.2)
    with quiet(key) as shell:
        while shell.read(65536) is not None:
            pass
        speaks = greenlets.Event()
        shell.call_when_readable(speaks.set)
        greenlets.sleep(0.1)
        assert not speaks.is_set()
        shell.write(b"sleep 0.3; echo he''re\n")
        assert speaks.wait(30)
        assert read_until(shell, b"here\n") == b"here\n"
        shell.call_when_readable(speaks.clear)
        shell.close()
        greenlets.sleep(0)
        assert not speaks.is_set()


def test_a_long_paste_into_a_device_that_does_not_read_arrives_whole(key: SshTarget, folder: Path) -> None:
    pasted = random.Random(2).randbytes(4_000_000)
    with quiet(key) as shell:
        waits = f"until [ -e {folder / 'reads'} ]; do sleep 0.1; done"
        shell.write(f"echo go; {waits}; head -c {len(pasted)} > {folder / 'pasted'}; echo done\n".encode())
        read_until(shell, b"go\n")
        taken = 0
        while written := shell.try_write(pasted[taken:]):
            taken += written
        assert taken < len(pasted)
        typist = greenlets.spawn("typist", shell.write, pasted[taken:])
        (folder / "reads").touch()
        read_until(shell, b"done\n")
        typist.join()
    assert (folder / "pasted").read_bytes() == pasted


def test_the_device_gets_the_window_and_its_changes(key: SshTarget) -> None:
    with quiet(replace(key, cols=91, rows=17)) as shell:
        shell.write(b"stty size\n")
        read_until(shell, b"17 91\n")
        shell.resize(132, 43)
        shell.write(b"stty size\n")
        read_until(shell, b"43 132\n")


@pytest.mark.usefixtures("exit_status_is_waited_for")
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (b"exit 0\n", "the device closed the connection"),
        (b"exit 7\n", r"the device closed the connection \(exit status 7\)"),
    ],
)
def test_the_end_of_the_shell_is_told(key: SshTarget, command: bytes, reason: str) -> None:
    shell = open_shell(key)
    shell.write(command)
    read_to_the_end(shell)
    shell.close()
    assert re.fullmatch(reason, shell.close_reason)


def test_a_lost_connection_is_told_in_words(server: Sshd, key: SshTarget) -> None:
    shell = open_shell(key)
    read_until(shell, b"$")
    server.drop_connections()
    read_to_the_end(shell)
    assert shell.close_reason.startswith("the connection to the device was lost: ")
    assert any(letter.isalpha() for letter in shell.close_reason.partition(": ")[2])
    shell.close()


# Leaving nothing behind


def test_libssh_writes_into_no_counter_that_is_freed(key: SshTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unclosed session sends its disconnect when it is freed, which is after its counter."""
    memory, when_freed = ctypes.create_string_buffer(ctypes.sizeof(Counter)), []

    def counter() -> Counter:
        made = Counter.from_buffer(memory)
        weakref.finalize(made, lambda: when_freed.append(memory.raw))
        return made

    monkeypatch.setattr(libssh, "Counter", counter)
    shell = open_shell(key)
    del shell
    gc.collect()
    assert when_freed == [memory.raw]


def test_closing_wakes_the_reader_and_frees_the_descriptor(key: SshTarget) -> None:
    before = open_sockets()
    shell = open_shell(key)
    reader = greenlets.spawn("reader", read_to_the_end, shell)
    greenlets.sleep(0.2)
    shell.close()
    reader.join(30)
    assert reader.ready()
    assert open_sockets() <= before
    shell.close()
    with pytest.raises(DeviceError, match="closed"):
        shell.try_write(b"x")


def test_devices_that_stall_in_the_key_exchange_keep_no_other_from_its_log_in(key: SshTarget) -> None:
    with contextlib.ExitStack() as stalling:
        attempts, began = [], []
        for _ in range(8):
            device = stalling.enter_context(socket.create_server(("127.0.0.1", 0)))
            has_begun = threading.Event()
            began.append(has_begun)
            threading.Thread(target=_stall, args=(device, has_begun), daemon=True).start()
            target = SshTarget("127.0.0.1", device.getsockname()[1], "user", password="x")
            left = greenlets.Event()
            attempts.append((greenlets.spawn("stalled", _open_or_give_up, target, left), left))
        until(lambda: all(each.is_set() for each in began), "all key exchanges")
        open_shell(key).close()
        assert not any(attempt.ready() for attempt, _ in attempts)
        for _, left in attempts:
            left.set()
        greenlets.joinall([attempt for attempt, _ in attempts], timeout=30)


def _stall(device: socket.socket, has_begun: threading.Event) -> None:
    """Sends its version, and then nothing; `has_begun` is set when the client has answered."""
    with contextlib.suppress(OSError):
        connection, _ = device.accept()
        connection.sendall(b"SSH-2.0-stalled\r\n")
        while connection.recv(65536):
            has_begun.set()


def _open_or_give_up(target: SshTarget, left: greenlets.Event) -> Shell | None:
    try:
        return ssh_client.open_shell(target, Hooks(lambda found: None), Dialogue(left.is_set))
    except OpeningAbandoned:
        return None


def test_a_log_in_that_is_given_up_anywhere_leaves_nothing(key: SshTarget) -> None:
    open_shell(key).close()
    before = open_sockets()
    took = -time.monotonic()
    open_shell(key).close()
    took += time.monotonic()
    for step in range(30):
        left = greenlets.Event()
        attempt: Any = greenlets.spawn("attempt", _open_or_give_up, key, left)
        attempt.join(took * step / 30)
        left.set()
        attempt.join(30)
        assert attempt.successful()
        if attempt.value is not None:
            attempt.value.close()
        del attempt
    # One of them, the one whose traceback Python still has in hand.
    assert len(open_sockets() - before) <= 1
