"""The cache of log-ins: a crowd of requests asks PostgreSQL once, and no answer outlives a revocation."""

import uuid

import pytest

from netstacks import greenlets
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import logins
from netstacks.store.pool import Database
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.tokens import Subject

SUBJECT = Subject(uuid.uuid4(), "ana", "operator", uuid.uuid4())


class Answers:
    """A stand-in for PostgreSQL that answers when the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.role: str | None = "operator"
        self.asked = 0
        self.may_answer = greenlets.Event()
        monkeypatch.setattr(logins, "role", self._role)

    def _role(self, tx: object, login_id: uuid.UUID, *, max_days: int) -> str | None:
        self.asked += 1
        role = self.role
        self.may_answer.wait(30)
        return role


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def test_many_requests_of_one_log_in_ask_once(database: Database, answers: Answers) -> None:
    states = LoginStates(database, max_days=30)
    asking = [greenlets.spawn("request", states.role, SUBJECT) for _ in range(50)]
    greenlets.sleep(0)
    answers.may_answer.set()
    greenlets.joinall(asking, raise_error=True)
    assert [each.value for each in asking] == ["operator"] * 50
    assert answers.asked == 1


def test_an_answer_from_before_a_revocation_is_neither_shared_nor_kept(database: Database, answers: Answers) -> None:
    states = LoginStates(database, max_days=30)
    before = greenlets.spawn("request", states.role, SUBJECT)
    greenlets.sleep(0)
    answers.role = None
    states.forget(Withdrawal(SUBJECT.user_id, Scope.NOTHING))
    after = greenlets.spawn("request", states.role, SUBJECT)
    greenlets.sleep(0)
    answers.may_answer.set()
    greenlets.joinall([before, after], raise_error=True)
    assert (before.value, after.value) == ("operator", None)
    assert states.role(SUBJECT) is None


def test_an_error_reaches_all_that_wait_and_the_next_request_asks_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, answers: Answers
) -> None:
    states = LoginStates(database, max_days=30)
    broken = ValueError("a fault of this test")

    def fail(tx: object, login_id: uuid.UUID, *, max_days: int) -> str:
        greenlets.sleep(0)
        raise broken

    monkeypatch.setattr(logins, "role", fail)
    asking = [greenlets.spawn("request", states.role, SUBJECT) for _ in range(3)]
    greenlets.joinall(asking)
    assert [each.exception for each in asking] == [broken] * 3
    monkeypatch.setattr(logins, "role", lambda tx, login_id, max_days: "viewer")
    assert states.role(SUBJECT) == "viewer"


@pytest.mark.parametrize(
    "withdrawal",
    [Withdrawal(SUBJECT.user_id, Scope.ACCESS), Withdrawal(SUBJECT.user_id, Scope.LOGINS, (SUBJECT.login_id,))],
    ids=["the user", "the log-in"],
)
def test_without_postgresql_what_was_withdrawn_stays_withdrawn(withdrawal: Withdrawal) -> None:
    states = LoginStates(Database("postgresql://127.0.0.1:1/nothing"), max_days=30)
    assert states.role(SUBJECT) == "operator"
    states.forget(withdrawal)
    states.forget(Withdrawal(uuid.uuid4(), Scope.ACCESS))
    assert states.role(SUBJECT) is None
    assert states.role(SUBJECT, anew=True) is None
    assert states.last_known_role(SUBJECT) is None
