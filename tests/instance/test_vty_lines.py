"""A device with few lines: the sessions that make room."""

import uuid
from datetime import UTC, datetime
from uuid import UUID

import pytest

from netstacks.errors import RetryLater
from netstacks.instance.targets import Target
from netstacks.instance.vty_lines import VtyLines
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.terminal.dialogue import Dialogue
from tests.rows import make_session

DEVICE = uuid.uuid4()


def target(lines: int | None) -> Target:
    return Target(DEVICE, "r1", "192.0.2.1", 22, "modern", "utf-8", lines, None, None, datetime.now(UTC))


def add(database: Database, *, detached: bool, device_id: UUID = DEVICE) -> UUID:
    session_id = make_session(database, device_id=device_id)
    with database.transaction() as tx:
        if detached:
            sessions.mark_detached(tx, session_id, 1)
        else:
            sessions.mark_attached(tx, session_id, 1, 80, 24)
    return session_id


def freed(database: Database, lines: int | None) -> list[UUID]:
    ended: list[UUID] = []
    VtyLines(database, lambda session_id, reason: ended.append(session_id)).make_room(target(lines), Dialogue())
    return ended


def test_the_session_that_has_waited_longest_makes_room(database: Database) -> None:
    waiting = [add(database, detached=True) for _ in range(3)]
    add(database, detached=False)
    assert freed(database, 4) == waiting[:1]
    assert freed(database, 3) == waiting[:2]


def test_a_device_with_a_free_line_ends_nothing(database: Database) -> None:
    add(database, detached=True)
    assert freed(database, 2) == []


def test_a_device_whose_lines_are_no_matter_ends_nothing(database: Database) -> None:
    add(database, detached=True)
    assert freed(database, None) == []


def test_a_session_in_use_and_those_of_other_devices_are_spared(database: Database) -> None:
    add(database, detached=False)
    add(database, detached=True, device_id=uuid.uuid4())
    assert freed(database, 1) == []


def test_one_that_cannot_be_ended_now_is_no_obstacle(database: Database) -> None:
    add(database, detached=True)
    dialogue = Dialogue()

    def end(session_id: UUID, reason: str) -> None:
        raise RetryLater("its owner is silent")

    VtyLines(database, end).make_room(target(1), dialogue)


@pytest.mark.parametrize("lines", [1, 2])
def test_the_engineer_is_told_whose_session_was_ended(database: Database, lines: int) -> None:
    for _ in range(lines):
        add(database, detached=True)
    told = b""

    class Terminal:
        def show(self, data: bytes) -> None:
            nonlocal told
            told += data

        def expect_keys(self) -> None:
            raise AssertionError

    dialogue = Dialogue()
    dialogue.join(Terminal())
    VtyLines(database, lambda session_id, reason: None).make_room(target(lines), dialogue)
    assert told.count(b"the controller has ended a detached session of ana to free one of the") == 1
