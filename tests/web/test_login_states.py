"""The cache of log-ins: a crowd of requests asks PostgreSQL once, and no answer outlives a revocation."""

import uuid

import pytest

from netstacks import greenlets
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.permissions import Reach, Role, preset
from netstacks.store import logins
from netstacks.store.pool import Database
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.tokens import Subject

SUBJECT = Subject(uuid.uuid4(), "ana", "operator", uuid.uuid4())
OPERATOR = preset("operator")
NOC = Role("noc", frozenset({"sessions.*"}), Reach(sites=frozenset({"Bonn"})))


class Answers:
    """A stand-in for PostgreSQL that answers when the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.role: Role | None = OPERATOR
        self.asked = 0
        self.may_answer = greenlets.Event()
        monkeypatch.setattr(logins, "role", self._role)

    def _role(self, tx: object, login_id: uuid.UUID, *, max_days: int) -> Role | None:
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
    assert [each.value for each in asking] == [OPERATOR] * 50
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
    assert (before.value, after.value) == (OPERATOR, None)
    assert states.role(SUBJECT) is None


def test_an_error_reaches_all_that_wait_and_the_next_request_asks_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, answers: Answers
) -> None:
    states = LoginStates(database, max_days=30)
    broken = ValueError("a fault of this test")

    def fail(tx: object, login_id: uuid.UUID, *, max_days: int) -> Role:
        greenlets.sleep(0)
        raise broken

    monkeypatch.setattr(logins, "role", fail)
    asking = [greenlets.spawn("request", states.role, SUBJECT) for _ in range(3)]
    greenlets.joinall(asking)
    assert [each.exception for each in asking] == [broken] * 3
    monkeypatch.setattr(logins, "role", lambda tx, login_id, max_days: NOC)
    assert states.role(SUBJECT) == NOC


@pytest.mark.parametrize(
    "withdrawal",
    [Withdrawal(SUBJECT.user_id, Scope.ACCESS), Withdrawal(SUBJECT.user_id, Scope.LOGINS, (SUBJECT.login_id,))],
    ids=["the user", "the log-in"],
)
def test_without_postgresql_what_was_withdrawn_stays_withdrawn(withdrawal: Withdrawal) -> None:
    states = LoginStates(Database("postgresql://127.0.0.1:1/nothing"), max_days=30)
    assert states.role(SUBJECT) == OPERATOR
    states.forget(withdrawal)
    states.forget(Withdrawal(uuid.uuid4(), Scope.ACCESS))
    assert states.role(SUBJECT) is None
    assert states.role(SUBJECT, anew=True) is None
    assert states.last_known_role(SUBJECT) is None


def test_a_changed_role_is_asked_for_again_at_once(database: Database, answers: Answers) -> None:
    states = LoginStates(database, max_days=30)
    answers.may_answer.set()
    answers.role = NOC
    assert [states.role(SUBJECT), states.role(SUBJECT)] == [NOC, NOC]
    assert answers.asked == 1
    answers.role = Role("noc", frozenset())
    states.forget_role("noc")
    assert states.role(SUBJECT) == answers.role
    assert answers.asked == 2


def test_without_postgresql_the_last_known_permissions_of_a_role_count(database: Database, answers: Answers) -> None:
    states = LoginStates(database, max_days=30)
    answers.may_answer.set()
    answers.role = NOC
    states.role(SUBJECT)
    database.close()
    assert states.role(SUBJECT, anew=True) == NOC
    # A user of that role whom this instance has not seen before.
    other = Subject(uuid.uuid4(), "lee", "noc", uuid.uuid4())
    assert states.role(other) == NOC
    # What was taken from a role does not come back.
    states.forget_role("noc")
    assert states.role(SUBJECT) == Role("noc", frozenset())


def test_a_role_that_was_never_heard_of_permits_nothing_without_postgresql() -> None:
    states = LoginStates(Database("postgresql://127.0.0.1:1/nothing"), max_days=30)
    known, unknown = (Subject(uuid.uuid4(), "lee", name, uuid.uuid4()) for name in ("viewer", "noc"))
    assert states.role(known) == preset("viewer")
    assert states.role(unknown) == Role("noc", frozenset())
