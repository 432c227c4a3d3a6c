"""The random enemy: what is done to whom and when follows from the seed alone."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import redis

from tests.acceptance.cluster import TTL_SECS
from tests.controller import Controller
from tests.ports import free_port
from tests.torture.history import Fault
from tests.torture.stores import GuardedValkey, Kinds, LoneValkey

INSTANCES = ("a", "b", "c")
Store = LoneValkey | GuardedValkey
_OF_AN_INSTANCE: Kinds = {"kill": (4, 3), "drain": (3, 1), "freeze": (4, TTL_SECS + 6), "hide": (2, TTL_SECS + 4)}
_PAUSE_SECS = (2, 4)


@dataclass(frozen=True)
class Action:
    """`at` and `lasts` are seconds, since the beginning and from there on."""

    at: float
    kind: str
    target: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.at:6.1f} s: {self.kind} {self.target} for {self.lasts:.1f} s"


def plan(seed: int, secs: float, of_instances: Kinds, of_valkey: Kinds) -> list[Action]:
    """The same for the same seed. One instance is always left in peace, and nothing outlasts the end.

    `of_instances` is done to them beside what is always done to instances.
    """
    random = Random(seed)
    actions: list[Action] = []
    free_at = dict.fromkeys((*INSTANCES, "valkey"), 0.0)
    at = random.uniform(*_PAUSE_SECS)
    while at < secs:
        free = [target for target, since in free_at.items() if since <= at]
        instances = [target for target in free if target != "valkey"]
        targets = (instances if len(instances) > 1 else []) * 2 + (["valkey"] if "valkey" in free else [])
        if targets:
            target = random.choice(targets)
            kinds = of_valkey if target == "valkey" else _OF_AN_INSTANCE | of_instances
            kind = random.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
            lasts = min(random.uniform(0, kinds[kind][1]), secs - at)
            actions.append(Action(round(at, 1), kind, target, round(lasts, 1)))
            free_at[target] = at + lasts + 2
        at += random.uniform(*_PAUSE_SECS)
    return actions


class Nemesis:
    """Carries a plan out. `watch` hears of every process group that is started in an instance's name."""

    def __init__(self, store: Store, watch: Callable[[str, int], None]) -> None:
        self._store = store
        self._controllers = dict(zip(INSTANCES, store.cluster.controllers, strict=True))
        self._wires = dict(zip(INSTANCES, store.wires, strict=False))
        self._watch = watch
        # A drain may take longer than planned, and what comes next has to wait for it.
        self._turns = {target: threading.Lock() for target in (*INSTANCES, "valkey")}
        self.faults: list[Fault] = []
        self.failures: list[BaseException] = []
        for name in INSTANCES:
            self._started(name)

    def run(self, actions: list[Action], say: Callable[[str], None]) -> None:
        """Until all is over and undone."""
        began_at = time.monotonic()
        running: list[threading.Thread] = []
        for action in actions:
            time.sleep(max(0.0, began_at + action.at - time.monotonic()))
            say(f"{time.monotonic() - began_at:6.1f} s: {action.kind} {action.target} for {action.lasts} s")
            running.append(threading.Thread(target=self._do, args=(action,)))
            running[-1].start()
        for thread in running:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _do(self, action: Action) -> None:
        with self._turns[action.target]:
            self._do_in_turn(action)

    def _do_in_turn(self, action: Action) -> None:
        fault_at = time.time()
        try:
            if action.target == "valkey":
                self._hurt_valkey(action)
            else:
                self._hurt(action.target, action)
        except BaseException as error:
            self.failures.append(error)
        self.faults.append(Fault(action.kind, action.target, fault_at, time.time()))

    def _hurt(self, name: str, action: Action) -> None:
        controller = self._controllers[name]
        match action.kind:
            case "kill":
                controller.kill()
                time.sleep(action.lasts)
                self._start(name)
            case "drain":
                self._drain(controller)
                time.sleep(action.lasts)
                self._start(name)
            case "freeze":
                controller.freeze()
                time.sleep(action.lasts)
                controller.thaw()
            case "cut off":
                self._wires[name].cut()
                time.sleep(action.lasts)
                self._wires[name].restore()
            case "hide":
                with _black_hole(*advertised(controller)):
                    time.sleep(action.lasts)

    def _drain(self, controller: Controller) -> None:
        assert controller.process is not None
        controller.terminate()
        controller.process.wait(40)

    def _start(self, name: str) -> None:
        self._controllers[name].launch()
        self._started(name)

    def _started(self, name: str) -> None:
        process = self._controllers[name].process
        assert process is not None
        self._watch(name, process.pid)

    def _hurt_valkey(self, action: Action) -> None:
        valkey = self._store.cluster.valkey
        match action.kind:
            case "kill" | "wipe":
                valkey.kill()
                if action.kind == "wipe":
                    valkey.wipe()
                time.sleep(action.lasts)
                self._store.replaced(valkey)
                valkey.start()
            case "freeze":
                valkey.freeze()
                time.sleep(action.lasts)
                valkey.thaw()
            case "flush":
                with redis.Redis(port=valkey.port) as client:
                    client.flushall()
            case "fail over":
                assert isinstance(self._store, GuardedValkey)
                self._store.fail_over()
        self._store.settle()


def can_be_hidden(controller: Controller, number: int) -> None:
    """Gives a controller an address of its own for its peers, at which something else can listen as well."""
    controller.environ["HA_ADVERTISE_HOST"] = f"127.0.0.{10 + number}"
    controller.environ["HA_PEER_PORT"] = str(free_port())
    controller.environ["GUNICORN_CMD_ARGS"] += " --reuse-port"


def advertised(controller: Controller) -> tuple[str, int]:
    return controller.environ["HA_ADVERTISE_HOST"], int(controller.environ["HA_PEER_PORT"])


def _black_hole(host: str, port: int) -> socket.socket:
    """Takes new connections to an address and says nothing; it goes before a listener on all addresses (socket(7))."""
    return socket.create_server((host, port), reuse_port=True, backlog=1000)
