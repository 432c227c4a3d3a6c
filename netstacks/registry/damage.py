"""Unreadable records in the registry: logged once, and shown as long as readers find them."""

from collections.abc import Mapping

import structlog
from cachetools import TTLCache
from redis.exceptions import ResponseError

log = structlog.get_logger()

# A record that was not found within this time is logged again.
_REMEMBERED_SECS = 60.0
# Further records are neither logged nor shown.
MAX_RECORDS = 100
_MAX_CHARS = 200


class Damage:
    """The records that readers have left out, with the problem of each."""

    def __init__(self) -> None:
        self._problems: TTLCache[str, str] = TTLCache(MAX_RECORDS, _REMEMBERED_SECS)

    @property
    def problems(self) -> Mapping[str, str]:
        """The problem of each record by its key, sorted by key."""
        return dict(sorted(self._problems.items()))

    def note(self, key: str, problem: str) -> None:
        """Notes a record that was left out."""
        key, problem = _shown(key), _shown(problem)
        if key not in self._problems:
            if len(self._problems) >= MAX_RECORDS:
                return
            log.warning("registry.unreadable", key=key, problem=problem)
        self._problems[key] = problem

    def noted(self, key: str) -> "_Noted":
        """Around the reading of one record: notes ValueError and WRONGTYPE instead of raising them."""
        return _Noted(self, key)


class _Noted:
    def __init__(self, damage: Damage, key: str) -> None:
        self._damage = damage
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        match error:
            case ValueError():
                self._damage.note(self._key, str(error))
            case ResponseError() if "WRONGTYPE" in str(error):
                self._damage.note(self._key, "it has another type than expected")
            case _:
                return False
        return True


def _shown(text: str) -> str:
    """The text as one line without control characters, safe to print on a terminal."""
    text = text[:_MAX_CHARS]
    return text if text.isprintable() else ascii(text)
