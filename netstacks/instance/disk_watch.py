"""Watches the free space of the spool's disk: an instance that ends without PostgreSQL writes its recordings there."""

import shutil
from pathlib import Path

import structlog

from netstacks import greenlets

log = structlog.get_logger()

LOOK_SECS = 10.0


class DiskWatch:
    """Checks periodically. `problem` is set while less than `least_free_bytes` are free; 0 switches the check off."""

    def __init__(self, folder: Path, least_free_bytes: int) -> None:
        self._folder = folder
        self._least_free_bytes = least_free_bytes
        self.problem: str | None = None
        self.free_bytes: int | None = None
        """The free space at the last check; None when it is unknown."""
        self.spool_files: int | None = None
        """How many files wait in the folder, those that PostgreSQL has refused included; None when it is unknown."""
        # A thread of its own: a network disk can take minutes to answer, and must block no other work.
        self._looking = greenlets.Threads(1)
        self.periodic = greenlets.Periodic("disk-watch", self.look, LOOK_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Checks now; logs a change from enough space to too little, or back."""
        try:
            free_bytes, self.spool_files = self._looking.begin(_survey, self._folder).get()
        except OSError:
            # The free space is unknown; the spool itself reports a folder that it cannot use.
            self.free_bytes = self.spool_files = None
            return
        self.free_bytes = free_bytes
        was_low = self.problem is not None
        self.problem = None
        if free_bytes < self._least_free_bytes:
            self.problem = (
                f"the disk of SPOOL_DIR has {_megabytes(free_bytes)} free, less than the"
                f" {_megabytes(self._least_free_bytes)} of DISK_FREE_MIN_BYTES: free space, or change SPOOL_DIR"
            )
        if was_low != (self.problem is not None):
            write, event = (log.info, "disk.has_room") if was_low else (log.warning, "disk.low")
            write(event, folder=str(self._folder), free_bytes=free_bytes, least_bytes=self._least_free_bytes)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _survey(folder: Path) -> tuple[int, int | None]:
    """The free bytes of the folder's disk, and the number of files that the spool keeps there, None when unknown."""
    free_bytes = _free_bytes(folder)
    try:
        return free_bytes, sum(1 for _ in folder.rglob("*.spool"))
    except OSError:
        return free_bytes, None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
