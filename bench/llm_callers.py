"""One way to ask a provider, in a process of its own that is patched as a controller's worker is.

`python -m bench.llm_callers STACK ADDRESS` says on its standard output what loading the stack and a first call have
cost, then answers each line `DIALECT WAY COUNT` with the durations of so many calls and the processor time of one.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import functools
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from bench.cores import SERVER_CORE, pin
from bench.llm_provider import PIECES, SHORT, base_url
from tests.processes import rss_bytes

DIALECTS = ("messages", "chat_completions")
SYSTEM = "You help network engineers. Answer in few words."
# A terminal's text with one secret in it.
SCREEN = "\n".join(
    [
        *(
            f"GigabitEthernet0/{number}  10.0.{number}.1  YES NVRAM  up  up  {number * 1013} input errors"
            for number in range(40)
        ),
        "snmp-server community Zq7hd82kLm RO",
    ]
)
QUESTION = f"Which interface has the most errors?\n{SCREEN}"
MODEL = "m"
_KEY = "sk-bench-0123456789"
_PIECE = re.compile(r"interface \d+ ")

# Asks once and returns the text of the answer.
Ask = Callable[[], str]


def netstacks(dialect: str, url: str) -> Ask:
    """The orchestrator with its circuits and limits, without the redaction, which the others do not have either."""
    return _ours(dialect, url, is_redacted=False)


def redacted(dialect: str, url: str) -> Ask:
    """The controller's whole path: the question redacted, the answer restored and accounted for."""
    return _ours(dialect, url, is_redacted=True)


def _ours(dialect: str, url: str, *, is_redacted: bool) -> Ask:
    from netstacks.llm.assistant import Assistant, Question, Requester
    from netstacks.llm.circuits import Circuits
    from netstacks.llm.client import ProviderClient
    from netstacks.llm.conversation import ChatRequest, Message, Text, TextDelta
    from netstacks.llm.directory import Directory
    from netstacks.llm.limits import Limits, TokensToday
    from netstacks.llm.orchestrator import Orchestrator
    from netstacks.llm.outcomes import Hint
    from netstacks.llm.provider import Provider
    from netstacks.llm.redaction import Redactor
    from netstacks.registry.memory import MemoryRegistry
    from netstacks.store.sanitization import SanitizationConfig

    provider = Provider(
        id=UUID(int=1), revision=1, name="bench", type="anthropic" if dialect == "messages" else "custom", base_url=url,
        models=(MODEL,), key=_KEY, position=0, enabled=True, connect_secs=5, first_token_secs=30, total_secs=60,
        max_concurrent=0, daily_tokens=0,
    )  # fmt: skip
    client = ProviderClient(provider)

    class OneProvider:
        """The list without a database."""

        def providers(self) -> list[Provider]:
            return [provider]

        def client(self, _: Provider) -> ProviderClient:
            return client

        def may_use(self, _: str) -> bool:
            return True

    directory = OneProvider()
    circuits = Circuits(MemoryRegistry(), "bench", lambda *_, **__: None, failures=5, cooldown_secs=30, interval_secs=5)
    limits = Limits(lambda _: TokensToday())
    orchestrator = Orchestrator(directory, circuits.circuit_for, limits)
    assistant = Assistant(
        cast(Directory, directory), orchestrator, lambda *_: Redactor(SanitizationConfig(), ["a vault's secret"]),
        lambda _: None,
    )  # fmt: skip
    user = UUID(int=2)
    request = ChatRequest((Message("user", (Text(QUESTION),)),), system=SYSTEM)
    question = Question(request, Requester(user, "bench", "operator", None), "bench")

    def ask() -> str:
        told: Generator[Any] = (
            assistant.stream(question, Hint(), total_secs=60)
            if is_redacted
            else orchestrator.stream(request, user, Hint(), total_secs=60)
        )
        return "".join(piece.text for piece in told if isinstance(piece, TextDelta))

    return ask


def anthropic(dialect: str, url: str) -> Ask:
    """Anthropic's SDK with one client that is kept, by its helper that puts the answer together, as ours does."""
    if dialect != "messages":
        raise LookupError(dialect)
    import anthropic

    client = anthropic.Anthropic(api_key=_KEY, base_url=url, max_retries=0)

    def ask() -> str:
        with client.messages.stream(
            model=MODEL, max_tokens=4096, system=SYSTEM, messages=[{"role": "user", "content": QUESTION}]
        ) as answering:
            text = "".join(answering.text_stream)
            answering.get_final_message()
            return text

    return ask


def openai(dialect: str, url: str) -> Ask:
    """OpenAI's SDK in the same way."""
    if dialect != "chat_completions":
        raise LookupError(dialect)
    import openai

    client = openai.OpenAI(api_key=_KEY, base_url=url, max_retries=0)

    def ask() -> str:
        with client.chat.completions.stream(
            model=MODEL,
            max_completion_tokens=4096,
            messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
            stream_options={"include_usage": True},
        ) as answering:
            text = "".join(event.delta for event in answering if event.type == "content.delta")
            answering.get_final_completion()
            return text

    return ask


def litellm(dialect: str, url: str) -> Ask:
    """litellm's router, the peer of our orchestrator: it too has cooldowns and fails over."""
    import litellm  # type: ignore[import-not-found]

    litellm.suppress_debug_info = True
    vendor = "anthropic" if dialect == "messages" else "openai"
    parameters = {"model": f"{vendor}/{MODEL}", "api_key": _KEY, "api_base": url}
    router = litellm.Router(model_list=[{"model_name": MODEL, "litellm_params": parameters}], num_retries=0)

    def ask() -> str:
        chunks = router.completion(
            model=MODEL,
            max_tokens=4096,
            messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    return ask


def httpx2(dialect: str, url: str) -> Ask:
    """The HTTP client that all but litellm stand on, alone: the bytes of the answer, not read."""
    import httpx2

    client = httpx2.Client()
    path = "/v1/messages" if dialect == "messages" else "/chat/completions"
    body = json.dumps({"system": SYSTEM, "content": QUESTION}).encode()

    def ask() -> str:
        with client.stream("POST", url + path, content=body) as response:
            return "".join(_PIECE.findall(b"".join(response.iter_raw()).decode()))

    return ask


def plain(dialect: str, url: str) -> Ask:
    """The bytes of one request, sent over a socket that is kept; their answer is found by its end."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    connection = socket.create_connection((address.hostname, address.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    path = address.path + ("/v1/messages" if dialect == "messages" else "/chat/completions")
    body = json.dumps({"system": SYSTEM, "content": QUESTION}).encode()
    request = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def ask() -> str:
        connection.sendall(request)
        parts, end = [], b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            parts.append(connection.recv(65536))
            end = (end + parts[-1])[-7:]
        return "".join(_PIECE.findall(b"".join(parts).decode()))

    return ask


STACKS: dict[str, Callable[[str, str], Ask]] = {
    "netstacks": netstacks,
    "redacted": redacted,
    "anthropic": anthropic,
    "openai": openai,
    "litellm": litellm,
    "httpx2": httpx2,
    "plain": plain,
}


class Caller:
    """A stack's process, seen from the bench."""

    def __init__(self, name: str, address: str, environ: dict[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.llm_callers", name, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environ},
        )
        self.loaded = self._answer()

    def ask(self, dialect: str, way: str, count: int) -> dict[str, Any] | None:
        """The seconds that calls took, and the processor time of one; None when the stack lacks the dialect."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{dialect} {way} {count}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        with self._process:
            pass


@contextmanager
def caller(name: str, address: str, **environ: str) -> Iterator[Caller]:
    """The stack in its own process, which costs nothing while it is not asked."""
    found = Caller(name, address, environ)
    try:
        yield found
    finally:
        found.close()


def _work(name: str, address: str) -> None:
    pin(os.getpid(), SERVER_CORE)
    # What a controller has loaded already costs none of them anything.
    importlib.import_module("netstacks.services")
    cpu_before, rss_before = time.process_time(), rss_bytes(os.getpid())
    find = functools.cache(lambda dialect, way: STACKS[name](dialect, base_url(address, dialect, way)))
    find("messages" if name == "anthropic" else "chat_completions", "short")()
    _say({"cpu_secs": time.process_time() - cpu_before, "rss_bytes": rss_bytes(os.getpid()) - rss_before})
    for line in sys.stdin:
        dialect, way, count = line.split()
        pieces = PIECES[:SHORT] if way == "short" else PIECES
        try:
            _say(_measured(find(dialect, way), "".join(pieces), int(count)))
        except LookupError:
            _say(None)


def _measured(ask: Ask, expected: str, count: int) -> dict[str, Any]:
    took_secs = []
    cpu_before = time.process_time()
    for _ in range(count):
        began_at = time.perf_counter()
        text = ask()
        took_secs.append(time.perf_counter() - began_at)
        if text != expected:
            raise RuntimeError(f"the answer has {len(text)} characters: {text[:200]!r}")
    return {"took_secs": took_secs, "cpu_secs": (time.process_time() - cpu_before) / count}


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    _work(*sys.argv[1:])
