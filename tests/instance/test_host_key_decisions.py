"""A host key that a device shows at a log-in, on real rows: users decide about a first one, few about a changed one."""

import base64
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceError, HostKeyRejected, OpeningAbandoned
from netstacks.instance import host_key_prompts as module
from netstacks.instance.dialer import Dialer
from netstacks.instance.host_key_prompts import HostKeyPrompts
from netstacks.instance.targets import Target
from netstacks.permissions import EVERYWHERE
from netstacks.store import audit, hostkeys, prompts, users
from netstacks.store.audit import Actor
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.loading import EARLIEST
from netstacks.store.pool import Database
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.host_key import HostKey
from netstacks.terminal.unattended import UnattendedDialogue
from tests.controller import until


def key(text: str) -> HostKey:
    return HostKey("ssh-ed25519", base64.b64encode(text.encode()).decode())


OLD, NEW, OTHER = map(key, ("old", "new", "other"))


class World:
    """A device, and users that log in to it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._dialer = Dialer(database, cast(Any, None), HostKeyPrompts(database))
        self._left = greenlets.Event()
        self._connections: list[greenlets.Greenlet] = []
        with database.transaction() as tx:
            self.ids = {
                name: users.create(tx, username=name, password_hash="-", role=role).id
                for name, role in (("ann", "admin"), ("lee", "operator"))
            }

    def store(self, known: HostKey, approved_by: str = "ann") -> None:
        with self.database.transaction() as tx:
            hostkeys.remember(tx, "r1", 22, known.key_type, known.public_key, approved_by)

    def check(self, name: str, found: HostKey, dialogue: Dialogue) -> None:
        changed: Any = SimpleNamespace(name="r1", host="r1", port=22, changed_at=EARLIEST)
        turn: Any = SimpleNamespace(paused=nullcontext)
        actor = Actor(name, self.ids[name], "192.0.2.9")
        self._dialer._check_host_key(turn, actor, cast(Target, changed), changed, found, dialogue)

    def connect(self, name: str, found: HostKey) -> greenlets.Greenlet:
        """A connection that waits for a decision, if there is one to wait for."""
        dialogue = Dialogue(self._left.is_set)
        self._connections.append(greenlets.spawn("connection", _checked, self, name, found, dialogue))
        return self._connections[-1]

    def question(self, name: str) -> prompts.Prompt:
        def find() -> prompts.Prompt | None:
            greenlets.sleep(0.01)
            asked = [each for each in self.questions() if each.user_id == self.ids[name]]
            return asked[0] if asked else None

        return cast(prompts.Prompt, until(find, "the question"))

    def questions(self) -> list[prompts.Prompt]:
        with self.database.transaction() as tx:
            return prompts.pending(tx)

    def approve(self, prompt_id: UUID, name: str) -> None:
        with self.database.transaction() as tx:
            prompts.answer(
                tx, prompt_id, self.ids[name], True, answered_by=name, may_manage=name == "ann", within=EVERYWHERE
            )

    def stored(self) -> StoredHostKey | None:
        with self.database.transaction() as tx:
            return hostkeys.find(tx, "r1", 22)

    def audited(self) -> list[dict[str, Any]]:
        with self.database.transaction() as tx:
            return [row["details"] for row in audit.list_page(tx, event="host_key.approved", limit=10)]

    def leave(self) -> None:
        self._left.set()
        greenlets.joinall(self._connections)


def _checked(world: World, name: str, found: HostKey, dialogue: Dialogue) -> str:
    try:
        world.check(name, found, dialogue)
    except (HostKeyRejected, OpeningAbandoned) as error:
        return str(error)
    return "approved"


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(module, "_POLL_SECS", 0.01)
    world = World(database)
    yield world
    world.leave()


def test_a_first_key_is_approved_by_the_connecting_user(world: World) -> None:
    connection = world.connect("lee", NEW)
    world.approve(world.question("lee").id, "lee")
    assert connection.get(timeout=30) == "approved"
    stored = world.stored()
    assert stored is not None
    assert NEW.is_stored_as(stored)
    assert stored.approved_by == "lee"
    assert world.audited() == [{"fingerprint": NEW.fingerprint, "approved_by": "lee", "changed": False}]


@pytest.mark.parametrize("dialogue", [Dialogue, lambda: UnattendedDialogue(lambda: False)], ids=["person", "program"])
def test_a_changed_key_is_refused_at_once_to_a_role_that_may_not_decide(
    world: World, dialogue: Callable[[], Dialogue]
) -> None:
    world.store(OLD)
    before = world.stored()
    assert before is not None
    with pytest.raises(HostKeyRejected) as told:
        world.check("lee", NEW, dialogue())
    since = f"{before.approved_at:%Y-%m-%d at %H:%M} UTC"
    assert f"HAS CHANGED from {OLD.fingerprint} (approved by ann on {since}) to {NEW.fingerprint}" in str(told.value)
    assert "Your role may not approve the new key. An administrator can" in str(told.value)
    assert world.questions() == []
    assert world.stored() == before


def test_a_changed_key_is_approved_by_an_administrator(world: World) -> None:
    world.store(OLD, "lee")
    connection = world.connect("ann", NEW)
    asked = world.question("ann")
    assert (asked.previous_fingerprint, asked.previous_approved_by) == (OLD.fingerprint, "lee")
    world.approve(asked.id, "ann")
    assert connection.get(timeout=30) == "approved"
    stored = world.stored()
    assert stored is not None
    assert NEW.is_stored_as(stored)
    assert stored.approved_by == "ann"
    assert world.audited() == [
        {
            "fingerprint": NEW.fingerprint,
            "approved_by": "ann",
            "changed": True,
            "previous_fingerprint": OLD.fingerprint,
        }
    ]


def test_the_approver_is_the_user_that_answered(world: World) -> None:
    connection = world.connect("lee", NEW)
    world.approve(world.question("lee").id, "ann")
    assert connection.get(timeout=30) == "approved"
    stored = world.stored()
    assert stored is not None
    assert stored.approved_by == "ann"


def test_the_approval_of_a_first_key_does_not_replace_one_that_was_approved_meanwhile(world: World) -> None:
    connection = world.connect("lee", NEW)
    asked = world.question("lee")
    world.store(OTHER)
    world.approve(asked.id, "lee")
    assert "Your role may not approve the new key" in connection.get(timeout=30)
    assert OTHER.is_stored_as(world.stored())


def test_an_administrator_is_asked_anew_when_the_old_key_was_replaced_meanwhile(world: World) -> None:
    world.store(OLD)
    connection = world.connect("ann", NEW)
    asked = world.question("ann")
    world.store(OTHER)
    world.approve(asked.id, "ann")
    again = world.question("ann")
    assert again.previous_fingerprint == OTHER.fingerprint
    world.approve(again.id, "ann")
    assert connection.get(timeout=30) == "approved"
    assert NEW.is_stored_as(world.stored())


def test_a_role_that_was_taken_away_decides_nothing(world: World) -> None:
    world.store(OLD)
    with world.database.transaction() as tx:
        tx.execute("UPDATE users SET role = 'operator' WHERE username = 'ann'")
    with pytest.raises(HostKeyRejected, match="Your role may not"):
        world.check("ann", NEW, Dialogue())


def test_a_program_of_an_administrator_is_told_that_it_takes_a_person(world: World) -> None:
    world.store(OLD)
    with pytest.raises(DeviceError, match="has changed, which needs a person"):
        world.check("ann", NEW, UnattendedDialogue(lambda: False))
