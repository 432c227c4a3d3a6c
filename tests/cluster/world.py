"""A small simulated cluster in which every step can fail: the real rules in a simulated world.

Decisions, liveness, registry and agents are the real ones. PostgreSQL is a dict with compare-and-set, the network and
the processes are flags, a connection is a generator that stops wherever something else may happen in between.
"""

from dataclasses import replace
from uuid import UUID

from netstacks.cluster.model import SessionRecord
from netstacks.cluster.routing import Outcome, Placement, Witness
from netstacks.errors import StoreUnavailable
from netstacks.registry.memory import MemoryRegistry
from tests.cluster.facts import record
from tests.cluster.node import DETACH_TTL_SECS, INTERVAL_SECS, LONG_AGO, TTL_SECS, Client, Node


class Valkey:
    """The registry's server; a restart may lose everything."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.up = True
        self.run = 0
        self.restarted_at = LONG_AGO
        self.data = MemoryRegistry(lambda: world.now)

    def restart(self, *, empty: bool) -> None:
        self.run += 1
        self.up = True
        self.restarted_at = self._world.now
        if empty:
            self.data = MemoryRegistry(lambda: self._world.now)


class World:
    """All nodes, sessions and clients, their true state, and the checks of their actions."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.database_up = True
        self.commits_get_lost = False
        self.device_refuses = False
        self.rows: dict[UUID, SessionRecord] = {}
        self.witnesses: set[str] = set()
        self.addresses: dict[str, str] = {}
        self.owners: dict[tuple[UUID, int], str] = {}
        self.orphaned_since: dict[tuple[UUID, int], float] = {}
        self.database_since = LONG_AGO
        self.valkey = Valkey(self)
        self.nodes: list[Node] = []
        self.clients: list[Client] = []

    def start_node(self, address: str | None = None) -> Node:
        name = f"n{len(self.nodes)}"
        self.addresses[name] = address or f"10.0.0.{len(self.nodes)}:7000"
        node = Node(self, name, self.addresses[name])
        self.nodes.append(node)
        return node

    def open_session(self, node: Node) -> Client:
        session = UUID(int=len(self.rows) + 1)
        self.rows[session] = record(node.id, 1, session_id=session)
        self.owners[session, 1] = node.id
        node.held[session] = 1
        node.publish(session)
        client = Client(session, owner=node, via=node)
        self.clients += [client, Client(session), Client(session, viewer=True)]
        return client

    def dial(self, caller: Node, session: UUID, owner: str, address: str, epoch: int) -> Outcome:
        listening = [node for node in self.nodes if node.alive and node.address == address]
        return listening[0].answer(caller, session, owner, epoch) if listening else "refused"

    def witness(self, node_id: str) -> Witness:
        if not self.database_up:
            return "unknown"
        if node_id not in self.witnesses:
            return "free"
        node = next(each for each in self.nodes if each.id == node_id)
        return "silent" if self.now - max(node.spoke_at, self.database_since) > TTL_SECS else "held"

    def ask_whether_alive(self, caller: Node, owner: str) -> Outcome:
        address = self.addresses[owner]
        listening = [node for node in self.nodes if node.alive and node.address == address]
        if not listening:
            return "refused"
        if listening[0].frozen or listening[0].deaf or caller.deaf:
            return "timed_out"
        return "confirmed" if listening[0].id == owner else "other_id"

    def judge_gone(self, judge: Node, owner: str) -> None:
        """A living instance is never given up while PostgreSQL hears from it, or while it answers."""
        node = next(each for each in self.nodes if each.id == owner)
        if node.alive:
            assert node.frozen or node.deaf or judge.deaf, "given up although it answers"
            assert self.now - node.heard_at > TTL_SECS, "given up although its heartbeat is fresh"
            spoke_for = self.now - max(node.spoke_at, self.database_since)
            assert owner not in self.witnesses or spoke_for > TTL_SECS, "given up although its witness is held"

    def leave_to_its_user(self, node: Node, row: SessionRecord) -> None:
        """Ends an orphan whose user has not come back for the detach TTL."""
        since = self.orphaned_since.setdefault((row.id, row.epoch), self.now)
        if self.now - since > DETACH_TTL_SECS and self._commit(node, row.id, row.epoch, None) is not None:
            self.rows[row.id] = replace(self.rows[row.id], state="ended")

    def attach(self, client: Client, via: Node, owner_id: str, epoch: int) -> bool:
        """The splice after a confirmed dial; what was confirmed may be gone by now."""
        owner = next(node for node in self.nodes if node.id == owner_id)
        if not owner.runs or owner.held.get(client.session) != epoch:
            return False
        client.owner, client.via = owner, via
        return True

    def claim(self, node: Node, wanted: SessionRecord) -> bool:
        row = self._commit(node, wanted.id, wanted.epoch, node.id)
        if row is not None:
            assert self.owners.setdefault((row.id, row.epoch), node.id) == node.id, "two owners of one epoch"
            if self.commits_get_lost:
                raise StoreUnavailable("the connection was lost")
        return row is not None

    def release(self, node: Node, session: UUID, epoch: int) -> None:
        self._commit(node, session, epoch, None)

    def _commit(self, node: Node, session: UUID, epoch: int, owner: str | None) -> SessionRecord | None:
        if not self.database_up:
            raise StoreUnavailable("away")
        row = self.rows[session]
        if row.epoch != epoch or row.state == "ended":
            return None
        self.rows[session] = replace(row, owner=owner, epoch=epoch + 1)
        return self.rows[session]

    def record_output(self, node: Node, session: UUID, epoch: int) -> None:
        """A recording write carries its epoch; refused, it tells the owner that it was fenced."""
        if self.rows[session].epoch == epoch:
            assert self.owners[session, epoch] == node.id, "written by another than the owner of the epoch"
        else:
            node.fence([session])

    def judge_claim(self, claimer: Node, placement: Placement) -> None:
        """Never a claim while the owner's heartbeat is fresh or cannot be known, unless its death is proven."""
        current = placement.current
        assert current is not None
        assert not placement.viewer, "claimed for a viewer"
        if current.owner is None or current.owner == claimer.id:
            return
        owner = next(node for node in self.nodes if node.id == current.owner)
        dial = placement.dial
        assert dial is not None, "not dialled"
        assert (dial.owner, dial.epoch) == (current.owner, current.epoch), "dialled another"
        assert dial.outcome != "confirmed", "claimed from an owner that has it"
        if owner.alive:
            assert self.now - owner.heard_at > TTL_SECS, "claimed from a living owner that was heard"
        if owner.alive or dial.witness != "free":
            seen_since = max(claimer.missed_at, self.valkey.restarted_at)
            assert self.now - seen_since > TTL_SECS, "claimed blindly"

    def kill(self, node: Node, *, witness_lingers: bool) -> None:
        """SIGKILL; the database may take its time to notice that the witness is gone."""
        node.alive = False
        if not witness_lingers:
            self.witnesses.discard(node.id)
        self.hang_up(owner=node, via=node)

    def drain(self, node: Node) -> None:
        """SIGTERM: it releases what it has, leaves and exits."""
        node.agent.drain()
        for session, epoch in list(node.held.items()):
            self.release(node, session, epoch)
            node.fence([session])
        node.agent.leave()
        self.kill(node, witness_lingers=False)

    def end(self, owner: Node, session: UUID) -> None:
        """The device closed the connection."""
        row = self._commit(owner, session, owner.held.get(session, 0), None)
        if row is not None:
            self.rows[session] = replace(row, state="ended")
            owner.fence([session])
            owner.agent.withdraw(session, row.epoch)

    def mend(self) -> None:
        if not self.database_up:
            self.database_since = self.now
        self.database_up, self.commits_get_lost, self.device_refuses = True, False, False
        self.valkey.up = True
        for node in self.nodes:
            node.cut_off = node.deaf = False

    def is_served(self, client: Client) -> bool:
        owner, via = client.owner, client.via
        row = self.rows[client.session]
        both_run = owner is not None and owner.runs and via is not None and via.runs
        return both_run and owner is not None and owner.held.get(client.session) == row.epoch

    def hang_up(self, *, owner: Node | None = None, via: Node | None = None, session: UUID | None = None) -> None:
        for client in self.clients:
            if session not in (None, client.session):
                continue
            if (owner is not None and client.owner is owner) or (via is not None and client.via is via):
                client.drop()

    def pass_time(self, secs: float) -> None:
        until = self.now + secs
        while self.now < until:
            self.now += min(INTERVAL_SECS, until - self.now)
            for node in self.nodes:
                if node.runs:
                    node.round()

    def connect(self, client: Client, node: Node) -> None:
        client.drop()
        client.told = client.gone = None
        client.via, client.connecting = node, node.connect(client)

    def step(self, client: Client) -> None:
        """Lets a connection go one step on; not while the process that routes it is frozen."""
        if client.connecting is None or client.via is None or not client.via.runs:
            return
        if next(client.connecting, "done") == "done":
            client.connecting = None
