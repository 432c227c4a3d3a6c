"""An instance of the tests as a process: `python -m tests.llm.probing_process URL NAME FOLDER CANARY_SECS`.

It keeps its circuits in step with Valkey and probes what is due, until it is ended. Each probe is a line of FOLDER's
`diary` when it begins and another when it ends; it fails unless the folder holds a file `works`.
"""

import os
import sys
import time
from pathlib import Path
from uuid import UUID

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

from netstacks import greenlets
from netstacks.llm.circuits import Circuits
from netstacks.llm.failures import ProviderTimeout
from netstacks.llm.prober import Prober
from netstacks.llm.provider import Provider
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry

COOLDOWN_SECS = 2.0
FAILURES = 3
LEASE_SECS = 6.0

PROVIDER = Provider(
    id=UUID(int=7), revision=1, name="first", type="custom", base_url="http://127.0.0.1:1", models=("m",), key=None,
    position=0, enabled=True, connect_secs=1.0, first_token_secs=1.0, total_secs=LEASE_SECS - 5, max_concurrent=0,
    daily_tokens=0,
)  # fmt: skip


def circuits(url: str, name: str) -> Circuits:
    """Those of one instance. Their events are not kept."""
    return Circuits(
        ValkeyRegistry(connect(url)), name, lambda *_, **__: None, failures=FAILURES, cooldown_secs=COOLDOWN_SECS,
        interval_secs=0.2,
    )  # fmt: skip


def run(url: str, name: str, folder: Path, canary_secs: float) -> None:
    def write(word: str) -> None:
        with (folder / "diary").open("a") as lines:
            lines.write(f"{word} {name} {time.time()}\n")

    def canary(*_: object) -> None:
        write("begins")
        greenlets.sleep(canary_secs)
        write("ends")
        if not (folder / "works").exists():
            raise ProviderTimeout("sent nothing")

    mine = circuits(url, name)
    mine.circuit_for(PROVIDER, "m")
    mine.refresh()
    mine.start()
    prober = Prober(mine, lambda: [PROVIDER], canary)
    write("is_up")
    while os.getppid() != 1:
        prober.probe_due()
        greenlets.sleep(0.02)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
