"""`python -m bench.attacks`: what an attack costs other users, by the echo of a terminal and the time of a log-in.

Each attack runs in a process of its own against one controller. Rounds with and without it alternate, so that their
ratios mean something on any machine. The attacker shares the client's core, as on a host of its own it would not.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import socket
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import uuid4

from bench import stacks
from bench.cores import CLIENT_CORE, pin
from bench.report import Results, Row, at_most
from bench.stacks import Server
from bench.typist import Typist, echoes_in_turn
from tests.acceptance.slow_clients import NO_BODY
from tests.controller import ADMIN
from tests.fast_websocket import FastWebSocket
from tests.postgres import Postgres
from tests.sshd import Sshd

_GUESTS = 12
_BODIES = 2000
_GUESSERS = 20
# The alignment pattern (DECALN) writes every cell: the output that costs most to redraw.
_FLOOD = rb"stty -echo; printf '\033#8%.0s' $(seq 12000); printf floo''ded" + b"\r"

ROWS = (
    Row("echo p50 of another user", "ms", (at_most(1.5, "alone"),)),
    Row("echo p99 of another user", "ms"),
    Row("a log-in", "ms", (at_most(3, "alone"),)),
)


@dataclass(frozen=True)
class Plan:
    rounds: int
    echo_secs: float


def _guests(port: int, token: str) -> None:
    """Guests of a share that join, wait for the redraw and join again."""

    def join() -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                guest = FastWebSocket(port, f"/ws/shared?share={token}")
                while not any(message[0] == 0x08 for message in guest.receive()):
                    pass
                guest.receive()
                guest.close()

    _in_threads(_GUESTS, join)


def _bodies(port: int, _: str) -> None:
    """Clients that announce a body and send none, from as many addresses as the limit for one of them asks for."""
    held = []
    for number in range(_BODIES):
        client = socket.socket()
        client.bind((f"127.0.1.{number % 200 + 1}", 0))
        client.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            client.sendall(NO_BODY)
        held.append(client)
    threading.Event().wait()


def _guesses(port: int, _: str) -> None:
    """Log-ins with ever new names and wrong passwords."""

    def guess() -> None:
        while True:
            with contextlib.suppress(OSError):
                _log_in(f"http://127.0.0.1:{port}", str(uuid4()), "wrong")

    _in_threads(_GUESSERS, guess)


ATTACKS: dict[str, Callable[[int, str], None]] = {
    f"{_GUESTS} guests redraw the most expensive screen": _guests,
    f"{_BODIES} requests announce a body": _bodies,
    f"{_GUESSERS} clients guess passwords": _guesses,
}


def _in_threads(count: int, function: Callable[[], None]) -> None:
    for _ in range(count):
        threading.Thread(target=function, daemon=True).start()
    threading.Event().wait()


def _log_in(url: str, name: str, password: str) -> int:
    body = json.dumps({"username": name, "password": password, "client_type": "terminal"}).encode()
    request = urllib.request.Request(f"{url}/api/auth/login", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@contextmanager
def _attacked(attack: Callable[[int, str], None], port: int, token: str) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=attack, args=(port, token), daemon=True)
    process.start()
    try:
        # Time for the attack to be under way.
        time.sleep(3)
        yield
    finally:
        process.kill()
        process.join()


def _flooded_share(server: Server, resources: ExitStack) -> str:
    """Opens a terminal whose screen costs most to redraw; returns the token of a share of it."""
    channel = server.endpoint.open()
    resources.callback(channel.close)
    channel.send(_FLOOD)
    seen = b""
    while b"flooded" not in seen:
        seen = (seen + channel.receive())[-100:]
    request = urllib.request.Request(
        f"{server.url}/api/sessions/{channel.session_id}/share",
        json.dumps({"max_viewers": _GUESTS}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {server.token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        token: str = json.load(answer)["token"]
    return token


def measure(plan: Plan, attack: Callable[[int, str], None], postgres: Postgres) -> Results:
    """Keys and log-ins of the administrator, in turn with the attack and alone."""
    results = Results("attacked", "alone")
    with ExitStack() as resources:
        sshd = resources.enter_context(Sshd())
        server = resources.enter_context(stacks.netstacks(postgres.create_database(), sshd))
        token = _flooded_share(server, resources)
        typist = Typist()
        typist.open(server.endpoint)
        typist.turn_into_echo()
        # The terminal's echo is on a moment after the shell has said so.
        time.sleep(0.2)
        port = int(server.url.rpartition(":")[2])
        _look(Results("warm-up"), "warm-up", server, typist, plan.echo_secs)
        for _ in range(plan.rounds):
            _look(results, "alone", server, typist, plan.echo_secs)
            with _attacked(attack, port, token):
                _look(results, "attacked", server, typist, plan.echo_secs)
    return results


def _look(results: Results, when: str, server: Server, typist: Typist, secs: float) -> None:
    percentiles = statistics.quantiles(echoes_in_turn([typist], secs), n=100)
    results.add("echo p50 of another user", when, percentiles[49] * 1000)
    results.add("echo p99 of another user", when, percentiles[98] * 1000)
    began_at = time.monotonic()
    if (status := _log_in(server.url, *ADMIN)) != 200:
        raise RuntimeError(f"the log-in of a user was refused with {status}")
    results.add("a log-in", when, (time.monotonic() - began_at) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=8, help="how long keys are typed in each round")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    postgres = Postgres().start()
    try:
        pin(os.getpid(), CLIENT_CORE)
        for name, attack in ATTACKS.items():
            results = measure(Plan(arguments.rounds, arguments.secs), attack, postgres)
            print(name, results.table(ROWS), sep="\n", end="\n\n", flush=True)
    finally:
        postgres.destroy()


if __name__ == "__main__":
    main()
