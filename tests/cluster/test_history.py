"""Random histories: the promises about owners and clients hold for any events in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.cluster.node import INTERVAL_SECS, TTL_SECS, Client, Node
from tests.cluster.world import World

PICK = st.integers(min_value=0, max_value=59)


class Cluster(RuleBasedStateMachine):
    """Three instances, a session with its user's two connections and a viewer, later a second one; then anything."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.world = World()
        for _ in range(3):
            self.world.start_node()
        self.world.open_session(self.world.nodes[0])
        self.world.pass_time(TTL_SECS + INTERVAL_SECS)

    @rule(secs=st.sampled_from([1, 4, 12, 31, 31]))
    def time_passes(self, secs: float) -> None:
        self.world.pass_time(secs)

    @rule(number=PICK, where=PICK, steps=st.sampled_from([1, 2, 3, 4, 12, 12, 12]))
    def connect(self, number: int, where: int, steps: int) -> None:
        client = self._client(number)
        if node := _pick(where, self._running()):
            self.world.connect(client, node)
            self._advance(client, steps)

    @rule(number=PICK, steps=st.integers(1, 6))
    def go_on(self, number: int, steps: int) -> None:
        connecting = [each for each in self.world.clients if each.connecting is not None]
        if connecting:
            self._advance(connecting[number % len(connecting)], steps)

    @rule(which=PICK, witness_lingers=st.booleans())
    def kill(self, which: int, witness_lingers: bool) -> None:
        if node := _pick(which, [each for each in self.world.nodes if each.alive]):
            self.world.kill(node, witness_lingers=witness_lingers)

    @rule()
    def kill_the_owner(self) -> None:
        self.world.kill(self._owner(), witness_lingers=False)

    @rule()
    def freeze_the_owner(self) -> None:
        self._owner().frozen = True

    @rule(which=PICK)
    def thaw(self, which: int) -> None:
        if node := _pick(which, [each for each in self.world.nodes if each.frozen and each.alive]):
            node.frozen = False

    @precondition(lambda self: len(self.world.nodes) < 8)
    @rule(which=PICK, same_address=st.booleans())
    def start(self, which: int, same_address: bool) -> None:
        dead = _pick(which, [each for each in self.world.nodes if not each.alive])
        taken = {each.address for each in self.world.nodes if each.alive}
        reused = dead.address if dead and same_address and dead.address not in taken else None
        self.world.start_node(reused)

    @precondition(lambda self: len(self.world.nodes) > 3)
    @rule(which=PICK)
    def drain(self, which: int) -> None:
        node = _pick(which, self._running())
        if node is not None and self.world.database_up:
            self.world.drain(node)

    @rule(which=PICK, trouble=st.sampled_from(["cut off", "deaf", "lost commits", "device refuses", "lost witnesses"]))
    def trouble(self, which: int, trouble: str) -> None:
        node = self.world.nodes[which % len(self.world.nodes)]
        match trouble:
            case "cut off":
                node.cut_off = True
            case "deaf":
                node.deaf = True
            case "lost commits":
                self.world.commits_get_lost = True
            case "device refuses":
                self.world.device_refuses = True
            case "lost witnesses":
                self.world.witnesses.clear()

    @rule(trouble=st.sampled_from(["valkey", "postgresql"]))
    def outage(self, trouble: str) -> None:
        if trouble == "valkey":
            self.world.valkey.up = False
        else:
            self.world.database_up = False

    @rule(empty=st.booleans())
    def valkey_restarts(self, empty: bool) -> None:
        self.world.valkey.restart(empty=empty)

    @rule()
    def mend(self) -> None:
        """Restores everything but the processes."""
        self.world.mend()

    @precondition(lambda self: len(self.world.rows) == 1)
    @rule(which=PICK)
    def open_another(self, which: int) -> None:
        if (node := _pick(which, self._running())) and self.world.database_up and node.agent.me.state == "active":
            self.world.open_session(node)

    @precondition(lambda self: len(self.world.rows) > 1)
    @rule()
    def the_device_ends_the_first(self) -> None:
        owner = self._owner()
        if owner.runs and self.world.database_up:
            self.world.end(owner, self.world.clients[0].session)

    @invariant()
    def one_epoch_has_one_owner_in_the_registry_too(self) -> None:
        for session in self.world.rows if hasattr(self, "world") else ():
            published = self.world.valkey.data.session(session)
            if published is not None:
                assert self.world.owners[session, published.epoch] == published.owner

    def teardown(self) -> None:
        """When all troubles end, every client ends attached to the one owner, or with a reason."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.mend()
        for node in world.nodes:
            node.frozen = False
        world.start_node()
        for attempt in range(16):
            world.pass_time(INTERVAL_SECS)
            for number, client in enumerate(world.clients):
                if client.gone is None and not world.is_served(client):
                    world.connect(client, self._running()[(number + attempt) % len(self._running())])
                    self._advance(client, 100)
        for client in world.clients:
            ended = world.rows[client.session].state == "ended"
            assert client.gone if ended else world.is_served(client), client
        assert set(world.valkey.data.snapshot().instances) == {node.id for node in self._running()}
        for node in self._running():
            assert {each.id: each.epoch for each in world.valkey.data.sessions_of(node.id)} == node.held

    def _running(self) -> list[Node]:
        return [node for node in self.world.nodes if node.runs]

    def _client(self, number: int) -> Client:
        return self.world.clients[number % len(self.world.clients)]

    def _owner(self) -> Node:
        """The instance that PostgreSQL names for the first session, or else any."""
        row = self.world.rows[self.world.clients[0].session]
        return next((node for node in self.world.nodes if node.id == row.owner), self.world.nodes[0])

    def _advance(self, client: Client, steps: int) -> None:
        for _ in range(steps):
            self.world.step(client)


def _pick(number: int, nodes: list[Node]) -> Node | None:
    return nodes[number % len(nodes)] if nodes else None


Cluster.TestCase.settings = settings(max_examples=500, stateful_step_count=25, deadline=None)
test_history = Cluster.TestCase
