"""`make bench`: what asking a language model costs, beside the vendors' SDKs and litellm's router.

All ask the same local provider in turn, each in a process that is patched as a controller's worker is, so that their
ratios mean something on any machine; absolute values do not. The provider's own cost is not counted.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import stacks
from bench.cores import CLIENT_CORE, SERVER_CORE, pin
from bench.llm_callers import DIALECTS, MODEL, QUESTION, Caller, caller
from bench.llm_provider import (
    PIECE_GAP_SECS,
    PIECES,
    SHORT,
    STREAM_PIECES_PER_SEC,
    Provider,
    base_url,
    running_provider,
)
from bench.report import Results, Row, Target, at_most
from bench.stacks import Server
from bench.typist import Typist, echoes_in_turn
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.processes import cpu_secs, rss_bytes
from tests.sshd import Sshd

_BASES = ("httpx2", "plain")
_STACKS = ("netstacks", "redacted", "anthropic", "openai", "litellm", *_BASES)
_WAYS = {
    "short": f"{SHORT} pieces at once",
    "long": f"{len(PIECES)} pieces at once",
    "paced": f"{len(PIECES)} pieces {PIECE_GAP_SECS * 1000:g} ms apart",
}
_TITLES = {"messages": "Messages", "chat_completions": "Chat Completions"}


def _cpu_target(dialect: str) -> tuple[Target, ...]:
    return (at_most(0.5, "anthropic" if dialect == "messages" else "openai"),)


CALL_ROWS = (
    *(
        row
        for dialect in DIALECTS
        for way in _WAYS
        for row in (
            Row(f"p50 of a call, {_TITLES[dialect]}, {_WAYS[way]}", "ms"),
            Row(f"CPU of a call, {_TITLES[dialect]}, {_WAYS[way]}", "ms", _cpu_target(dialect)),
            Row(f"CPU beyond httpx2's, {_TITLES[dialect]}, {_WAYS[way]}", "ms", _cpu_target(dialect)),
        )
    ),
    Row("CPU of loading it and a first call", "s"),
    Row("memory of it then", "MB"),
)
START_ROWS = (
    Row("start until healthy", "s"),
    Row("CPU until healthy", "s", (at_most(1.05, "none"),)),
    Row("memory when healthy", "MB", (at_most(1.02, "none"),)),
    Row("memory after a log-in", "MB", (at_most(1.02, "none"),)),
    Row("memory after the first answer", "MB"),
)
ECHO_ROWS = (
    Row("echo p50, 20 terminals", "ms", (at_most(1.1, "without"),)),
    Row("echo p99, 20 terminals", "ms"),
    Row("CPU meanwhile", "% of a core"),
)
_HANGING, _STREAMING, _TERMINALS = 100, 10, 20
# Room for a stream's events while its client does not read: reading would use the core that measures.
_UNREAD_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """How much is measured. `calls` are those of one round, by the way in which the provider answers."""

    rounds: int
    calls: dict[str, int]
    starts: int
    echo_rounds: int
    echo_secs: float


FULL = Plan(5, {"short": 100, "long": 40, "paced": 3}, 5, 5, 6)
QUICK = Plan(1, {"short": 10, "long": 5, "paced": 1}, 1, 1, 2)
# litellm makes so many times fewer calls, because each takes so much longer.
_LITELLM_SHARE = 10


def measure_calls(plan: Plan, address: str) -> Results:
    """Measures each stack in turn, as many rounds as planned, after a few calls that do not count."""
    results = Results(*_STACKS)
    with ExitStack() as resources:
        callers = [resources.enter_context(each) for name in _STACKS if (each := _caller(name, address))]
        for each in callers:
            results.add("CPU of loading it and a first call", each.name, each.loaded["cpu_secs"])
            results.add("memory of it then", each.name, each.loaded["rss_bytes"] / 1e6)
        for dialect in DIALECTS:
            for way, count in plan.calls.items():
                for each in callers:
                    each.ask(dialect, way, 2)
                for _ in range(plan.rounds):
                    _round(results, callers, dialect, way, count)
    return results


def _caller(name: str, address: str) -> AbstractContextManager[Caller] | None:
    if name != "litellm":
        return caller(name, address)
    try:
        stacks.install_litellm()
    except subprocess.CalledProcessError:
        print("litellm is not installed: its package was not to be had.\n")
        return None
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    return caller(name, address, PYTHONPATH=str(stacks.LITELLM), **offline)


def _round(results: Results, callers: list[Caller], dialect: str, way: str, count: int) -> None:
    what = f"{_TITLES[dialect]}, {_WAYS[way]}"
    cpu_ms = {}
    for each in callers:
        measured = each.ask(dialect, way, max(1, count // _LITELLM_SHARE) if each.name == "litellm" else count)
        if measured is not None:
            results.add(f"p50 of a call, {what}", each.name, statistics.median(measured["took_secs"]) * 1000)
            cpu_ms[each.name] = measured["cpu_secs"] * 1000
    for name, value in cpu_ms.items():
        results.add(f"CPU of a call, {what}", name, value)
        if name not in _BASES:
            results.add(f"CPU beyond httpx2's, {what}", name, value - cpu_ms["httpx2"])


def measure_starts(plan: Plan, address: str, postgres: Postgres) -> Results:
    """A controller that asks a provider, and one that has none, each started again and again on its database."""
    results = Results("provider", "none")
    with _providers_file(address) as file:
        ways = {"provider": {"LLM_PROVIDERS_FILE": file}, "none": {}}
        databases = {name: postgres.create_database() for name in ways}
        for number in range(plan.starts + 1):
            for name, settings in ways.items():
                controller = Controller(databases[name], **settings)
                try:
                    # The first start makes the tables.
                    _start(results if number else Results(name), name, controller)
                finally:
                    controller.stop()
    return results


def _start(results: Results, name: str, controller: Controller) -> None:
    started_at = time.monotonic()
    controller.launch()
    assert controller.process is not None
    pin(controller.process.pid, SERVER_CORE)
    controller.started()
    took_secs = time.monotonic() - started_at
    worker = controller.worker_pids()[0]
    results.add("start until healthy", name, took_secs)
    results.add("CPU until healthy", name, cpu_secs(controller.process.pid, worker))
    results.add("memory when healthy", name, rss_bytes(worker) / 1e6)
    api = controller.login()
    results.add("memory after a log-in", name, rss_bytes(worker) / 1e6)
    if name == "provider":
        answer = api.post("/api/ai/agent-chat", _question("long"))
        if answer["text"] != "".join(PIECES):
            raise RuntimeError(f"another answer was expected: {answer}")
        results.add("memory after the first answer", name, rss_bytes(worker) / 1e6)


def measure_echoes(plan: Plan, provider: Provider, postgres: Postgres) -> Results:
    """Keys in 20 terminals: with calls through the controller, without calls, and with calls straight to the provider.

    The last ones show what the provider costs the core that it shares with the client and the device.
    """
    results = Results("with calls", "without", "straight")
    with ExitStack() as resources:
        sshd = resources.enter_context(Sshd())
        settings = {
            "LLM_PROVIDERS_FILE": resources.enter_context(_providers_file(provider.address)),
            "LLM_USER_CONCURRENCY": str(_HANGING + _STREAMING),
        }
        server = resources.enter_context(stacks.netstacks(postgres.create_database(), sshd, **settings))
        typists = [Typist() for _ in range(_TERMINALS)]
        for typist in typists:
            typist.open(server.endpoint)
            typist.turn_into_echo()
        for _ in range(plan.echo_rounds):
            _echo(results, "without", server, typists, plan.echo_secs)
            with _calls(provider, lambda way: _ask(server, way)):
                _echo(results, "with calls", server, typists, plan.echo_secs)
            with _calls(provider, lambda way: _ask_straight(provider, way)):
                _echo(results, "straight", server, typists, plan.echo_secs)
        for typist in typists:
            typist.leave()
    return results


def _echo(results: Results, when: str, server: Server, typists: list[Typist], secs: float) -> None:
    cpu_before, began_at = server.cpu_secs(), time.monotonic()
    percentiles = statistics.quantiles(echoes_in_turn(typists, secs), n=100)
    cpu_percent = (server.cpu_secs() - cpu_before) / (time.monotonic() - began_at) * 100
    results.add("echo p50, 20 terminals", when, percentiles[49] * 1000)
    results.add("echo p99, 20 terminals", when, percentiles[98] * 1000)
    results.add("CPU meanwhile", when, cpu_percent)


@contextmanager
def _calls(provider: Provider, ask: Callable[[str], socket.socket]) -> Iterator[None]:
    """Holds calls that hang and calls that stream; their clients leave at the end."""
    files_before = provider.open_files()
    hanging: list[socket.socket] = []
    streaming: list[socket.socket] = []
    for way, connections, count in (("hang", hanging, _HANGING), ("stream", streaming, _STREAMING)):
        for _ in range(count):
            connections.append(ask(way))
            # One after the other: more questions at once than the database has connections for would be refused.
            expected = files_before + len(hanging) + len(streaming)
            until(lambda expected=expected: provider.open_files() == expected, f"call {len(connections)} of /{way}")
    began_at = time.monotonic()
    yield
    least_pieces = STREAM_PIECES_PER_SEC * (time.monotonic() - began_at) / 2
    for connection in streaming:
        pieces = connection.recv(_UNREAD_BYTES, socket.MSG_WAITALL | socket.MSG_DONTWAIT).count(b'"content')
        if pieces < least_pieces:
            raise RuntimeError(f"a stream has brought {pieces} pieces instead of {least_pieces:.0f}")
    for connection in (*hanging, *streaming):
        connection.close()
    until(lambda: provider.open_files() == files_before, "the end of calls whose clients have left")


def _ask(server: Server, way: str) -> socket.socket:
    url = f"{server.url}/api/ai/agent-chat-stream"
    return _post(url, _question(way), f"Authorization: Bearer {server.token}\r\n")


def _ask_straight(provider: Provider, way: str) -> socket.socket:
    return _post(f"{base_url(provider.address, 'chat_completions', way)}/chat/completions", _question(way))


def _post(url: str, question: dict[str, object], headers: str = "") -> socket.socket:
    address = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)
    connection.connect((address.hostname, address.port))
    body = json.dumps(question).encode()
    connection.sendall(
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


def _question(way: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": QUESTION}], "provider": way}


@contextmanager
def _providers_file(address: str) -> Iterator[str]:
    """One provider for each way to answer, named after it."""
    entries = [
        {
            "name": way,
            "type": "custom",
            "base_url": base_url(address, "chat_completions", way),
            "models": [MODEL],
            "first_token_secs": 120,
            "total_secs": 120,
            "max_concurrent": 0,
        }
        for way in ("long", "hang", "stream")
    ]
    with tempfile.TemporaryDirectory(prefix="netstacks-bench-") as folder:
        file = Path(folder) / "providers.json"
        file.write_text(json.dumps(entries))
        yield str(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="to see that it works; its ratios mean little")
    plan = QUICK if parser.parse_args().quick else FULL
    began_at = time.monotonic()
    postgres = Postgres().start()
    try:
        pin(os.getpid(), CLIENT_CORE)
        with running_provider() as provider:
            print(measure_calls(plan, provider.address).table(CALL_ROWS), end="\n\n", flush=True)
            print(measure_starts(plan, provider.address, postgres).table(START_ROWS), end="\n\n", flush=True)
            print(measure_echoes(plan, provider, postgres).table(ECHO_ROWS))
    finally:
        postgres.destroy()
    print(f"\n{time.monotonic() - began_at:.0f} s; load of this machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
