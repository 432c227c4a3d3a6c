"""A call ends within its clocks in every way in which a provider can fail, and leaves nothing behind."""

import contextlib
import gc
import itertools
import os
import re
import socket
import ssl
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.llm import client as clients
from netstacks.llm import connection
from netstacks.llm.client import ProviderClient
from netstacks.llm.conversation import (
    ChatRequest,
    Finished,
    Message,
    Piece,
    Text,
    TextDelta,
    Tool,
    ToolResult,
    ToolUse,
    ToolUseStart,
    Usage,
    Waiting,
)
from netstacks.llm.failures import (
    CallCancelled,
    NotSent,
    ProviderBroken,
    ProviderFailure,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    StreamCut,
)
from tests.certificates import Authority
from tests.llm import scripted_provider as scripted
from tests.llm.providers import KEY, provider
from tests.llm.scripted_provider import Behaviour, ScriptedProvider, ToolCall, event
from tests.patched import patched
from tests.waits import until

QUESTION = ChatRequest((Message("user", (Text("Is r1 alive?"),)),))
BOTH = pytest.mark.parametrize("type", ["anthropic", "custom"])


@contextlib.contextmanager
def asking(type: str = "anthropic", **members: Any) -> Iterator[tuple[ScriptedProvider, ProviderClient]]:
    with ScriptedProvider() as server:
        url = server.messages_url if type == "anthropic" else server.chat_url
        yield server, ProviderClient(provider(type=type, base_url=url, **members))


def stream(client: ProviderClient, total_secs: float = 20) -> Generator[Piece]:
    """The pieces of an answer without `Waiting`."""
    with contextlib.closing(client.stream(QUESTION, "scripted-1", total_secs=total_secs)) as pieces:
        yield from (piece for piece in pieces if not isinstance(piece, Waiting))


def outcome(pieces: Iterator[Piece]) -> tuple[str, ProviderFailure | None]:
    """The text that came, and the failure it ended with."""
    text = ""
    try:
        for piece in pieces:
            text += piece.text if isinstance(piece, TextDelta) else ""
    except ProviderFailure as failure:
        return text, failure
    return text, None


def running_calls() -> list[str]:
    """The names of the greenlets of calls that have not ended."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, greenlets.Greenlet) and not each.ready()]
    return [each.name for each in found if each.name.startswith("llm-call-")]


def open_sockets() -> int:
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return sum(target.startswith("socket:") for target in targets)


@BOTH
@patched
def test_the_parts_of_an_answer_come_in_order_and_the_connection_is_kept_for_the_next(type: str) -> None:
    with asking(type) as (server, client):
        server.always(scripted.answer("hello", [ToolCall("t1", "ping", {"host": "r1"})]))
        for _ in range(3):
            *pieces, last = stream(client)
            texts = list(itertools.takewhile(lambda piece: isinstance(piece, TextDelta), pieces))
            assert "".join(piece.text for piece in texts if isinstance(piece, TextDelta)) == "hello"
            assert pieces[len(texts)] == ToolUseStart("t1", "ping")
            assert last == Finished("tool_use", Usage(11, 7))
            until(lambda: not running_calls())
        assert server.connections_accepted == 1
        assert server.open_connections == 1
        client.close()
        until(lambda: server.open_connections == 0)
        assert outcome(stream(client)) == ("hello", None)
        until(lambda: server.open_connections == 0)


@patched
def test_a_piece_comes_before_the_answer_has_ended() -> None:
    with asking() as (server, client):
        server.next(scripted.stall("hello"))
        assert next(stream(client)) == TextDelta("hello")


@patched
def test_a_caller_has_its_turn_while_nothing_comes_and_can_leave() -> None:
    with asking() as (server, client):
        server.next(scripted.keep_alives())
        pieces = client.stream(QUESTION, "m", total_secs=1000)
        assert [next(pieces), next(pieces)] == [Waiting(), Waiting()]
        assert running_calls()
        pieces.close()
        until(lambda: not running_calls() and server.open_connections == 0)


@BOTH
@patched
def test_a_request_has_the_key_and_asks_for_an_uncompressed_stream(type: str) -> None:
    with asking(type) as (server, client):
        outcome(client.stream(ChatRequest((Message("user", (Text("\ud800 →"),)),)), "m", total_secs=20))
        (received,) = server.requests
        assert KEY in (received.headers.get("x-api-key", ""), received.headers.get("authorization", "")[7:])
        assert received.headers["accept-encoding"] == "identity"
        assert received.headers["accept"] == "text/event-stream"
        content = received.body["messages"][0]["content"]
        # A lone surrogate, which a browser can send, is not text.
        assert (content[0]["text"] if type == "anthropic" else content) == "? →"


# One clock is much shorter than the others, so that the text proves which of them ended the call.
FAILURES: list[tuple[Behaviour, str, type[ProviderFailure], str]] = [
    (scripted.silence(), "", ProviderTimeout, "did not begin to answer within 1 s"),
    (scripted.no_token(), "", ProviderTimeout, "did not begin to answer within 1 s"),
    (scripted.keep_alives(), "", ProviderTimeout, "did not begin to answer within 1 s"),
    (scripted.stall("hello"), "hello", ProviderTimeout, "did not finish its answer within 2 s"),
    (scripted.cut_by_fin("hello"), "hello", StreamCut, "broke off in the middle"),
    (scripted.cut_by_rst("hello"), "hello", StreamCut, "broke off in the middle"),
    (scripted.ends_early("hello"), "hello", StreamCut, "broke off in the middle"),
    (scripted.error_event("overloaded_error", "hello"), "hello", ProviderBroken, "a scripted overloaded_error"),
    (scripted.html(), "", ProviderBroken, "did not answer with a stream of events but with text/html"),
    (scripted.garbage(), "", ProviderBroken, "did not answer in HTTP"),
    (scripted.hang_up(), "", ProviderBroken, "closed the connection without an answer"),
    (scripted.status(500), "", ProviderBroken, "answered 500: a scripted failure"),
    (scripted.status(529), "", ProviderBroken, "answered 529: a scripted failure"),
    (scripted.status(302, location="http://127.0.0.1:1/"), "", ProviderBroken, "answered 302, a redirect"),
    (scripted.stream(b"data: hello\n\n"), "", ProviderBroken, "sent an event that is not of"),
    (scripted.stream(b"data: " + b"x" * 2_000_000), "", ProviderBroken, "sent an event of more than"),
]


@BOTH
@patched
def test_every_failure_is_named_and_the_next_call_is_as_good_as_ever(type: str) -> None:
    with asking(type, first_token_secs=1) as (server, client):
        for behaviour, text, failure, why in FAILURES:
            server.next(behaviour)
            came, error = outcome(stream(client, 2))
            assert (came, error.__class__) == (text, failure), why
            assert re.search(why, str(error))
            assert error is not None
            assert error.verdict == "counts"
            # Nothing of it is left over, and no broken connection is taken for the next.
            assert outcome(client.stream(QUESTION, "m", total_secs=20)) == ("pong", None), why
            until(lambda: not running_calls() and server.open_connections == 1)


@BOTH
@patched
def test_an_answer_that_is_far_too_large_is_not_read_to_its_end(type: str) -> None:
    with asking(type) as (server, client):
        server.next(scripted.huge(40))
        text, failure = outcome(stream(client))
        assert 1_000_000 < len(text) <= 1024 * 1024
        assert re.search("more than 1048576 characters", str(failure))
        server.next(scripted.stream(*[b": " + b"x" * 200_000 + b"\n"] * 200))
        assert re.search("stream of more than 33554432 bytes", str(outcome(stream(client))[1]))
        until(lambda: server.open_connections == 0)


@patched
def test_a_refusal_or_a_limit_is_not_counted_as_the_providers_failure() -> None:
    with asking() as (server, client):
        server.next(
            scripted.status(429, retry_after="7"),
            scripted.status(429, retry_after="-1"),
            scripted.status(401, f"the key {KEY} is wrong"),
            scripted.status(400, "x" * 200_000),
        )
        limited, again, refused, long = (outcome(stream(client))[1] for _ in range(4))
        assert isinstance(limited, RateLimited)
        assert (limited.verdict, limited.retry_after_secs) == ("rate_limited", 7)
        assert isinstance(again, RateLimited)
        assert again.retry_after_secs is None
        assert isinstance(refused, ProviderRefused)
        assert (refused.verdict, refused.status, str(refused)) == ("neutral", 401, "answered 401: the key *** is wrong")
        assert isinstance(long, ProviderRefused)
        assert str(long) == "answered 400"


@patched
def test_an_error_whose_body_does_not_end_is_known_by_its_status() -> None:
    def unending(exchange: scripted.Exchange) -> None:
        exchange.head(503, "application/json")
        exchange.wait()

    with asking() as (server, client):
        server.next(unending)
        assert str(outcome(stream(client))[1]) == "answered 503"
        until(lambda: server.open_connections == 0)


@patched
def test_a_compressed_stream_is_refused() -> None:
    def compressed(exchange: scripted.Exchange) -> None:
        exchange.head(content_encoding="gzip")
        exchange.end()

    with asking() as (server, client):
        server.next(compressed)
        assert "compressed" in str(outcome(stream(client))[1])


@patched
def test_a_canary_is_one_token_and_an_empty_answer_will_do() -> None:
    with asking("openai") as (server, client):
        server.next(scripted.answer("", stop="length"), scripted.status(500), scripted.cut_by_fin(""))
        assert client.canary("small") == Usage(11, 7)
        assert server.requests[0].body == {
            "model": "small",
            "max_completion_tokens": 1,
            "messages": [{"role": "user", "content": "ping"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        with pytest.raises(ProviderBroken):
            client.canary("small")
        with pytest.raises(StreamCut):
            client.canary("small")


@patched
def test_an_answer_that_is_complete_waits_neither_for_the_count_of_tokens_nor_for_the_end_of_the_body() -> None:
    def uncounted(exchange: scripted.Exchange) -> None:
        exchange.head()
        exchange.send(b"".join(scripted.chat_events("hello")[:-2]))
        exchange.wait()

    def kept_alive(exchange: scripted.Exchange) -> None:
        exchange.head()
        exchange.send(b"".join(scripted.chat_events("hello")[:-2]))
        while True:
            exchange.send(b": still here\n\n")
            exchange.wait(0.05)

    with asking("custom") as (server, client):
        server.next(scripted.lingering("hello"), uncounted, kept_alive)
        assert list(stream(client, 1000))[-1] == Finished("end_turn", Usage(11, 7))
        assert list(stream(client, 1000))[-1] == Finished("end_turn", Usage())
        assert list(stream(client, 1000))[-1] == Finished("end_turn", Usage())
        until(lambda: not running_calls() and server.open_connections == 0)


@patched
def test_the_total_stands_still_while_the_caller_is_at_work() -> None:
    def slow(exchange: scripted.Exchange) -> None:
        *beginning, end = scripted.chat_events("hello")
        exchange.head()
        exchange.send(b"".join(beginning[:2]))
        exchange.wait(1.6)
        exchange.send(b": still here\n")
        exchange.wait(1.6)
        exchange.send(b"".join([*beginning[2:], end]))
        exchange.end()

    with asking("custom") as (server, client):
        server.next(slow)
        pieces = stream(client, 3.0)
        assert next(pieces) == TextDelta("he")
        # Longer than the total.
        greenlets.sleep(3.1)
        assert isinstance([*pieces][-1], Finished)


def thinking_for_ever(exchange: scripted.Exchange) -> None:
    exchange.head()
    while True:
        exchange.send(event({"choices": [{"delta": {"reasoning": "hm"}}]}))
        exchange.wait(0.05)


@patched
def test_a_timeout_tells_how_long_the_model_was_silent_and_whether_it_has_the_question() -> None:
    with asking("custom") as (server, client):
        server.next(scripted.silence(), thinking_for_ever)
        silent, busy = (outcome(stream(client, 1.5))[1] for _ in range(2))
        assert isinstance(silent, ProviderTimeout)
        assert isinstance(busy, ProviderTimeout)
        assert silent.silent_secs > 1.4
        assert busy.silent_secs < silent.silent_secs / 2
        assert (silent.was_sent, busy.was_sent) == (True, True)
    with scripted.slow_connect() as url:
        unreached = outcome(stream(ProviderClient(provider(base_url=url, connect_secs=0.3))))[1]
        assert isinstance(unreached, ProviderTimeout)
        assert not unreached.was_sent


@patched
def test_times_are_told_in_round_numbers() -> None:
    with asking() as (server, client):
        server.next(scripted.stall("hello"))
        assert str(outcome(stream(client, 0.31234))[1]) == "did not finish its answer within 0.3 s"


@patched
def test_a_caller_that_takes_nothing_holds_no_connection_for_ever() -> None:
    def endless(exchange: scripted.Exchange) -> None:
        exchange.head()
        exchange.send(b"".join(scripted.chat_events("hello")[:2]))
        while True:
            exchange.send(b": still here\n\n")
            exchange.wait(0.05)

    with asking("custom") as (server, client):
        server.next(endless)
        pieces = stream(client, 3.0)
        assert next(pieces) == TextDelta("he")
        until(lambda: not running_calls() and server.open_connections == 0)
        with pytest.raises(CallCancelled, match="was not read"):
            next(pieces)


@patched
def test_a_connection_is_kept_for_a_while_and_not_until_the_next_call() -> None:
    clients.IDLE_SECS = 0.5  # type: ignore[misc]
    with asking() as (server, client):
        for _ in range(2):
            assert outcome(stream(client)) == ("pong", None)
            until(lambda: server.open_connections == 0)


@patched
def test_thinking_stops_the_clock_of_the_first_token() -> None:
    def thinking(exchange: scripted.Exchange) -> None:
        exchange.head()
        exchange.send(event({"choices": [{"delta": {"reasoning": "hm"}}]}))
        # Longer than that clock.
        exchange.wait(2.5)
        exchange.send(b"".join(scripted.chat_events("hello")))
        exchange.end()

    with asking("custom", first_token_secs=2) as (server, client):
        server.next(thinking)
        assert outcome(stream(client)) == ("hello", None)


@patched
def test_an_empty_question_and_a_key_that_no_header_can_carry_are_not_sent() -> None:
    with asking(key="sk-\n\u20ac") as (server, client):
        failure = outcome(stream(client))[1]
        assert isinstance(failure, ProviderRefused)
        assert "sk-" not in str(failure)
        with pytest.raises(InvalidInput):
            list(ProviderClient(provider(base_url=server.url)).stream(ChatRequest(()), "m", total_secs=1))
        assert server.requests == []


@patched
def test_no_connection_is_a_failure_within_the_clock_of_the_connect() -> None:
    assert isinstance(outcome(stream(ProviderClient(provider(base_url="http://127.0.0.1:1"))))[1], ProviderUnreachable)
    for url in ("http://no-such-host.invalid", "ftp://127.0.0.1", "http://[", "127.0.0.1"):
        assert isinstance(outcome(stream(ProviderClient(provider(base_url=url))))[1], ProviderUnreachable), url
    with scripted.slow_connect() as url:
        failure = outcome(stream(ProviderClient(provider(base_url=url, connect_secs=0.3))))[1]
        assert isinstance(failure, ProviderTimeout)
        assert str(failure) == "could not be reached within 0.3 s"
        until(lambda: not running_calls())


@patched
def test_name_servers_that_do_not_answer_hold_no_caller() -> None:
    answered = greenlets.Event()

    def look_up(*_: object, **__: object) -> None:
        answered.wait(60)
        raise OSError("no such name")

    # What the HTTP client connects with, of which looking the name up is the first part.
    socket.create_connection = look_up  # type: ignore[assignment]
    failure = outcome(stream(ProviderClient(provider(base_url="http://name", connect_secs=0.1))))[1]
    assert str(failure) == "could not be reached within 0.1 s"
    assert running_calls()
    answered.set()
    until(lambda: not running_calls())


@patched
def test_a_call_to_a_silent_tls_server_ends_with_the_clock_of_the_connect() -> None:
    # It accepts, and says nothing of what the handshake needs.
    with ScriptedProvider() as server:
        url = server.url.replace("http:", "https:")
        failure = outcome(stream(ProviderClient(provider(base_url=url, connect_secs=0.3))))[1]
        assert str(failure) == "could not be reached within 0.3 s"
        until(lambda: not running_calls() and server.open_connections == 0)


@patched
def test_tls_is_verified_by_the_ca_file_of_the_environment_and_a_call_over_it_can_be_abandoned() -> None:
    with TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("127.0.0.1"))
        with ScriptedProvider(context) as server:
            client = ProviderClient(provider(base_url=server.url))
            failure = outcome(stream(client))[1]
            assert isinstance(failure, ProviderUnreachable)
            assert "CERTIFICATE_VERIFY_FAILED" in str(failure)
            os.environ["SSL_CERT_FILE"] = str(authority.ca)
            connection._tls.cache_clear()
            client = ProviderClient(provider(base_url=server.url))
            assert outcome(stream(client)) == ("pong", None)
            client.close()
            server.always(scripted.stall("hello"))
            abandoned = stream(client)
            assert next(abandoned) == TextDelta("hello")
            abandoned.close()
            until(lambda: not running_calls() and server.open_connections == 0)


@patched
def test_an_invalid_ca_file_or_proxy_says_nothing_about_the_provider_and_no_password_is_told() -> None:
    for name, value in (
        ("SSL_CERT_FILE", "/no/such/file"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://user:pa/ss@127.0.0.1:1"),
        ("ALL_PROXY", "a://b"),
    ):
        before = os.environ.get(name)
        os.environ[name] = value
        connection._tls.cache_clear()
        failure = outcome(stream(ProviderClient(provider(base_url="https://127.0.0.1:1"))))[1]
        assert isinstance(failure, NotSent), name
        assert failure.verdict == "neutral"
        assert str(failure) == "was not called: the proxy or the CA file in this instance's environment is invalid"
        os.environ.pop(name) if before is None else os.environ.update({name: before})


@patched
def test_a_request_that_http_does_not_allow_says_nothing_about_the_provider() -> None:
    with asking(key=" sk") as (server, client):
        failure = outcome(stream(client))[1]
        assert isinstance(failure, NotSent)
        assert failure.verdict == "neutral"
        assert server.requests == []


@patched
def test_the_proxy_of_the_environment_is_asked() -> None:
    with ScriptedProvider() as proxy:
        os.environ["HTTP_PROXY"] = os.environ["HTTPS_PROXY"] = proxy.url
        assert outcome(stream(ProviderClient(provider(base_url="http://provider.test")))) == ("pong", None)
        assert proxy.requests[0].path == "http://provider.test/v1/messages"
        proxy.next(scripted.status(407))
        failure = outcome(stream(ProviderClient(provider(base_url="https://provider.test"))))[1]
        assert str(failure) == "could not be reached: its proxy answered 407 Scripted"
        # The clock of the first token begins with the answer to the question, not with the proxy's.
        proxy.next(scripted.silence())
        slow = ProviderClient(provider(base_url="https://provider.test", connect_secs=0.3, first_token_secs=0.1))
        assert str(outcome(stream(slow))[1]) == "could not be reached within 0.3 s"


@patched
def test_a_caller_that_leaves_while_it_holds_the_provider_back_leaves_nothing() -> None:
    with asking() as (server, client):
        delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}
        server.next(scripted.stream(*[event(delta) * 100] * 100))
        pieces = stream(client, 1000)
        next(pieces)
        # Long enough for more pieces than are kept for the caller.
        greenlets.sleep(0.5)
        assert running_calls()
        pieces.close()
        until(lambda: not running_calls() and server.open_connections == 0)


@patched
def test_a_call_that_is_given_up_during_its_connect_asks_nothing() -> None:
    connected, connect = greenlets.Event(), socket.create_connection

    def slow(*arguments: Any, **named: Any) -> Any:
        connected.wait(60)
        return connect(*arguments, **named)

    with asking(connect_secs=0.1) as (server, client):
        socket.create_connection = slow  # type: ignore[assignment]
        assert isinstance(outcome(stream(client, 1000))[1], ProviderTimeout)
        connected.set()
        until(lambda: server.connections_accepted == 1)
        until(lambda: not running_calls() and server.open_connections == 0)
        assert server.requests == []


def leave_in_the_middle(server: ScriptedProvider, client: ProviderClient) -> None:
    server.next(scripted.stall("hello"))
    pieces = stream(client)
    with contextlib.suppress(ProviderTimeout):
        next(pieces)
    pieces.close()


def leave_a_fast_one(server: ScriptedProvider, client: ProviderClient) -> None:
    server.next(scripted.huge(1))
    leave_in_the_middle(server, client)


def run_out_of_time(_: ScriptedProvider, client: ProviderClient) -> None:
    outcome(stream(client, 0.05))


def run_out_of_time_at_once(_: ScriptedProvider, client: ProviderClient) -> None:
    outcome(stream(client, 0))


# The script is one queue, so which of them meets which behaviour differs from run to run: all must leave nothing.
LEAVES = [leave_in_the_middle, leave_a_fast_one, run_out_of_time, run_out_of_time_at_once]


@BOTH
@patched
def test_a_thousand_abandoned_streams_leave_no_greenlet_and_no_connection(type: str) -> None:
    with asking(type) as (server, client):
        assert outcome(stream(client)) == ("pong", None)
        client.close()
        until(lambda: server.open_connections == 0 and not running_calls())
        sockets = open_sockets()
        server.always(scripted.keep_alives(0.01))
        for _ in range(25):
            leaving = [greenlets.spawn("leaver", LEAVES[number % len(LEAVES)], server, client) for number in range(40)]
            greenlets.joinall(leaving, raise_error=True)
        until(lambda: not running_calls() and server.open_connections == 0)
        assert open_sockets() == sockets


def endless(beginning: bytes, part: bytes) -> Behaviour:
    def behave(exchange: scripted.Exchange) -> None:
        exchange.raw(beginning)
        while True:
            exchange.raw(part)

    return behave


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_ERROR_HEAD = _HEAD.replace(b"200 OK", b"500 Broken")
_THOUGHT = event({"choices": [{"delta": {"reasoning": "hm"}}]})
_LETTER = event({"choices": [{"delta": {"content": "x"}}]})


# How an answer begins, and what then comes for ever.
ENDLESS = {
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "thoughts": (_HEAD, chunks(_THOUGHT * 500)),
    "letters": (_HEAD, chunks(_LETTER * 500)),
    "small chunks": (_HEAD, chunks(*[b":\n"] * 5000)),
    "large events": (_HEAD, chunks(event({"choices": [{"delta": {"unknown": [[]] * 40_000}}]}))),
    "an error in small chunks": (_ERROR_HEAD, chunks(*[b"x"] * 5000)),
}


@pytest.mark.parametrize("kind", ENDLESS)
@patched
def test_a_provider_that_sends_without_end_leaves_others_their_turns(kind: str) -> None:
    turns = 0

    def take_turns() -> None:
        nonlocal turns
        while True:
            greenlets.sleep(0.001)
            turns += 1

    with asking("custom", first_token_secs=1) as (server, client):
        server.next(endless(*ENDLESS[kind]))
        greenlets.spawn("others", take_turns)
        assert outcome(stream(client, 1))[1] is not None
        # In a second in which the loop stands still for 100 ms and more at once there are fewer than ten.
        assert turns > 40, turns
        until(lambda: not running_calls() and server.open_connections == 0)


@patched
def test_small_pieces_that_come_together_are_told_as_one_up_to_a_failure() -> None:
    call = {"choices": [{"delta": {"tool_calls": [{"function": {"name": "ping", "arguments": "{}"}}]}}]}
    error = event({"error": {"message": "enough"}})
    with asking("custom") as (server, client):
        server.next(scripted.stream(_LETTER * 30 + event(call) + _LETTER * 3 + error))
        pieces = stream(client)
        assert next(pieces) == TextDelta("x" * 33)
        with pytest.raises(ProviderBroken, match="enough"):
            next(pieces)


@patched
def test_pieces_that_follow_each_other_fast_come_together() -> None:
    def fast(exchange: scripted.Exchange) -> None:
        exchange.head()
        for _ in range(200):
            exchange.send(_LETTER)
            greenlets.sleep(0.001)
        exchange.send(b"".join(scripted.chat_events("")))
        exchange.end()

    with asking("custom") as (server, client):
        server.next(fast)
        *pieces, _ = stream(client)
        assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == "x" * 200
        assert len(pieces) < 100


@patched
def test_a_number_that_json_does_not_have_is_not_sent() -> None:
    tools = (Tool("ping", "", {"type": "object", "maximum": float("inf")}),)
    history = (
        Message("user", (Text("hi"),)),
        Message("assistant", (ToolUse("t1", "ping", {"timeout": float("nan")}),)),
        Message("user", (ToolResult("t1", "alive"),)),
    )
    for type in ("anthropic", "custom"):
        with asking(type) as (server, client):
            for request in (replace(QUESTION, tools=tools), ChatRequest(history, tools=(Tool("ping", "", {}),))):
                with pytest.raises(InvalidInput, match="must be finite"):
                    next(client.stream(request, "m", total_secs=20))
            assert server.requests == []
            assert outcome(stream(client)) == ("pong", None)
