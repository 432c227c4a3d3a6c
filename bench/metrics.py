"""`python -m bench.metrics`: what a scrape of `/metrics` costs an instance with 2,000 sessions, and one without any.

With 2,000 sessions the process has two descriptors for each, which `process_open_fds` counts. A scrape shares the event
loop: the longest time for which it keeps the loop is what a key may have to wait.
"""

import argparse
import logging
import os
import time

import structlog
from prometheus_client import generate_latest

from bench.report import Results, Row, at_most
from netstacks import greenlets
from netstacks.recording.recorder import Recorder
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.terminal.hub import Hub
from netstacks.web.metrics.collector import InstanceCollector
from tests.terminal.test_hub import add
from tests.web.test_metrics import parts

SESSIONS = 2000
_REST_SECS = 2.0
_CPU, _BLOCK = "CPU of a scrape", "the longest that it keeps the loop"
ROWS = (
    Row(_CPU, "ms", (at_most(10),)),
    Row(_BLOCK, "ms", (at_most(10),), worst=True),
    Row("series", "", (at_most(1, "none"),)),
)


def _hub(sessions: int) -> Hub:
    away = Database("postgresql://unused@127.0.0.1:1/x")
    hub = Hub(DeferredWrites(away), detach_ttl_secs=60, close_grace_secs=10)
    recorder = Recorder(away)
    for number in range(sessions):
        add(hub, f"device-{number}", attached=number % 10 > 0, silent_secs=60, recorder=recorder)
    return hub


class _Ticks:
    """Notes the longest time, of the processor, that another greenlet kept the loop."""

    def __init__(self) -> None:
        self.longest_secs = 0.0
        self._goes_on = True
        self._greenlet = greenlets.spawn("ticks", self._run)

    def _run(self) -> None:
        while self._goes_on:
            at = time.process_time()
            greenlets.sleep(0)
            self.longest_secs = max(self.longest_secs, time.process_time() - at)

    def stop(self) -> float:
        self._goes_on = False
        self._greenlet.join()
        return self.longest_secs


def _scrape(collector: InstanceCollector) -> tuple[float, float, int]:
    """The CPU time of a scrape and the longest that it keeps the loop, in milliseconds; the number of its series."""
    began_at = time.process_time()
    series = sum(not line.startswith(b"#") for line in generate_latest(collector).splitlines())
    cpu_secs = time.process_time() - began_at
    ticks = _Ticks()
    greenlets.sleep(0)
    greenlets.spawn("scrape", generate_latest, collector).join()
    return cpu_secs * 1000, ticks.stop() * 1000, series


def measure(rounds: int) -> Results:
    stacks = {"sessions": _hub(SESSIONS), "none": _hub(0)}
    collectors = {stack: InstanceCollector(parts(hub=hub)) for stack, hub in stacks.items()}
    # The attachments of the new sessions come to rest.
    greenlets.sleep(_REST_SECS)
    results = Results(*stacks)
    for _ in range(rounds):
        for stack, collector in collectors.items():
            descriptors = [os.dup(0) for _ in range(2 * len(stacks[stack]))]
            cpu_ms, block_ms, series = _scrape(collector)
            for descriptor in descriptors:
                os.close(descriptor)
            results.add(_CPU, stack, cpu_ms)
            results.add(_BLOCK, stack, block_ms)
            results.add("series", stack, series)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(measure(parser.parse_args().rounds).table(ROWS))


if __name__ == "__main__":
    main()
