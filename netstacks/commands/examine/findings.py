"""The findings of `netstacks doctor`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """A finding: `what` was found, `why` it matters and what to `do`; the latter two are empty when it is ok."""

    topic: str
    level: Level
    what: str
    why: str = ""
    do: str = ""


Findings = Iterator[Finding]
