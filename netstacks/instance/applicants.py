"""The members of the admission queue: clients that wait, and greenlets that already serve a client."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from netstacks import greenlets

if TYPE_CHECKING:
    from netstacks.instance.admission import Grant


class Applicant(Protocol):
    """A member of the queue. No method waits."""

    def drop_if_gone(self) -> bool:
        """Ends the wait if its client has left; returns whether it has."""

    def show_place(self, place: int, wait_secs: float) -> None:
        """Reports its position, counted from 1, and the estimated wait."""

    def admit(self, grant: "Grant") -> None:
        """Admits it: `grant` permits one opening."""

    def hand_on(self) -> bool:
        """Starts to hand it over to an instance with room; True when it leaves the queue for that. It may come back."""


class WaitingCaller:
    """An applicant whose greenlet waits for `news`."""

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self.news = greenlets.Event()
        self.place: tuple[int, float] | None = None
        self.grant: Grant | None = None
        self.has_left = False
        self._is_gone = is_gone

    def drop_if_gone(self) -> bool:
        if self._is_gone():
            self.has_left = True
            self.news.set()
        return self.has_left

    def show_place(self, place: int, wait_secs: float) -> None:
        self.place = place, wait_secs
        self.news.set()

    def admit(self, grant: "Grant") -> None:
        self.grant = grant
        self.news.set()

    def hand_on(self) -> bool:
        """False: this instance already serves its connection."""
        return False


def about(secs: float) -> str:
    """An estimated wait in words, rounded up."""
    if secs < 5:
        return "a few seconds"
    rounded = math.ceil(secs / 5) * 5
    return f"about {rounded} s" if rounded <= 90 else f"about {math.ceil(secs / 60)} minutes"
