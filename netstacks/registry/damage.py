"""What could not be read in the registry: told in the log, and shown for as long as it is found."""

from collections.abc import Mapping

import structlog
from cachetools import TTLCache
from redis.exceptions import ResponseError

log = structlog.get_logger()

# A record is told once more when it was not found for so long.
_REMEMBERED_SECS = 60.0
# Of more records than this, the rest is neither told nor shown.
MOST_RECORDS = 100
_MOST_CHARS = 200


class Damage:
    """The records that readers leave out, and what is wrong with each."""

    def __init__(self) -> None:
        self._problems: TTLCache[str, str] = TTLCache(MOST_RECORDS, _REMEMBERED_SECS)

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong, by key, in the order of the keys."""
        return dict(sorted(self._problems.items()))

    def note(self, key: str, problem: str) -> None:
        """Takes a record that was left out."""
        key, problem = _shown(key), _shown(problem)
        if key not in self._problems:
            if len(self._problems) >= MOST_RECORDS:
                return
            log.warning("registry.unreadable", key=key, problem=problem)
        self._problems[key] = problem

    def noted(self, key: str) -> "_Noted":
        """Around the reading of one record: what is wrong with it ends the block and goes no further."""
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
                self._damage.note(self._key, "it is of another type than ours")
            case _:
                return False
        return True


def _shown(text: str) -> str:
    """The text as a line that no terminal obeys."""
    text = text[:_MOST_CHARS]
    return text if text.isprintable() else ascii(text)
