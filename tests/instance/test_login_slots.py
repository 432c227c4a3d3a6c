"""The limit of concurrent log-ins at one device, across all instances."""

import uuid
from contextlib import ExitStack

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable
from netstacks.instance.login_slots import LoginSlots
from netstacks.store import login_slots
from netstacks.store.login_slots import SLOTS
from netstacks.store.pool import Database

DEVICE = ("192.0.2.1", 22)


def test_a_device_sees_only_so_many_log_ins_at_once(database: Database) -> None:
    instances = [LoginSlots(database), LoginSlots(database)]
    inside, most, done = 0, 0, 0

    def log_in(turns: LoginSlots) -> None:
        nonlocal inside, most, done
        with turns.slot(*DEVICE):
            inside += 1
            most = max(most, inside)
            greenlets.sleep(0.05)
            inside -= 1
            done += 1

    greenlets.joinall([greenlets.spawn("log-in", log_in, instances[number % 2]) for number in range(6 * SLOTS)])
    assert (done, most) == (6 * SLOTS, SLOTS)


def test_a_log_in_without_a_slot_is_told_why_and_other_devices_are_free(database: Database) -> None:
    here, there = LoginSlots(database, wait_secs=0), LoginSlots(database, wait_secs=0)
    with ExitStack() as taken:
        for _ in range(SLOTS):
            taken.enter_context(here.slot(*DEVICE))
        for turns in (here, there):
            with pytest.raises(DeviceUnreachable, match=r"logging in to 192\.0\.2\.1:22"):
                taken.enter_context(turns.slot(*DEVICE))
        taken.enter_context(here.slot("192.0.2.2", 22))
        taken.enter_context(here.slot("192.0.2.1", 2222))
    with there.slot(*DEVICE):
        pass


def test_a_log_in_that_fails_gives_its_turn_back(database: Database) -> None:
    turns = LoginSlots(database, wait_secs=0)
    for _ in range(2 * SLOTS):
        with pytest.raises(DeviceUnreachable, match="no route"), turns.slot(*DEVICE):
            raise DeviceUnreachable("no route")


def test_the_slot_of_a_dead_instance_is_free_when_its_lease_is_over(database: Database) -> None:
    def take(lease_secs: float) -> bool:
        with database.transaction() as tx:
            return login_slots.take(tx, *DEVICE, uuid.uuid4(), lease_secs)

    assert [take(lease_secs=60) for _ in range(SLOTS + 1)] == [True] * SLOTS + [False]
    with database.transaction() as tx:
        tx.execute("UPDATE login_turns SET until = now() - interval '1 second'")
    with LoginSlots(database, wait_secs=60).slot(*DEVICE):
        assert take(lease_secs=60)


def test_a_log_in_that_waits_for_its_user_holds_no_slot(database: Database) -> None:
    turns = LoginSlots(database, wait_secs=0)
    with ExitStack() as thinking:
        for _ in range(SLOTS):
            thinking.enter_context(thinking.enter_context(turns.slot(*DEVICE)).paused())
        with turns.slot(*DEVICE):
            pass
    with turns.slot(*DEVICE):
        pass


def test_a_turn_that_does_not_come_again_after_a_pause_leaves_nothing_behind(database: Database) -> None:
    turns = LoginSlots(database, wait_secs=0)
    with ExitStack() as others, pytest.raises(DeviceUnreachable):
        _pause_while_others_come(turns, others)
    for _ in range(2 * SLOTS):
        with turns.slot(*DEVICE):
            pass


def _pause_while_others_come(turns: LoginSlots, others: ExitStack) -> None:
    with turns.slot(*DEVICE) as turn, turn.paused():
        for _ in range(SLOTS):
            others.enter_context(turns.slot(*DEVICE))
