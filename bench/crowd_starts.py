"""What the start of an instance costs: its imports by themselves, and its worker until health says so."""

import subprocess
import sys

from bench.crowd_figures import Figures
from bench.report import at_most
from tests.controller import ROOT, Controller
from tests.postgres import Postgres
from tests.processes import cpu_secs, rss_bytes

_IMPORT_CPU_SECS, _RSS_MB = 1.2, 90
# As a worker: patched first, then the application.
_IMPORT = "from gevent import monkey; monkey.patch_all(); import time, netstacks.wsgi; print(time.process_time())"


def measure(rounds: int, settings: dict[str, str]) -> Figures:
    """Measures that many starts; the median counts."""
    figures = Figures("start")
    postgres = Postgres().start()
    try:
        url = postgres.create_database()
        for _ in range(rounds):
            controller = Controller(url, **settings)
            command = [sys.executable, "-c", _IMPORT]
            printed = subprocess.run(command, env=controller.environ, cwd=ROOT, check=True, stdout=subprocess.PIPE)
            figures.add("CPU of the imports", "s", float(printed.stdout.split()[-1]), at_most(_IMPORT_CPU_SECS))
            controller.start()
            try:
                (worker,) = controller.worker_pids()
                figures.add("CPU of a worker until healthy", "s", cpu_secs(worker))
                figures.add("memory of a worker when healthy", "MB", rss_bytes(worker) / 1e6, at_most(_RSS_MB))
            finally:
                controller.kill()
                controller.stop()
    finally:
        postgres.destroy()
    return figures
