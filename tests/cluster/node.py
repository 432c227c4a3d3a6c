"""One simulated instance: real agent and real decisions, its process and its network are flags."""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from netstacks.cluster.model import NO_LOAD, Load, SessionRecord
from netstacks.cluster.reconciliation import Fence, Proof, Signs, is_alive, is_forsaken, is_gone, judge_held
from netstacks.cluster.routing import Claim, Dial, Gone, Local, Outcome, Placement, Proxy, Wait, choose_route
from netstacks.errors import RegistryUnavailable, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.registry.base import Pulse
from tests.cluster.facts import instance, record

if TYPE_CHECKING:
    from tests.cluster.world import World

TTL_SECS = 30.0
INTERVAL_SECS = 5.0
DETACH_TTL_SECS = 70.0
LONG_AGO = -1000.0


class Line:
    """A node's line to Valkey: the registry, which may be out of reach."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        if not self._node.world.valkey.up or self._node.cut_off:
            raise RegistryUnavailable("out of reach")
        return getattr(self._node.world.valkey.data, name)

    def reserved(self) -> "Line":
        return self

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        node = self._node
        try:
            pulse: Pulse = self.__getattr__("heartbeat")(instance_id, load)
        except RegistryUnavailable:
            node.missed_at = node.world.now
            raise
        if pulse.state is not None:
            node.heard_at = node.world.now
        return replace(pulse, server=f"run {node.world.valkey.run}")


@dataclass
class Client:
    """A person at a terminal, or a viewer of a share. `connecting` is its connection while it is being routed."""

    session: UUID
    viewer: bool = False
    owner: "Node | None" = None
    via: "Node | None" = None
    connecting: Iterator[None] | None = None
    told: str | None = None
    gone: str | None = None

    def drop(self) -> None:
        self.owner = self.via = self.connecting = None


@dataclass
class Node:
    """An instance with its private listener at `address`, its witness in PostgreSQL and the sessions it holds."""

    world: "World"
    id: str
    address: str
    alive: bool = True
    frozen: bool = False
    cut_off: bool = False
    """From Valkey."""
    deaf: bool = False
    """To its peers' dials, which time out."""
    spoke_at: float = LONG_AGO
    """When PostgreSQL last heard from it."""
    heard_at: float = LONG_AGO
    missed_at: float = LONG_AGO
    """When its last heartbeat arrived, and when one last failed."""
    held: dict[UUID, int] = field(default_factory=dict)
    opening: dict[UUID, int] = field(default_factory=dict)
    agent: Agent = field(init=False)

    def __post_init__(self) -> None:
        me = replace(instance(self.id), peer_address=self.address)
        self.registry: Any = Line(self)
        self.agent = Agent(
            me, self.registry, self, interval_secs=INTERVAL_SECS, ttl_secs=TTL_SECS, clock=lambda: self.world.now
        )
        self.world.witnesses.add(self.id)
        self.spoke_at = self.world.now
        self.agent.heartbeat()

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    def records(self) -> list[SessionRecord]:
        return [record(self.id, epoch, session_id=session) for session, epoch in self.held.items()]

    def publish(self, session: UUID) -> None:
        self.agent.publish(record(self.id, self.held[session], session_id=session))

    def fence(self, session_ids: Sequence[UUID]) -> None:
        for session in session_ids:
            self.held.pop(session, None)
            self.world.hang_up(owner=self, session=session)

    def recheck(self) -> None:
        if self.world.database_up:
            self.fence([each for each, epoch in self.held.items() if self.world.rows[each].epoch != epoch])

    def expire_detached(self) -> None: ...

    def round(self) -> None:
        """What a running instance does all the time: it beats, reaps, records, reconciles, and holds its witness."""
        self.agent.heartbeat()
        self.agent.reap()
        if self.world.database_up:
            self.world.witnesses.add(self.id)
            self.spoke_at = self.world.now
            for session, epoch in list(self.held.items()):
                self.world.record_output(self, session, epoch)
            self.reconcile()

    def reconcile(self) -> None:
        """Both ways, and what others have left; the real rules."""
        for session, epoch in list(self.held.items()):
            if judge_held(epoch, self.world.rows[session], end_reason=None, end_requested=None) == Fence():
                self.fence([session])
            else:
                self.world.orphaned_since.pop((session, epoch), None)
        for row in list(self.world.rows.values()):
            if is_forsaken(row, self.id, held=row.id in self.held or row.id in self.opening):
                self.world.release(self, row.id, row.epoch)
            elif row.state != "ended" and row.owner != self.id and self._is_gone(row):
                self.world.leave_to_its_user(self, row)

    def _is_gone(self, row: SessionRecord) -> bool:
        if row.owner is None:
            return True
        registered, is_blind = None, True
        with contextlib.suppress(RegistryUnavailable):
            registered, is_blind = self.registry.instance(row.owner), self.agent.is_blind
        witness = self.world.witness(row.owner)
        if is_alive(registered, witness, self.world.now, TTL_SECS):
            return False
        proof: Proof = "blind" if is_blind else "counts"
        signs = Signs(registered, proof, witness, self.world.ask_whether_alive(self, row.owner))
        if not is_gone(signs, self.world.now, TTL_SECS):
            return False
        self.world.judge_gone(self, row.owner)
        return True

    def answer(self, caller: "Node", session: UUID, owner: str, epoch: int) -> Outcome:
        """What a peer's dial to this node's address finds."""
        if self.frozen or self.deaf or caller.deaf:
            return "timed_out"
        if self.id != owner:
            return "other_id"
        if epoch in (self.held.get(session), self.opening.get(session)):
            return "confirmed"
        # A claim that was lost half-way is given up by the instance that made it: no other can know.
        if self.world.database_up and self.world.rows[session].owner == self.id and session not in self.opening:
            self.world.release(self, session, epoch)
        return "denied"

    def connect(self, client: Client) -> Iterator[None]:
        """The broker's walk for one connection: look up, decide, act; others act in between."""
        dial: Dial | None = None
        for _ in range(5):
            placement = yield from self._look_up(client, dial)
            match choose_route(placement, self.agent.me, self.world.now, TTL_SECS):
                case Local() if client.session in self.opening:
                    client.told = "it is being opened"
                    return
                case Local():
                    row = placement.row
                    assert row is None or self.held[client.session] >= row.epoch, "served by a fenced owner"
                    client.owner, client.via = self, self
                    return
                case Proxy(owner, epoch):
                    outcome = self.world.dial(self, client.session, owner.id, owner.address, epoch)
                    yield
                    if outcome == "confirmed" and self.world.attach(client, self, owner.id, epoch):
                        return
                    dial = Dial(owner.id, epoch, outcome, self.world.witness(owner.id))
                case Claim(wanted):
                    self.world.judge_claim(self, placement)
                    yield from self._claim(client, wanted)
                    if client.owner or client.told:
                        return
                    dial = None
                case Wait(reason):
                    client.told = reason
                    return
                case Gone(reason):
                    client.gone = reason
                    return
        client.told = "it changes hands too often"

    def _look_up(self, client: Client, dial: Dial | None) -> Generator[None, None, Placement]:
        row = address = None
        database = self.world.database_up
        if database:
            row = self.world.rows[client.session]
            address = self.world.addresses.get(row.owner or "")
        yield
        placement = Placement(
            row=row,
            row_address=address,
            held_epoch=self.held.get(client.session) or self.opening.get(client.session),
            dial=dial,
            database=database,
            viewer=client.viewer,
        )
        try:
            placement = replace(placement, record=self.registry.session(client.session))
            known = self.registry.instance
        except RegistryUnavailable:
            known = self.agent.snapshot.instances.get
        if placement.current is not None:
            placement = replace(placement, owner=known(placement.current.owner or ""))
        if dial is not None:
            self.agent.heartbeat()
        return replace(placement, blind=self.agent.is_blind)

    def _claim(self, client: Client, wanted: SessionRecord) -> Iterator[None]:
        session, epoch = client.session, wanted.epoch + 1
        if session in self.opening:
            client.told = "it is being opened"
            return
        self.opening[session] = epoch
        try:
            yield
            if not self.world.claim(self, wanted):
                return
            yield
            if self.world.device_refuses:
                self.world.release(self, session, epoch)
                client.told = "the device refuses"
                return
            self.held[session] = epoch
            client.owner, client.via = self, self
            self.publish(session)
        except StoreUnavailable as error:
            client.told = str(error)
        finally:
            del self.opening[session]
