"""Finds any number of known secrets in one pass over a text."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

# Longer secrets are few, and each of them is searched for separately.
_MAX_INDEXED = 64


class KnownSecrets:
    """An index of secrets with their names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._long = [secret for secret in names if len(secret) > _MAX_INDEXED]
        indexed = [secret for secret in names if 0 < len(secret) <= _MAX_INDEXED]
        self._width = min(map(len, indexed), default=0)
        lengths: dict[str, set[int]] = defaultdict(set)
        for secret in indexed:
            lengths[secret[: self._width]].add(len(secret))
        # The lengths of the secrets, longest first, by their prefix; the shortest secret determines its length.
        self._lengths = {start: sorted(each, reverse=True) for start, each in lengths.items()}

    def find(self, text: str, is_wanted: Callable[[int, int], bool]) -> Iterator[tuple[int, int, str]]:
        """Yields start, end and name of each secret in `text` for which `is_wanted(start, end)` is true.

        They may overlap. A secret inside another one is left out.
        """
        for secret in self._long:
            at = text.find(secret)
            while at >= 0:
                end = at + len(secret)
                if is_wanted(at, end):
                    yield at, end, self._names[secret]
                at = text.find(secret, end)
        if self._lengths:
            yield from self._find_indexed(text, is_wanted)

    def _find_indexed(self, text: str, is_wanted: Callable[[int, int], bool]) -> Iterator[tuple[int, int, str]]:
        width = self._width
        reached = 0
        for start in range(len(text) - width + 1):
            for length in self._lengths.get(text[start : start + width], ()):
                end = start + length
                if end <= reached:
                    break
                name = self._names.get(text[start:end])
                if name is not None and is_wanted(start, end):
                    yield start, end, name
                    reached = end
                    break
