"""Questions about host keys: a rejection holds for the user that gave it, for some minutes."""

import uuid
from datetime import timedelta
from uuid import UUID

import pytest

from netstacks.permissions import EVERYWHERE
from netstacks.store import prompts
from netstacks.store.pool import Database, Transaction
from netstacks.store.prompts import ANSWER_SECS, REJECTED_SECS, Prompt

ANA = uuid.uuid4()
KEY = ("r1", 22, "SHA256:new")


def answered(tx: Transaction, approved: bool, *, user_id: UUID = ANA, secs_ago: float = 0) -> Prompt:
    """A question that was asked and answered so long ago."""
    asked = prompts.ask(tx, user_id, *KEY, None)
    prompt = prompts.answer(tx, asked.id, user_id, approved, answered_by="ana", may_manage=False, within=EVERYWHERE)
    tx.execute(
        "UPDATE host_key_prompts SET created_at = now() - make_interval(secs => %(ago)s),"
        " answered_at = now() - make_interval(secs => %(ago)s) WHERE id = %(id)s",
        {"ago": secs_ago, "id": prompt.id},
    )
    found = prompts.find(tx, prompt.id)
    assert found is not None
    return found


def test_a_rejection_holds_for_its_user_its_address_and_its_key(database: Database) -> None:
    with database.transaction() as tx:
        rejection = answered(tx, approved=False)
        assert prompts.rejected(tx, ANA, *KEY, None) == rejection
        assert prompts.rejected(tx, uuid.uuid4(), *KEY, None) is None
        assert prompts.rejected(tx, None, *KEY, None) is None
        for other in (("r2", 22, "SHA256:new"), ("r1", 23, "SHA256:new"), ("r1", 22, "SHA256:other")):
            assert prompts.rejected(tx, ANA, *other, None) is None


def test_neither_an_open_question_nor_an_approval_is_a_rejection(database: Database) -> None:
    with database.transaction() as tx:
        prompts.ask(tx, ANA, *KEY, None)
        assert prompts.rejected(tx, ANA, *KEY, None) is None
        answered(tx, approved=True)
        assert prompts.rejected(tx, ANA, *KEY, None) is None


def test_a_rejection_ends_after_its_time(database: Database) -> None:
    with database.transaction() as tx:
        answered(tx, approved=False, secs_ago=REJECTED_SECS)
        assert prompts.rejected(tx, ANA, *KEY, None) is None
        fresh = answered(tx, approved=False, secs_ago=REJECTED_SECS - 1)
        assert prompts.rejected(tx, ANA, *KEY, None) == fresh


def test_a_rejection_ends_with_a_change_after_it(database: Database) -> None:
    with database.transaction() as tx:
        rejection = answered(tx, approved=False, secs_ago=60)
        assert prompts.rejected(tx, ANA, *KEY, rejection.rejected_at - timedelta(seconds=1)) == rejection
        assert prompts.rejected(tx, ANA, *KEY, rejection.rejected_at + timedelta(seconds=1)) is None


def test_a_rejection_counts_from_its_answer(database: Database) -> None:
    with database.transaction() as tx:
        asked = prompts.ask(tx, ANA, *KEY, None)
        tx.execute("UPDATE host_key_prompts SET created_at = now() - interval '1 minute'")
        prompts.answer(tx, asked.id, ANA, False, answered_by="ana", may_manage=False, within=EVERYWHERE)
        found = prompts.rejected(tx, ANA, *KEY, since=asked.created_at - timedelta(seconds=30))
        assert found is not None
        assert found.rejected_at - found.created_at == timedelta(minutes=1)


def test_the_newest_rejection_counts(database: Database) -> None:
    with database.transaction() as tx:
        answered(tx, approved=False, secs_ago=60)
        newest = answered(tx, approved=False, secs_ago=10)
        answered(tx, approved=False, secs_ago=30)
        assert prompts.rejected(tx, ANA, *KEY, None) == newest
        assert newest.rejected_until - newest.rejected_at == timedelta(seconds=REJECTED_SECS)


@pytest.mark.parametrize(
    ("approved", "secs_ago", "stays"),
    [(False, REJECTED_SECS - 1, True), (False, REJECTED_SECS + 1, False), (True, ANSWER_SECS + 1, False)],
)
def test_a_new_question_clears_away_all_but_fresh_rejections(
    database: Database, approved: bool, secs_ago: float, stays: bool
) -> None:
    with database.transaction() as tx:
        old = answered(tx, approved, secs_ago=secs_ago)
        prompts.ask(tx, uuid.uuid4(), *KEY, None)
        assert prompts.find(tx, old.id) == (old if stays else None)


def test_a_question_without_an_answer_is_cleared_away(database: Database) -> None:
    with database.transaction() as tx:
        old = prompts.ask(tx, ANA, *KEY, None)
        tx.execute("UPDATE host_key_prompts SET created_at = now() - make_interval(secs => %s)", [ANSWER_SECS + 1])
        prompts.ask(tx, uuid.uuid4(), *KEY, None)
        assert prompts.find(tx, old.id) is None


def test_a_rejection_by_an_instance_of_the_former_version_holds_too(database: Database) -> None:
    with database.transaction() as tx:
        rejection = answered(tx, approved=False)
        tx.execute("UPDATE host_key_prompts SET answered_at = NULL")
        found = prompts.rejected(tx, ANA, *KEY, None)
        assert found is not None
        assert (found.id, found.rejected_at) == (rejection.id, rejection.created_at)


def test_forgotten_rejections_are_those_of_one_address(database: Database) -> None:
    with database.transaction() as tx:
        rejection = answered(tx, approved=False)
        prompts.forget_rejections(tx, "r1", 23)
        assert prompts.rejected(tx, ANA, *KEY, None) == rejection
        still_open = prompts.ask(tx, uuid.uuid4(), *KEY, None)
        prompts.forget_rejections(tx, "r1", 22)
        assert prompts.rejected(tx, ANA, *KEY, None) is None
        assert prompts.find(tx, still_open.id) == still_open
