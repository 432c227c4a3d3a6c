"""The device side: a shell that answers and prints numbered lines and keeps a diary of them, which no fault reaches."""

import contextlib
import os
import re
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

from tests.torture.history import Shell

_SCRIPT = r"""
stty -echo
id=$$-${EPOCHREALTIME#*.}
exec 3>>"$(dirname "$0")/shell-$id"
set -- $SSH_CONNECTION
echo "began $EPOCHREALTIME $TERM $2" >&3
# Into the diary first: what does not get through afterwards was printed all the same.
say() { echo "printed $1" >&3; echo "$1" || exit; }
say "shell $id"
number=0 rest=
while :; do
    if [[ $TERM == crowd* ]]; then
        # One of a crowd only answers.
        IFS= read -r line || exit
        text=$line$'\n'
    else
        # Up to a NUL, which never comes: the delimiter is lost when the time is up just after it was read.
        IFS= read -r -d '' -t 0.2 text
        ended=$?
    fi
    rest=$rest$text
    while [[ $rest == *$'\n'* ]]; do
        line=${rest%%$'\n'*} rest=${rest#*$'\n'}
        echo "read $line" >&3
        [ "$line" = bye ] && exit
        say "got $line"
    done
    [[ $TERM == crowd* ]] && continue
    [ $ended -gt 128 ] || exit
    say "line $((++number))"
done
"""
_DIGITS = re.compile(r"\d+$")


class Device:
    """The command of every log-in (`command`), and the diaries of the shells."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-torture-"))
        # Writable by the user that logs in.
        self._folder.chmod(0o777)
        script = self._folder / "script"
        script.write_text(_SCRIPT)
        self.command = f"/bin/bash {script}"

    def shells(self, owners: "Owners") -> list[Shell]:
        """`owners`: which process was seen to hold which connection."""
        return [_parse(path, owners) for path in sorted(self._folder.glob("shell-*"))]


def _parse(path: Path, owners: "Owners") -> Shell:
    (_, _, began), *events = (line.partition(" ") for line in path.read_text("latin-1").splitlines())
    started_at, session, port = began.split()
    printed = "".join(f"{text}\r\n" for kind, _, text in events if kind == "printed")
    read = [int(text) for kind, _, text in events if kind == "read" and _DIGITS.match(text)]
    return Shell(
        path.name.removeprefix("shell-"),
        session,
        float(started_at),
        owners.of(int(port), float(started_at)),
        printed.encode("latin-1"),
        tuple(read),
        any((kind, text) == ("read", "bye") for kind, _, text in events),
    )


class Owners(threading.Thread):
    """The holders of the connections to the device, as the kernel reports them: all that were ever seen."""

    def __init__(self, device_port: int) -> None:
        super().__init__(daemon=True)
        # By the kernel's number of the socket: a port comes again, when its connection is over.
        self._seen: dict[str, tuple[int, float, str]] = {}
        self._device_port = device_port
        self._groups: dict[str, int] = {}
        self._stopping = threading.Event()

    def watch(self, name: str, group: int) -> None:
        """From now on a process group goes by this name."""
        self._groups[name] = group

    def run(self) -> None:
        while not self._stopping.wait(0.3):
            ports = _ports_by_inode(self._device_port)
            for name, group in list(self._groups.items()):
                for inode in _sockets(group):
                    if inode in ports:
                        self._seen.setdefault(inode, (ports[inode], time.time(), name))

    def of(self, port: int, at: float) -> str | None:
        """The holders of the connection from this local port that began at that time."""
        seen = [(abs(began_at - at), name) for other, began_at, name in list(self._seen.values()) if other == port]
        return min(seen)[1] if seen else None

    def holders(self, device_port: int) -> dict[str, list[str]]:
        """The holders of connections to devices at this port now, by the device's address: a name per connection."""
        found: dict[str, list[str]] = {}
        addresses = _addresses_by_inode(device_port)
        for name, group in list(self._groups.items()):
            for inode in _sockets(group) & addresses.keys():
                found.setdefault(addresses[inode], []).append(name)
        return found

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def _ports_by_inode(device_port: int) -> dict[str, int]:
    """Local ports of the connections to the device, by the kernel's number of the socket (proc(5), /proc/net/tcp)."""
    return {row[9]: int(row[1].split(":")[1], 16) for row in _connections(device_port)}


def _addresses_by_inode(device_port: int) -> dict[str, str]:
    """Addresses of devices that connections lead to, by the kernel's number of the socket."""
    return {
        row[9]: socket.inet_ntoa(struct.pack("=I", int(row[2].split(":")[0], 16))) for row in _connections(device_port)
    }


def _connections(device_port: int) -> list[list[str]]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if row[2].endswith(f":{device_port:04X}")]


def _sockets(group: int) -> set[str]:
    """The kernel's numbers of the sockets that a process and its children hold."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{group}/task/{group}/children").read_text().split()
        for pid in (str(group), *children):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(descriptor.path)
                    if target.startswith("socket:["):
                        found.add(target[8:-1])
    return found
