"""Files of the Terminal client in compressed form: its main script has 11.8 MB, and 3.2 MB compressed."""

import gzip
from pathlib import Path

from cachetools import LRUCache
from werkzeug.datastructures import Accept

from netstacks import greenlets

# What compresses well; images and fonts are compressed already.
_SUFFIXES = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".wasm", ".webmanifest"})
_MIN_BYTES = 1024
# More than all files of the client together have.
_CACHE_BYTES = 32 * 1024 * 1024
# By extension, in the order of preference: what a build may contain beside its files.
_ENCODINGS = {"br": ".br", "gzip": ".gz"}


class CompressedFiles:
    """The compressed form of files below a folder: that of the build if there is one, else made once and kept."""

    def __init__(self) -> None:
        self._made: LRUCache[tuple[Path, int], bytes] = LRUCache(_CACHE_BYTES, getsizeof=len)
        """By path and time of modification."""

    def find(self, file: Path, accepted: Accept) -> tuple[str, bytes | Path] | None:
        """The encoding, and the content or the file that has it; None when the file is sent as it is."""
        if file.suffix not in _SUFFIXES or not file.is_file() or file.stat().st_size < _MIN_BYTES:
            return None
        for encoding, extension in _ENCODINGS.items():
            beside = file.with_name(file.name + extension)
            if accepted[encoding] > 0 and beside.is_file():
                return encoding, beside
        return ("gzip", self._compressed(file)) if accepted["gzip"] > 0 else None

    def _compressed(self, file: Path) -> bytes:
        key = file, file.stat().st_mtime_ns
        made = self._made.get(key)
        if made is None:
            # In a thread: the main script takes a third of a second of processor time.
            made = greenlets.in_thread(_read_compressed, file)
            if len(made) <= _CACHE_BYTES:
                self._made[key] = made
        return made


def _read_compressed(file: Path) -> bytes:
    # Without the time, so that all instances make the same bytes.
    return gzip.compress(file.read_bytes(), 6, mtime=0)
