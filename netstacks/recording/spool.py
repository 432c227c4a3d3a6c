"""The spool: what an instance could not store before it had to exit, in files, until PostgreSQL has taken it.

One file a session and epoch: the SHA-256 of the rest in the first line, then JSON. Files are for their owner alone,
since what devices print and users type is worth protecting.
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
    """What was on its way to PostgreSQL for one session at one epoch."""

    batch: Batch
    closing: Closing | None


# In a list, because pydantic takes a configuration for that and not for a dataclass.
_FORMAT = TypeAdapter(list[Leftover], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


class Spool:
    """A folder that the instances of one host share. What can no longer be stored stays in its folder `refused`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._refused = folder / "refused"

    def prepare(self) -> None:
        """Makes the folders; one that cannot be written is told now, not when it is needed."""
        try:
            for folder in (self._folder, self._refused):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(f"{folder} is not writable")
        except OSError as error:
            log.error("spool.unusable", folder=str(self._folder), error=str(error))

    def keep(self, leftovers: Sequence[Leftover]) -> None:
        """Writes each to a file of its own, complete or not at all."""
        for leftover in leftovers:
            batch = leftover.batch
            details = {"session_id": str(batch.session_id), "epoch": batch.epoch, "bytes": output_bytes(batch.chunks)}
            try:
                self._write(f"{batch.session_id}.{batch.epoch}.spool", _pack(leftover))
                log.warning("spool.kept", **details)
            except OSError as error:
                log.error("spool.lost", error=str(error), **details)
            greenlets.sleep(0)

    def _write(self, name: str, content: bytes) -> None:
        unfinished = self._folder / f".{name}.{os.getpid()}"
        with open(unfinished, "xb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)
        _sync_folder(self._folder)

    def restore(self, database: Database, session_id: UUID | None = None) -> bool:
        """Stores what is kept here, of one session or of all; True when it did, and rows have changed by that.

        To be called before a session is claimed or ended as an orphan: after that its recording has moved on. Raises
        StoreUnavailable; what was not stored by then is still here.
        """
        pattern = f"{session_id or '*'}.*.spool"
        try:
            return sum(self._try_to_store(database, path) for path in sorted(self._folder.glob(pattern))) > 0
        except OSError as error:
            log.error("spool.unusable", folder=str(self._folder), error=str(error))
            return False

    def _try_to_store(self, database: Database, path: Path) -> bool:
        """One file that cannot be stored keeps neither the others nor a starting instance waiting."""
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
            # Tried again, it would fail again.
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
            # For one process at a time. PostgreSQL keeps the lock, and takes it from one that is frozen.
            tx.execute(_SQL["lock"], {"name": path.name})
            refusal = _put_back(tx, leftover, path.name)
        details = {"session_id": str(leftover.batch.session_id), "epoch": leftover.batch.epoch}
        if refusal:
            path.rename(self._refused / path.name)
            log.error("spool.refused", **details, reason=refusal, kept_in=str(self._refused / path.name))
        else:
            path.unlink(missing_ok=True)
            log.info("spool.stored", **details)
        _sync_folder(self._folder)


def _put_back(tx: Transaction, leftover: Leftover, name: str) -> str | None:
    """Stores it in its place in the recording, and the end of its epoch; else returns why that place is taken."""
    batch = leftover.batch
    late = storage.missing(tx, batch)
    if storage.save(tx, [batch], again=True):
        return storage.refused(tx, batch, kept_in=name)
    if late:
        text = f"stored late, at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: the {output_bytes(late)} bytes"
        storage.append_note(tx, batch.session_id, batch.epoch, f"{text} before this, the database having been away")
    if leftover.closing:
        close(tx, batch.session_id, batch.epoch, leftover.closing)
    return None


def _pack(leftover: Leftover) -> bytes:
    body = _FORMAT.dump_json([leftover])
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _unpack(content: bytes) -> Leftover:
    """Raises ValueError when the content is not what was written."""
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
