"""The fault injector: carries a plan out, and records each fault with its time."""

import os
import threading
import time
from collections.abc import Callable, Sequence

import redis

from tests.acceptance.lab import Lab
from tests.controller import Controller
from tests.torture import plan
from tests.torture.crowd import Crowd
from tests.torture.faults import freeze_in_transaction, hidden, locked
from tests.torture.history import Fault
from tests.torture.plan import INSTANCES, POSTGRES, VALKEY, Action
from tests.torture.stores import GuardedValkey, Store

# A crowd costs what its log-ins cost; 2,000 take a machine of its own.
CROWD_SIZE = int(os.environ.get("TORTURE_CROWD", "40"))
# What a busy machine needs for them to log in.
CROWD_SECS = CROWD_SIZE / 4


class Nemesis:
    """Carries a plan out. `watch` hears of every process group that is started in an instance's name.

    `labs` are the users of the instances, one each.
    """

    def __init__(self, store: Store, labs: Sequence[Lab], watch: Callable[[str, int], None]) -> None:
        self._store = store
        self._labs = dict(zip(INSTANCES, labs, strict=True))
        self._controllers = dict(zip(INSTANCES, store.cluster.controllers, strict=True))
        self._to_valkey = dict(zip(INSTANCES, store.to_valkey, strict=True))
        self._to_postgres = dict(zip(INSTANCES, store.to_postgres, strict=True))
        self._watch = watch
        # A drain may take longer than planned, and what comes next has to wait for it.
        self._turns = {target: threading.Lock() for target in (*INSTANCES, VALKEY, POSTGRES)}
        self.faults: list[Fault] = []
        self.crowds: list[Crowd] = []
        self.failures: list[BaseException] = []
        for name in INSTANCES:
            self._started(name)

    def run(self, actions: list[Action], say: Callable[[str], None]) -> None:
        """Runs until all faults are over and undone."""
        began_at = time.monotonic()

        def tell(text: str) -> None:
            say(f"{time.monotonic() - began_at:6.1f} s: {text}")

        running: list[threading.Thread] = []
        for action in actions:
            time.sleep(max(0.0, began_at + action.at - time.monotonic()))
            tell(f"{action.kind} {action.target} for {action.lasts} s")
            running.append(threading.Thread(target=self._do, args=(action, tell)))
            running[-1].start()
        for thread in running:
            thread.join()
        tell("all is over")
        if self.failures:
            raise self.failures[0]

    def _do(self, action: Action, tell: Callable[[str], None]) -> None:
        with self._turns[action.target]:
            # Noted before: the fault has begun, whatever comes of it.
            began_at = time.time()
            try:
                match action.target:
                    case plan.VALKEY:
                        self._hurt_valkey(action)
                    case plan.POSTGRES:
                        self._lock(action)
                    case _ if action.kind == plan.FREEZE_IN_TRANSACTION:
                        began_at = self._freeze_in_transaction(action, tell)
                    case _:
                        self._hurt(action.target, action)
            except BaseException as error:
                self.failures.append(error)
            self.faults.append(Fault(action.kind, action.target, began_at, time.time()))

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
            case plan.FREEZE:
                controller.freeze()
                time.sleep(action.lasts)
                controller.thaw()
            case plan.CUT_OFF_VALKEY:
                self._to_valkey[name].cut()
                time.sleep(action.lasts)
                self._to_valkey[name].restore()
            case plan.CUT_OFF_POSTGRES:
                self._to_postgres[name].cut()
                time.sleep(action.lasts)
                self._to_postgres[name].restore()
            case plan.HIDE:
                with hidden(controller):
                    time.sleep(action.lasts)
            case plan.CROWD:
                crowd = Crowd(self._labs[name])
                self.crowds.append(crowd)
                crowd.gather(CROWD_SIZE, action.lasts)
                crowd.end()

    def _freeze_in_transaction(self, action: Action, tell: Callable[[str], None]) -> float:
        """Returns since when it is frozen."""
        controller = self._controllers[action.target]
        is_met = freeze_in_transaction(controller, self._to_postgres[action.target], self._store.cluster.database_url)
        began_at = time.time()
        tell(f"{action.target} is frozen, {'in' if is_met else 'though not in'} a transaction")
        time.sleep(action.lasts)
        controller.thaw()
        return began_at

    def _lock(self, action: Action) -> None:
        table = action.kind.removeprefix("lock ")
        with locked(table, self._store.cluster.database_url, list(self._labs.values())):
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

    def kill_for_good(self, name: str, until: Callable[[], object]) -> None:
        """Kills an instance in the calm after all other faults; the fault is over when `until` returns."""
        began_at = time.time()
        self._controllers[name].kill()
        until()
        self.faults.append(Fault("kill", name, began_at, time.time()))

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
