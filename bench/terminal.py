"""`make bench`: what a terminal through the controller costs, beside webssh and the plain ssh client.

All stacks run in turn on the same OpenSSH server, driven by the same client, so that their ratios mean something on
any machine; absolute values do not. Recording is on, and a transfer has ended when PostgreSQL has all of it.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from bench import health, stacks
from bench.cores import CLIENT_CORE, pin
from bench.crowd import Crowd
from bench.report import Results, Row, at_least, at_most
from bench.stacks import Stack
from bench.typist import TypistProcess
from tests.controller import until
from tests.postgres import Postgres
from tests.processes import children, cpu_secs, parent
from tests.sshd import Sshd

_ECHO_ALONE, _ECHO_FLOOD = (at_most(0.7, "webssh"),), (at_most(0.3, "webssh"),)
ROWS = (
    Row("output of a file", "MB/s"),
    Row("output of a file until it is recorded", "MB/s", (at_least(2.5, "webssh"), at_least(1.0, "ssh"))),
    Row("CPU for 100 MB", "s", (at_most(0.4, "webssh"),)),
    Row("CPU for 100 MB, PostgreSQL's", "s"),
    Row("CPU for 100 MB, the client's", "s"),
    Row("echo p50, 1 session", "ms", _ECHO_ALONE),
    Row("echo p99, 1 session", "ms"),
    Row("echo p50, 1 session beside a flood", "ms", _ECHO_FLOOD),
    Row("echo p99, 1 session beside a flood", "ms"),
    Row("echo p50, 100 sessions", "ms", _ECHO_ALONE),
    Row("echo p99, 100 sessions", "ms"),
    Row("echo p50, 100 sessions beside a flood", "ms", _ECHO_FLOOD),
    Row("echo p99, 100 sessions beside a flood", "ms"),
    Row("the flood meanwhile", "MB/s"),
    Row("sessions opened", "1/s"),
    Row("CPU of 100 idle sessions", "% of a core", (at_most(0.5),)),
    Row("memory of an idle session", "kB", (at_most(0.7, "webssh"),)),
    Row("/api/v1/health", "requests/s", (at_least(1.0, "flask"),)),
)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    file_mb: int
    transfers: int
    rounds: int
    echo_secs: float
    idle_secs: float
    crowd: int
    sessions: int
    webssh_sessions: int
    wrk_secs: int


FULL = Plan(50, 5, 3, 4, 10, 100, 1000, 300, 3)
QUICK = Plan(10, 1, 1, 1, 2, 20, 40, 20, 1)
_FLOOD_LEAD_SECS = 0.5
_SETTLE_SECS = 2
_WARM_UP_SESSIONS = 10


class Bench:
    """One run: a database, a device, and the clients."""

    def __init__(self, plan: Plan, resources: ExitStack) -> None:
        self._plan = plan
        self.results = Results("netstacks", "webssh", "ssh", "flask")
        self._postgres = Postgres().start()
        resources.callback(self._postgres.destroy)
        # What is started from here on is the client or the device, until it is pinned elsewhere.
        pin(os.getpid(), CLIENT_CORE)
        self._sshd = resources.enter_context(Sshd())
        self._file = resources.enter_context(_text_file(plan.file_mb))
        self._typist = resources.enter_context(TypistProcess())
        self._flooder = resources.enter_context(TypistProcess())

    def run(self) -> None:
        """Everything, in turn: first one terminal, then many on the same processes, then many on fresh ones."""
        url = self._postgres.create_database()
        with stacks.netstacks(url, self._sshd) as ours, stacks.webssh(self._sshd) as webssh:
            with stacks.openssh(self._sshd) as ssh, psycopg.connect(url, autocommit=True) as database:
                for _ in range(self._plan.transfers):
                    for stack in (ours, webssh, ssh):
                        self._transfer(stack, database)
                for _ in range(self._plan.rounds):
                    for stack in (ours, webssh, ssh):
                        self._echo(stack, "1 session")
            for _ in range(self._plan.rounds):
                for stack in (ours, webssh):
                    self._crowd(stack)
            self._health(ours.url)
        with stacks.netstacks(self._postgres.create_database(), self._sshd) as ours:
            self._memory(ours, self._plan.sessions)
        with stacks.webssh(self._sshd) as webssh:
            self._memory(webssh, self._plan.webssh_sessions)

    def _transfer(self, stack: Stack, database: psycopg.Connection) -> None:
        backend = database.info.backend_pid
        session_id = self._typist.do("open", stack.endpoint)
        cpu_before, postgres_before = stack.cpu_secs(), _postgres_cpu_secs(backend)
        transfer = self._typist.do("transfer", self._file)
        if session_id:
            query = "SELECT FROM sessions WHERE id = %s AND state = 'ended'"
            until(lambda: database.execute(query, (session_id,)).fetchone() is not None, "the end of the recording")
        recorded_at = time.monotonic() if session_id else transfer.ended_at
        cpu = stack.cpu_secs() - cpu_before + transfer.channel_cpu_secs
        megabytes = transfer.output_bytes / 1e6
        if megabytes < self._plan.file_mb:
            raise RuntimeError(f"{stack.name} lost output: {transfer.output_bytes} bytes came of {self._file}")
        add = self.results.add
        add("output of a file", stack.name, megabytes / (transfer.ended_at - transfer.started_at))
        add("output of a file until it is recorded", stack.name, megabytes / (recorded_at - transfer.started_at))
        add("CPU for 100 MB", stack.name, cpu * 100 / megabytes)
        add("CPU for 100 MB, the client's", stack.name, transfer.client_cpu_secs * 100 / megabytes)
        if session_id:
            postgres_cpu = _postgres_cpu_secs(backend) - postgres_before
            add("CPU for 100 MB, PostgreSQL's", stack.name, postgres_cpu * 100 / megabytes)

    def _echo(self, stack: Stack, among: str) -> None:
        echo_secs = self._plan.echo_secs
        self._typist.do("open", stack.endpoint)
        self._add_latencies(stack, among, self._typist.do("echoes", echo_secs))
        self._flooder.do("open", stack.endpoint)
        self._typist.do("open", stack.endpoint)
        self._flooder.ask("flood", self._file, echo_secs + 2 * _FLOOD_LEAD_SECS)
        time.sleep(_FLOOD_LEAD_SECS)
        self._add_latencies(stack, f"{among} beside a flood", self._typist.do("echoes", echo_secs))
        self.results.add("the flood meanwhile", stack.name, self._flooder.answer())

    def _add_latencies(self, stack: Stack, where: str, latencies: list[float]) -> None:
        percentiles = statistics.quantiles(latencies, n=100)
        self.results.add(f"echo p50, {where}", stack.name, percentiles[49] * 1000)
        self.results.add(f"echo p99, {where}", stack.name, percentiles[98] * 1000)

    def _crowd(self, stack: Stack) -> None:
        idle_before = self._idle_percent(stack)
        with Crowd(stack.endpoint) as crowd:
            self.results.add("sessions opened", stack.name, crowd.grow(self._plan.crowd))
            time.sleep(_SETTLE_SECS)
            self.results.add("CPU of 100 idle sessions", stack.name, self._idle_percent(stack) - idle_before)
            self._echo(stack, "100 sessions")

    def _idle_percent(self, stack: Stack) -> float:
        before = stack.cpu_secs()
        time.sleep(self._plan.idle_secs)
        return (stack.cpu_secs() - before) / self._plan.idle_secs * 100

    def _memory(self, stack: Stack, count: int) -> None:
        with Crowd(stack.endpoint) as crowd:
            # The first sessions load code that stays in memory.
            crowd.grow(_WARM_UP_SESSIONS)
            before = stack.rss_bytes()
            crowd.grow(count)
            time.sleep(_SETTLE_SECS)
            self.results.add("memory of an idle session", stack.name, (stack.rss_bytes() - before) / count / 1000)

    def _health(self, url: str) -> None:
        with health.bare_flask() as bare_url:
            for _ in range(self._plan.rounds):
                self.results.add(
                    "/api/v1/health", "netstacks", health.requests_per_sec(f"{url}/api/v1/health", self._plan.wrk_secs)
                )
                self.results.add("/api/v1/health", "flask", health.requests_per_sec(bare_url, self._plan.wrk_secs))


@contextmanager
def _text_file(megabytes: int) -> Iterator[str]:
    """A file that the device's users may read: numbered lines of 64 bytes."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        line = "interface {:012} is up, line protocol is up, no errors so far"
        file.writelines(line.format(number).ljust(63, ".") + "\n" for number in range(megabytes * 1_000_000 // 64))
        file.flush()
        os.chmod(file.name, 0o644)
        yield file.name


def _postgres_cpu_secs(backend: int) -> float:
    """The processor seconds of the backend's server, with all its processes."""
    postmaster = parent(backend)
    return cpu_secs(postmaster, *children(postmaster))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it works; its ratios mean little")
    plan = QUICK if parser.parse_args().quick else FULL
    stacks.install_webssh()
    began_at = time.monotonic()
    with ExitStack() as resources:
        bench = Bench(plan, resources)
        bench.run()
    print(bench.results.table(ROWS))
    print(f"\n{time.monotonic() - began_at:.0f} s; load of this machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
