"""The support bundle of `netstacks doctor --bundle`: an archive of JSON files for those who support a deployment."""

import io
import json
import os
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from netstacks.commands.examine import evidence
from netstacks.commands.examine.evidence import Part
from netstacks.commands.examine.secrets import Scrubber
from netstacks.commands.examine.valkey import connected
from netstacks.errors import Conflict
from netstacks.settings import Settings
from netstacks.store.pool import Database

_FOLDER = "netstacks-support"
_README = """\
A support bundle of NetStacks Controller, written by `netstacks doctor --bundle`.

It holds no output of devices, no recordings, no names of users and no names of devices. Every secret of the environment
in which it was written is replaced by ***. Host names and addresses of the controllers and their servers are in it.
Read it before you pass it on.

"""


def check(path: Path) -> None:
    """Raises Conflict unless a bundle can be written to `path`: an existing file is not overwritten."""
    if path.exists():
        raise Conflict(f"{path} exists already: name another file for the bundle")
    if not os.access(path.parent, os.W_OK):
        raise Conflict(f"{path.parent} is not a folder in which this user can write: name another file for the bundle")


def parts(loaded: Settings | None) -> Iterator[Part]:
    """The facts of this deployment; without valid settings, only those of the program."""
    yield from evidence.of_program(loaded)
    if loaded is None:
        return
    database = Database(loaded.database_url, max_size=1)
    database.open()
    try:
        yield from evidence.of_database(database)
    finally:
        database.close()
    if loaded.valkey_url or loaded.valkey_sentinel_url:
        yield from evidence.of_cluster(loaded, *connected(loaded))


def write(path: Path, parts: Iterable[Part], environ: Mapping[str, str]) -> list[str]:
    """Writes the parts, without the secrets of `environ`; returns a line for each file. Raises Conflict."""
    scrubber = Scrubber(environ)
    files: dict[str, bytes] = {}
    lines = []
    for name, what, content in parts:
        text = json.dumps(scrubber.value(content), indent=2, ensure_ascii=False) + "\n"
        files[name] = text.encode(errors="replace")
        lines.append(f"{name}: {what}")
    files = {"README.txt": (_README + "\n".join(lines) + "\n").encode(), **files}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Conflict(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in files.items():
            _add(archive, name, data)
    return lines


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(f"{_FOLDER}/{name}")
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))
