"""Traces through real controllers: one id from the browser to the owner and the provider, and broken collectors."""

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from socket import create_connection
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import requests
from websockets.sync.client import connect

from netstacks.tracing.spans import Kind
from tests.acceptance import ai
from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab, make_lab
from tests.controller import ADMIN, JWT_SECRET, MASTER_KEY, Controller, until
from tests.llm.scripted_provider import ScriptedProvider, answer
from tests.otlp_collector import Collector
from tests.postgres import Postgres
from tests.sshd import Sshd

PEER_ROUTE = "/peer/sessions/<uuid:session_id>/terminal"
COLLECTOR_KEY = "a key of the collector"
# More clients than an instance admits within the time after which it asks another one.
CROWD = 400
QUESTION = "Is the uplink of the secret site down?"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, collector: Collector) -> Iterator[Cluster]:
    settings = {"OTLP_ENDPOINT": collector.url, "OTLP_HEADERS": f"x-key={COLLECTOR_KEY}", "LOG_FORMAT": "json"}
    with Cluster(postgres, 2, **settings) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def new_trace() -> tuple[str, str]:
    """A trace id, and the header of a proxy that has begun the trace."""
    trace_id = os.urandom(16).hex()
    return trace_id, f"00-{trace_id}-00f067aa0ba902b7-01"


def span(collector: Collector, what: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Waits for the one span that is wanted."""
    found: dict[str, Any] = until(lambda: collector.find(wanted), f"the span {what}")
    return found


def in_trace(collector: Collector, trace_id: str, name: str, kind: Kind | None = None) -> dict[str, Any]:
    """The span of that name, of any kind if none is given."""

    def wanted(each: dict[str, Any]) -> bool:
        return each["traceId"] == trace_id and each["name"] == name and kind in (None, each["kind"])

    return span(collector, name, wanted)


def pair(collector: Collector, trace_id: str, parent: str, child: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Waits for a span with one below it, by their names."""

    def found() -> tuple[dict[str, Any], dict[str, Any]] | None:
        spans = [each for each in collector.spans if each["traceId"] == trace_id]
        parents = {each["spanId"]: each for each in spans if each["name"] == parent}
        pairs = ((parents[each["parentSpanId"]], each) for each in spans if each.get("parentSpanId") in parents)
        return next((each for each in pairs if each[1]["name"] == child), None)

    both: tuple[dict[str, Any], dict[str, Any]] = until(found, f"the span {child} below {parent}")
    return both


def test_one_trace_leads_from_the_browser_to_the_owner_of_its_session(
    cluster: Cluster, lab: Lab, collector: Collector
) -> None:
    _, b = cluster.controllers
    terminal = lab.open(epoch=0, offset=0)
    terminal.vanish()
    trace_id, traceparent = new_trace()
    query = {**terminal.query, "reconnect_token": str(terminal.token), "token": lab.api.token, "epoch": 1, "offset": 0}
    headers = {"traceparent": traceparent, "tracestate": "vendor=of-the-proxy"}
    url = f"ws://127.0.0.1:{b.port}/ws/ssh?{urlencode(query)}"
    with connect(url, additional_headers=headers, max_size=None) as socket:
        assert socket.recv(timeout=30)
    received = in_trace(collector, trace_id, "GET /ws/ssh")
    hop = in_trace(collector, trace_id, "GET /peer/sessions/{id}/terminal")
    owned = in_trace(collector, trace_id, f"GET {PEER_ROUTE}")
    assert received["parentSpanId"] == "00f067aa0ba902b7"
    assert hop["parentSpanId"] == received["spanId"]
    assert owned["parentSpanId"] == hop["spanId"]
    assert (received["kind"], hop["kind"], owned["kind"]) == (2, 3, 2)
    assert received["instance"] == hop["instance"] != owned["instance"]
    assert hop["attributes"]["netstacks.peer_id"] == owned["instance"]
    assert {each["attributes"]["http.response.status_code"] for each in (received, hop, owned)} == {"101"}
    assert {each["traceState"] for each in (received, hop, owned)} == {"vendor=of-the-proxy"}
    assert collector.heads[0]["x-key"] == COLLECTOR_KEY


def test_the_opening_of_a_terminal_is_traced_down_to_the_log_in(lab: Lab, collector: Collector) -> None:
    terminal = lab.open(epoch=0, offset=0)
    session_id = terminal.info["session_id"]
    opening = span(
        collector,
        "terminal.open",
        lambda each: each["name"] == "terminal.open" and each["attributes"].get("netstacks.session_id") == session_id,
    )
    login = in_trace(collector, opening["traceId"], "ssh.login")
    connecting = in_trace(collector, opening["traceId"], "device.connect")
    upgrade = in_trace(collector, opening["traceId"], "GET /ws/ssh")
    assert opening["parentSpanId"] == upgrade["spanId"]
    assert "parentSpanId" not in upgrade
    assert login["parentSpanId"] == connecting["parentSpanId"] == opening["spanId"]
    assert int(connecting["endTimeUnixNano"]) <= int(login["startTimeUnixNano"])
    # The upgrade ends at once, however long the terminal lasts.
    assert int(upgrade["endTimeUnixNano"]) <= int(opening["endTimeUnixNano"])
    terminal.leave()


def test_a_call_to_a_provider_is_part_of_the_question_s_trace(lab: Lab, collector: Collector) -> None:
    with ScriptedProvider() as provider:
        provider.always(answer("pong"))
        ai.add_provider(lab.api, provider)
        ai.known_to([lab.api], "first")
        trace_id, traceparent = new_trace()
        for path in ("/api/ai/agent-chat", "/api/ai/agent-chat-stream"):
            answered = requests.post(
                lab.api.controller.url + path,
                json=ai.conversation(QUESTION),
                headers={
                    "Authorization": f"Bearer {lab.api.token}",
                    "traceparent": traceparent,
                    "tracestate": "vendor=of-the-proxy",
                },
                timeout=30,
            )
            assert answered.status_code == 200, answered.text
            assert "end_turn" in answered.text
        sent = [each.headers for each in ai.questions(provider)]
    ai.remove_providers(lab.api)
    assert [each["traceparent"][:35] for each in sent] == [f"00-{trace_id}"] * 2
    assert not any("tracestate" in each for each in sent)
    for number, route in enumerate(("/api/ai/agent-chat", "/api/ai/agent-chat-stream")):
        request = in_trace(collector, trace_id, f"POST {route}")
        call = span(collector, "chat", lambda each, parent=request: each.get("parentSpanId") == parent["spanId"])
        assert sent[number]["traceparent"] == f"00-{trace_id}-{call['spanId']}-01"
        assert (call["name"], call["attributes"]["gen_ai.request.model"]) == (f"chat {ai.MODEL}", ai.MODEL)
        assert int(call["attributes"]["gen_ai.usage.output_tokens"]) > 0
        # A stream's span ends with the stream, not with its head.
        assert int(request["endTimeUnixNano"]) >= int(call["endTimeUnixNano"])


def test_the_log_of_a_request_has_the_trace_of_its_caller(cluster: Cluster, lab: Lab, collector: Collector) -> None:
    trace_id, traceparent = new_trace()
    answered = requests.get(
        f"{lab.api.controller.url}/api/sessions/00000000-0000-4000-8000-000000000000?token=a-secret-query",
        headers={"Authorization": f"Bearer {lab.api.token}", "traceparent": traceparent},
        timeout=30,
    )
    request_id = answered.headers["X-Request-Id"]
    request = span(collector, "request", lambda each: each["traceId"] == trace_id)
    assert request["attributes"]["netstacks.request_id"] == request_id
    assert request["attributes"]["http.response.status_code"] == str(answered.status_code)
    post = requests.post(
        f"{lab.api.controller.url}/api/devices",
        json={"name": ""},
        headers={"Authorization": f"Bearer {lab.api.token}", "traceparent": traceparent},
        timeout=30,
    )
    assert post.status_code == 422

    def lines() -> list[str]:
        return [line for line in cluster.controllers[0].log().splitlines() if post.headers["X-Request-Id"] in line]

    until(lines, "the line of the request")
    assert all(f'"trace_id": "{trace_id}"' in line for line in lines())


def test_an_invalid_trace_of_a_client_is_replaced(lab: Lab, collector: Collector) -> None:
    answered = requests.get(
        f"{lab.api.controller.url}/api/nothing",
        headers={"traceparent": "00-zz-secret-of-a-client-01", "tracestate": "vendor=secret-of-a-client"},
        timeout=30,
    )
    request_id = answered.headers["X-Request-Id"]
    found = span(collector, "404", lambda each: each["attributes"].get("netstacks.request_id") == request_id)
    assert (found["name"], found["attributes"]["http.response.status_code"]) == ("GET", "404")
    assert "parentSpanId" not in found
    assert "traceState" not in found


def test_the_trace_of_a_stranger_ends_here(lab: Lab, collector: Collector) -> None:
    trace_id, traceparent = new_trace()
    answered = requests.get(
        f"{lab.api.controller.url}/api/nothing",
        # Not sampled: that must not hide the request.
        headers={"traceparent": f"{traceparent[:-2]}00", "tracestate": "vendor=of-a-stranger"},
        timeout=30,
    )
    request_id = answered.headers["X-Request-Id"]
    found = span(collector, "404", lambda each: each["attributes"].get("netstacks.request_id") == request_id)
    assert found["traceId"] != trace_id
    assert found["attributes"]["netstacks.remote_trace_id"] == trace_id
    assert "parentSpanId" not in found
    assert "traceState" not in found


def test_checks_between_instances_are_no_spans(lab: Lab, collector: Collector) -> None:
    routes = {each["attributes"].get("http.route") for each in collector.spans}
    assert "/ws/ssh" in routes
    assert "/peer/alive" not in routes


def test_a_wait_for_admission_and_a_hand_over_to_another_instance_are_traced(
    cluster: Cluster, lab: Lab, collector: Collector
) -> None:
    _, b = cluster.controllers
    trace_id, traceparent = new_trace()
    with ExitStack() as stack:
        for _ in range(CROWD):
            # Sessions that there never were: nothing is dialled for them.
            query = urlencode({"reconnect_token": uuid4(), "offset": 0, "epoch": 1, "token": lab.api.token})
            socket = stack.enter_context(create_connection(("127.0.0.1", b.port)))
            socket.sendall(
                f"GET /ws/ssh?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                f"traceparent: {traceparent}\r\n\r\n".encode()
            )
        in_trace(collector, trace_id, "admission.wait")
        # The request at the peer has the same name.
        in_trace(collector, trace_id, "GET /peer/terminals", Kind.CLIENT)
    # Of so many some may be left out, or find no room at the peer.
    waiting, wait = pair(collector, trace_id, "GET /ws/ssh", "admission.wait")
    # The wait is a part of the request.
    assert waiting["startTimeUnixNano"] == wait["startTimeUnixNano"]
    hop, taken = pair(collector, trace_id, "GET /peer/terminals", "GET /peer/terminals")
    handed = span(collector, "the request that is handed on", lambda each: each["spanId"] == hop["parentSpanId"])
    assert (handed["name"], handed["parentSpanId"]) == ("GET /ws/ssh", "00f067aa0ba902b7")
    assert taken["attributes"]["http.route"] == "/peer/terminals"
    assert taken["instance"] != handed["instance"]


def test_a_claim_is_traced_with_the_new_log_in(cluster: Cluster, lab: Lab, collector: Collector) -> None:
    a, b = cluster.controllers
    terminal = lab.open(epoch=0, offset=0)
    a.kill()
    terminal.closed()
    try:
        again = come_back(terminal, b, epoch=1, offset=0)
        session_id = again.info["session_id"]
        assert session_id == terminal.info["session_id"]
        reopening = span(
            collector,
            "terminal.reopen",
            lambda each: each["name"] == "terminal.reopen" and each["attributes"]["netstacks.session_id"] == session_id,
        )
        claim = in_trace(collector, reopening["traceId"], "session.claim")
        login = in_trace(collector, reopening["traceId"], "ssh.login")
        assert claim["attributes"] == {"netstacks.session_id": session_id, "netstacks.claimed": True}
        assert login["parentSpanId"] == reopening["spanId"]
        again.leave()
    finally:
        a.launch().started()
        cluster.gathered(2)


def test_nothing_secret_was_sent_to_the_collector(lab: Lab, collector: Collector, sshd: Sshd) -> None:
    sent = b"".join(collector.bodies)
    # The search finds what is there.
    assert b"terminal.open" in sent
    key = "".join(sshd.private_key.splitlines()[1:-1])
    secrets = [
        lab.api.token,
        lab.api.refresh_token,
        ADMIN[1],
        JWT_SECRET,
        MASTER_KEY,
        COLLECTOR_KEY,
        "sk-of-the-tests",
        key[40:80],
        QUESTION,
        "pong",
        "a-secret-query",
        "secret-of-a-client",
        "reconnect_token",
        "token=",
        "eyJ",
        lab.device["name"],
        sshd.user,
    ]
    for secret in secrets:
        assert secret.encode() not in sent, secret
        assert base64.b64encode(secret.encode()).rstrip(b"=")[:-1] not in sent, secret


def _freeze(collector: Collector) -> None:
    collector.hold.set()


def _refuse(collector: Collector) -> None:
    collector.statuses = [(429, {"Retry-After": "3600"})] * 1000


def _remove(collector: Collector) -> None:
    collector.__exit__()


@pytest.mark.parametrize("fault", [_freeze, _refuse, _remove])
def test_a_broken_collector_delays_no_terminal_and_no_drain(
    postgres: Postgres, sshd: Sshd, fault: Callable[[Collector], None]
) -> None:
    with Collector() as collector:
        controller = Controller(postgres.create_database(), OTLP_ENDPOINT=collector.url).start()
        try:
            fault(collector)
            lab = make_lab(controller.login(), sshd)
            if fault is not _remove:
                until(lambda: collector.bodies, "the first batch")
            terminal = lab.open(epoch=0, offset=0)
            terminal.type("echo li''ving\r")
            terminal.expect("living")
            for _ in range(50):
                assert lab.api.get("/api/sessions")
            assert controller.health()["status"] == "healthy"
            controller.terminate()
            assert controller.process is not None
            # gunicorn kills a worker whose drain takes 5 s longer than DRAIN_TIMEOUT_SECS: it would not log this.
            assert controller.process.wait(60) == 0
            assert "instance.drained" in controller.log()
            assert ("traces.not_flushed" if fault is _freeze else "traces.lost") in controller.log()
            assert terminal.closed()[0] == 1012
        finally:
            controller.stop()
            with suppress(OSError):
                collector.hold.clear()


def test_without_a_collector_a_trace_still_goes_through(postgres: Postgres) -> None:
    controller = Controller(postgres.create_database(), LOG_FORMAT="json").start()
    try:
        api = controller.login()
        with ScriptedProvider() as provider:
            ai.add_provider(api, provider)
            ai.known_to([api], "first")
            trace_id, traceparent = new_trace()
            headers = {"Authorization": f"Bearer {api.token}", "traceparent": traceparent}
            url = f"{controller.url}/api/ai/agent-chat"
            assert requests.post(url, json=ai.conversation(), headers=headers, timeout=30).status_code == 200
            # Unchanged: a span of this instance, which nobody records, would leave a hole in the trace.
            assert [each.headers["traceparent"] for each in ai.questions(provider)] == [traceparent]
        refused = requests.post(f"{controller.url}/api/devices", json={"name": ""}, headers=headers, timeout=30)
        assert refused.status_code == 422
        until(lambda: f'"trace_id": "{trace_id}"' in controller.log(), "the line of the request")
    finally:
        controller.stop()


def test_a_wrong_endpoint_is_refused_at_the_start(postgres: Postgres) -> None:
    controller = Controller(postgres.create_database(), OTLP_ENDPOINT="collector:4317").launch()
    try:
        assert controller.process is not None
        assert controller.process.wait(60) == 2
        assert "OTLP_ENDPOINT='collector:4317': must be a URL such as http://collector:4318" in controller.log()
    finally:
        controller.stop()
