"""Whether the disk of the spool has room: an instance that must end while the database is away writes to it."""

import shutil
from pathlib import Path

import structlog

from netstacks import greenlets

log = structlog.get_logger()

LOOK_SECS = 10.0


class DiskWatch:
    """Looks every now and then. `problem` says in words that less than `least_free_bytes` are free; 0 is never."""

    def __init__(self, folder: Path, least_free_bytes: int) -> None:
        self._folder = folder
        self._least_free_bytes = least_free_bytes
        self.problem: str | None = None
        # A disk on the network may not answer for minutes: neither health nor other threads wait for it.
        self._looking = greenlets.Threads(1)
        self.periodic = greenlets.Periodic("disk-watch", self.look, LOOK_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Looks now, and logs when there is too little room, and when there is enough again."""
        try:
            free_bytes = self._looking.begin(_free_bytes, self._folder).get()
        except OSError:
            # The spool has said that it cannot be used. Whether its disk has room is not known.
            return
        was_low = self.problem is not None
        self.problem = None
        if free_bytes < self._least_free_bytes:
            self.problem = (
                f"the disk of SPOOL_DIR has {_megabytes(free_bytes)} free, less than the"
                f" {_megabytes(self._least_free_bytes)} of DISK_FREE_MIN_BYTES: free some, or choose another disk"
            )
        if was_low != (self.problem is not None):
            tell, event = (log.info, "disk.has_room") if was_low else (log.warning, "disk.low")
            tell(event, folder=str(self._folder), free_bytes=free_bytes, least_bytes=self._least_free_bytes)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
