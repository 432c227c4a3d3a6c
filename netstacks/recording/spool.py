"""The spool: files with the recordings that an instance could not store before it exited.

One file per session and epoch: the SHA-256 of the rest in the first line, then JSON. Files have mode 0600, because
output and input of devices may contain secrets.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import structlog
from pydantic import ConfigDict, TypeAdapter

from netstacks import greenlets
from netstacks.errors import Conflict, StoreUnavailable
from netstacks.recording import storage
from netstacks.recording.closing import Closing, close
from netstacks.recording.storage import Batch, output_bytes
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

log = structlog.get_logger()

_SQL = load("spool")


@dataclass(frozen=True)
class Leftover:
    """The unstored part of one recording."""

    batch: Batch
    closing: Closing | None


# A list, because pydantic accepts a configuration for it and not for a dataclass.
_FORMAT = TypeAdapter(list[Leftover], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


class Spool:
    """A folder that the instances of one host share. Files that PostgreSQL refuses move to its folder `refused`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._refused = folder / "refused"

    def prepare(self) -> None:
        """Creates the folders; reports an unwritable one now, not when it is needed."""
        try:
            for folder in (self._folder, self._refused):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(f"{folder} is not writable")
        except OSError as error:
            log.error("spool.unusable", folder=str(self._folder), error=str(error))

    def keep(self, leftovers: Sequence[Leftover]) -> None:
        """Writes each to a file of its own, atomically."""
        for leftover in leftovers:
            batch = leftover.batch
            details = {"session_id": str(batch.session_id), "epoch": batch.epoch, "bytes": output_bytes(batch.chunks)}
            try:
                self._write(f"{batch.session_id}.{batch.epoch}.spool", _pack(leftover))
                log.warning("spool.kept", **details)
            except OSError as error:
                log.error("spool.lost", error=str(error), **details)
            # A turn of the event loop for each file: a sync blocks the process.
            greenlets.sleep(0)

    def _write(self, name: str, content: bytes) -> None:
        # `restore` does not match this name. The rename is atomic, and the two syncs make it survive a power failure.
        unfinished = self._folder / f".{name}.{os.getpid()}"
        with open(unfinished, "xb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)
        _sync_folder(self._folder)

    def restore(self, database: Database, session_id: UUID | None = None) -> bool:
        """Stores the spooled files of one session, or of all; returns whether any was stored, so that rows changed.

        To be called before a session is claimed or ended as an orphan: after that PostgreSQL refuses the old epoch.
        Raises StoreUnavailable; files that are not stored by then remain.
        """
        pattern = f"{session_id or '*'}.*.spool"
        try:
            return sum(self._try_to_store(database, path) for path in sorted(self._folder.glob(pattern))) > 0
        except OSError as error:
            log.error("spool.unusable", folder=str(self._folder), error=str(error))
            return False

    def _try_to_store(self, database: Database, path: Path) -> bool:
        """Stores one file. A failure other than StoreUnavailable stops neither other files nor a starting instance."""
        try:
            self._store(database, path)
        except StoreUnavailable:
            raise
        except FileNotFoundError:
            log.info("spool.stored_elsewhere", file=path.name)
        except OSError as error:
            log.error("spool.unreadable", file=path.name, error=str(error))
            return False
        except (Conflict, ValueError, psycopg.DataError, psycopg.IntegrityError) as error:
            # A retry would fail again.
            log.exception("spool.refused", file=path.name, error=type(error).__name__, kept_in=str(self._refused))
            path.rename(self._refused / path.name)
            return False
        except Exception:
            log.exception("spool.not_stored", file=path.name)
            return False
        return True

    def _store(self, database: Database, path: Path) -> None:
        try:
            leftover = _unpack(path.read_bytes())
        except ValueError as error:
            log.error("spool.damaged", file=path.name, error=str(error), kept_in=str(self._refused))
            path.rename(self._refused / path.name)
            return
        with database.transaction() as tx:
            # One process at a time. PostgreSQL releases the lock when it ends the transaction of a frozen process.
            tx.execute(_SQL["lock"], {"name": path.name})
            refusal = _put_back(tx, leftover, path.name)
        details = {"session_id": str(leftover.batch.session_id), "epoch": leftover.batch.epoch}
        if refusal:
            path.rename(self._refused / path.name)
            log.error("spool.refused", **details, reason=refusal, kept_in=str(self._refused / path.name))
        else:
            # Missing if another process read the file before this one had the lock. Storing it twice changes nothing.
            path.unlink(missing_ok=True)
            log.info("spool.stored", **details)
        _sync_folder(self._folder)


def _put_back(tx: Transaction, leftover: Leftover, name: str) -> str | None:
    """Stores the part and the end of its epoch. Returns the reason if PostgreSQL refuses it."""
    batch = leftover.batch
    late = storage.missing(tx, batch)
    if storage.save(tx, [batch], again=True):
        return storage.refused(tx, batch, kept_in=name)
    if late:
        text = f"stored late, at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: the {output_bytes(late)} bytes"
        storage.append_note(tx, batch.session_id, batch.epoch, f"{text} before this, because the database was away")
    if leftover.closing:
        close(tx, batch.session_id, batch.epoch, leftover.closing)
    return None


def _pack(leftover: Leftover) -> bytes:
    body = _FORMAT.dump_json([leftover])
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _unpack(content: bytes) -> Leftover:
    """Raises ValueError for damaged content."""
    checksum, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise ValueError("its SHA-256 does not match")
    (leftover,) = _FORMAT.validate_json(body)
    return leftover


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
