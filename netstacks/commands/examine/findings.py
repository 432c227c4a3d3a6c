"""What the doctor finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What was found about a topic; `why` it matters and what to `do`, unless all is well."""

    topic: str
    level: Level
    what: str
    why: str = ""
    do: str = ""


Findings = Iterator[Finding]
