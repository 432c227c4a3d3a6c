"""The survey of live sessions: one question to each owner, and no wait for an owner that does not answer."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import PeerFailed
from netstacks.instance import session_survey
from netstacks.instance.session_survey import LiveFigures, SessionSurvey, SurveyedSession
from netstacks.peer.client import NoAnswer, Reply
from netstacks.store.pool import Database
from netstacks.terminal.attachment import Kind
from tests.rows import make_session
from tests.waits import until


class Peers:
    """Owners that answer as `answers` says, by instance id."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, int]] = []

    def call(self, peer: Peer, path: str, *, session_ids: list[str]) -> Reply | NoAnswer:
        assert path == session_survey.PATH
        self.calls.append((peer.id, len(session_ids)))
        answer = self.answers.get(peer.id)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, greenlets.Event):
            answer.wait()
            return Reply({each: {"viewers": 7, "bytes": 70} for each in session_ids})
        if callable(answer):
            return Reply(answer(session_ids))
        return NoAnswer("refused")


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def survey(database: Database, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> SessionSurvey:
    # A pause of this machine makes no figure old and no owner slow.
    monkeypatch.setattr(session_survey, "_FRESH_SECS", 600.0)
    monkeypatch.setattr(session_survey, "_PATIENCE_SECS", 60.0)
    hub = SimpleNamespace(find=lambda session_id: None)
    return SessionSurvey(database, cast(Any, peers), cast(Any, hub), "ctrl-own")


def owned(database: Database, owner: str) -> str:
    return str(make_session(database, owner=owner, owner_address="127.0.0.1:1"))


def page(survey: SessionSurvey, owner: str | None = None) -> dict[str, LiveFigures | None]:
    found: list[SurveyedSession] = survey.page(owner=owner, before=None, limit=50)
    return {str(each.row.id): each.figures for each in found}


def test_each_owner_is_asked_once_for_all_its_sessions(database: Database, survey: SessionSurvey, peers: Peers) -> None:
    ids = [owned(database, "ctrl-b") for _ in range(3)]
    peers.answers["ctrl-b"] = lambda asked: {each: {"viewers": 2, "bytes": 40} for each in asked}
    assert page(survey) == dict.fromkeys(ids, LiveFigures(2, 40))
    # Many pages that are open at the same time cause no more calls.
    assert page(survey) == dict.fromkeys(ids, LiveFigures(2, 40))
    assert peers.calls == [("ctrl-b", 3)]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        PeerFailed("instance ctrl-b answered 404"),
        lambda asked: [],
        lambda asked: {each: {"viewers": "2"} for each in asked},
        lambda asked: dict.fromkeys(asked),
        lambda asked: {},
    ],
)
def test_an_owner_without_a_usable_answer_leaves_the_figures_unknown(
    database: Database, survey: SessionSurvey, peers: Peers, answer: Any
) -> None:
    unknown, known = owned(database, "ctrl-b"), owned(database, "ctrl-c")
    peers.answers = {"ctrl-b": answer, "ctrl-c": lambda asked: {each: {"viewers": 0, "bytes": 1} for each in asked}}
    assert page(survey) == {unknown: None, known: LiveFigures(0, 1)}


def test_a_slow_owner_is_not_waited_for(
    database: Database, survey: SessionSurvey, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_survey, "_PATIENCE_SECS", 0.05)
    slow = owned(database, "ctrl-b")
    answers = peers.answers["ctrl-b"] = greenlets.Event()
    assert page(survey) == {slow: None}
    answers.set()
    until(lambda: page(survey) == {slow: LiveFigures(7, 70)}, "the answer on a later page")


def test_own_sessions_and_those_without_an_owner_cost_no_call(database: Database, peers: Peers) -> None:
    own, unowned = owned(database, "ctrl-own"), str(make_session(database, owner="ctrl-gone"))
    attachments = [SimpleNamespace(kind=kind) for kind in (Kind.CONTROL, Kind.VIEWER, Kind.VIEWER)]
    session = SimpleNamespace(attachments=attachments, output=SimpleNamespace(end=123))
    hub = SimpleNamespace(find=lambda session_id: session if str(session_id) == own else None)
    survey = SessionSurvey(database, cast(Any, peers), cast(Any, hub), "ctrl-own")
    assert page(survey) == {own: LiveFigures(2, 123), unowned: None}
    assert page(survey, owner="ctrl-own") == {own: LiveFigures(2, 123)}
    assert peers.calls == []
    assert survey.here([uuid4()]) == {}
