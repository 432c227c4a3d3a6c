"""A session is looked up once for any number of viewers."""

import uuid
from typing import Any

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import RetryLater, SessionGone
from netstacks.instance import finder
from netstacks.instance.finder import Finder, Held

HELD = Held(uuid.uuid4(), Peer("a", "10.0.0.7:7000"), 3)
VIEWERS = 1000


class Locator:
    """Gives scripted answers, and counts the calls."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[uuid.UUID] = []
        self._answers = list(answers)

    def __call__(self, session_id: uuid.UUID) -> Any:
        self.asked.append(session_id)
        greenlets.sleep(0)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "_PAUSE_SECS", (0.01, 0.02))


def all_of(function: Any, *arguments: Any) -> list[Any]:
    def found() -> Any:
        try:
            return function(*arguments)
        except RetryLater as error:
            return error

    asking = [greenlets.spawn(f"viewer-{number}", found) for number in range(VIEWERS)]
    greenlets.joinall(asking)
    return [each.value for each in asking]


@pytest.mark.parametrize("when", ["find", "find_later"])
def test_a_crowd_shares_one_look_up(when: str) -> None:
    locate = Locator(HELD)
    assert all_of(getattr(Finder(locate), when), HELD.session_id) == [HELD] * VIEWERS
    assert locate.asked == [HELD.session_id]


def test_a_crowd_that_waits_asks_once_per_pause() -> None:
    locate = Locator(*[RetryLater("the session waits for its user to come back")] * 5, HELD)
    find = Finder(locate)

    def wait() -> Any:
        while True:
            try:
                return find.find_later(HELD.session_id)
            except RetryLater:
                pass

    assert all_of(wait) == [HELD] * VIEWERS
    assert len(locate.asked) == 6


def test_sessions_are_looked_up_apart_and_each_time_anew() -> None:
    other = Held(uuid.uuid4(), HELD.owner, 1)
    locate = Locator(HELD, other, HELD)
    find = Finder(locate)
    assert [find.find(each.session_id) for each in (HELD, other, HELD)] == [HELD, other, HELD]
    assert len(locate.asked) == 3


def test_a_failure_reaches_every_caller_as_an_error_of_its_own() -> None:
    errors = all_of(Finder(Locator(RetryLater("no instance holds it"))).find, HELD.session_id)
    assert {str(each) for each in errors} == {"no instance holds it"}
    assert len({id(each) for each in errors}) == VIEWERS
    with pytest.raises(SessionGone, match="it has ended"):
        Finder(Locator(SessionGone("it has ended"))).find(HELD.session_id)


def test_a_bug_leaves_no_caller_waiting() -> None:
    find = Finder(Locator(RuntimeError("a bug"), HELD))
    with pytest.raises(RetryLater):
        find.find(HELD.session_id)
    assert find.find(HELD.session_id) is HELD
