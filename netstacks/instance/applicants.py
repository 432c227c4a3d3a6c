"""What waits in the admission queue: clients, and greenlets that serve a client already."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from netstacks import greenlets

if TYPE_CHECKING:
    from netstacks.instance.admission import Grant


class Applicant(Protocol):
    """One that waits. All of it returns at once."""

    def is_gone(self) -> bool:
        """Whether its client has left."""

    def tell(self, place: int, wait_secs: float) -> None:
        """Says how many are let in before it and itself, and about how long that takes."""

    def admit(self, grant: "Grant") -> None:
        """Its turn has come."""

    def hand_on(self) -> bool:
        """Asks another instance to serve it, if one has room; it has left the queue then, and may come back."""


class WaitingCaller:
    """An applicant whose greenlet waits for `news`."""

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self.news = greenlets.Event()
        self.told: tuple[int, float] | None = None
        self.grant: Grant | None = None
        self.has_left = False
        self._is_gone = is_gone

    def is_gone(self) -> bool:
        if self._is_gone():
            self.has_left = True
            self.news.set()
        return self.has_left

    def tell(self, place: int, wait_secs: float) -> None:
        self.told = place, wait_secs
        self.news.set()

    def admit(self, grant: "Grant") -> None:
        self.grant = grant
        self.news.set()

    def hand_on(self) -> bool:
        """It has a connection to this instance already."""
        return False


def about(secs: float) -> str:
    """A wait in words that promise no more than is known."""
    if secs < 5:
        return "a few seconds"
    rounded = math.ceil(secs / 5) * 5
    return f"about {rounded} s" if rounded <= 90 else f"about {math.ceil(secs / 60)} minutes"
