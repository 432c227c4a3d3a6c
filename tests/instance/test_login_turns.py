"""So many log-ins at one device at once, whatever instances they come from."""

import uuid
from contextlib import ExitStack

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable
from netstacks.instance.login_slots import LoginSlots
from netstacks.store import login_slots
from netstacks.store.login_slots import TURNS
from netstacks.store.pool import Database

DEVICE = ("192.0.2.1", 22)


def test_a_device_sees_only_so_many_log_ins_at_once(database: Database) -> None:
    instances = [LoginSlots(database), LoginSlots(database)]
    inside, most, done = 0, 0, 0

    def log_in(turns: LoginSlots) -> None:
        nonlocal inside, most, done
        with turns.turn(*DEVICE):
            inside += 1
            most = max(most, inside)
            greenlets.sleep(0.05)
            inside -= 1
            done += 1

    greenlets.joinall([greenlets.spawn("log-in", log_in, instances[number % 2]) for number in range(6 * TURNS)])
    assert (done, most) == (6 * TURNS, TURNS)


def test_who_gets_no_turn_is_told_why_and_others_devices_are_free(database: Database) -> None:
    here, there = LoginSlots(database, wait_secs=0), LoginSlots(database, wait_secs=0)
    with ExitStack() as taken:
        for _ in range(TURNS):
            taken.enter_context(here.turn(*DEVICE))
        for turns in (here, there):
            with pytest.raises(DeviceUnreachable, match=r"logging in to 192\.0\.2\.1:22"):
                taken.enter_context(turns.turn(*DEVICE))
        taken.enter_context(here.turn("192.0.2.2", 22))
        taken.enter_context(here.turn("192.0.2.1", 2222))
    with there.turn(*DEVICE):
        pass


def test_a_log_in_that_fails_gives_its_turn_back(database: Database) -> None:
    turns = LoginSlots(database, wait_secs=0)
    for _ in range(2 * TURNS):
        with pytest.raises(DeviceUnreachable, match="no route"), turns.turn(*DEVICE):
            raise DeviceUnreachable("no route")


def test_the_turn_of_who_died_is_free_when_its_lease_is_over(database: Database) -> None:
    def take(lease_secs: float) -> bool:
        with database.transaction() as tx:
            return login_slots.take(tx, *DEVICE, uuid.uuid4(), lease_secs)

    assert [take(lease_secs=2) for _ in range(TURNS + 1)] == [True] * TURNS + [False]
    with LoginSlots(database, wait_secs=60).turn(*DEVICE):
        assert take(lease_secs=60)


def test_while_a_person_thinks_others_have_the_turn(database: Database) -> None:
    turns = LoginSlots(database, wait_secs=0)
    with ExitStack() as thinking:
        for _ in range(TURNS):
            thinking.enter_context(thinking.enter_context(turns.turn(*DEVICE)).paused())
        with turns.turn(*DEVICE):
            pass
    with turns.turn(*DEVICE):
        pass


def test_a_turn_that_does_not_come_again_after_a_pause_leaves_nothing_behind(database: Database) -> None:
    turns = LoginSlots(database, wait_secs=0)
    with ExitStack() as others, pytest.raises(DeviceUnreachable):
        _pause_while_others_come(turns, others)
    for _ in range(2 * TURNS):
        with turns.turn(*DEVICE):
            pass


def _pause_while_others_come(turns: LoginSlots, others: ExitStack) -> None:
    with turns.turn(*DEVICE) as turn, turn.paused():
        for _ in range(TURNS):
            others.enter_context(turns.turn(*DEVICE))
