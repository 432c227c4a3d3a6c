"""Traces: the rules of the W3C headers, what is recorded, its encoding, and a collector that fails in every way."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks import greenlets, tracing
from netstacks.errors import InvalidInput
from netstacks.settings import SettingsError, load
from netstacks.tracing import context, exporter, otlp, spans
from netstacks.tracing.context import TraceContext
from netstacks.tracing.exporter import BATCH, MAX_WAITING, Exporter
from netstacks.tracing.spans import Kind, Span
from tests.otlp_collector import Collector, checked
from tests.patched import patched
from tests.test_settings import REQUIRED
from tests.waits import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
SESSION = UUID("0b6f1f3e-0000-4000-8000-000000000001")


@pytest.fixture
def recorded() -> Iterator[list[Span]]:
    """The spans that end during the test."""
    found: list[Span] = []
    tracing.export_to(found.append)
    spans._current.set(None)
    yield found
    tracing.export_to(None)
    spans._current.set(None)


# The headers.


@pytest.mark.parametrize(
    "header",
    [
        PARENT,
        f"00-{TRACE}-{SPAN}-00",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what the future will be like",
        f"cc-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-ff",
    ],
)
def test_a_valid_parent_is_continued(header: str) -> None:
    found = context.parse(header, None)
    assert found is not None
    assert (found.trace_id, found.span_id) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n",
        f" {PARENT}",
        f"{PARENT},{PARENT}",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_an_invalid_parent_is_ignored(header: str) -> None:
    assert context.parse(header, "vendor=1") is None


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.?", fullmatch=True), st.text())
def test_any_header_is_either_ignored_or_sent_on_in_a_valid_form(traceparent: str, tracestate: str) -> None:
    found = context.parse(traceparent, tracestate)
    if found is not None:
        assert found.trace_id == traceparent[3:35]
        assert context.parse(found.traceparent, found.state) == found
        assert len(found.traceparent) == 55
        assert found.state in ("", tracestate)
        assert re.fullmatch(r"[\t\x20-\x7e]*", found.state)


@pytest.mark.parametrize(
    "state",
    [
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        "rojo=1 , congo=2",
        "rojo=1,,congo=2",
        "fw529a3039@dt=FfeLpqtW:;!",
        "1tenant@system=1",
        ",".join(f"k{number}=v" for number in range(32)),
    ],
)
def test_a_valid_state_is_kept_unchanged(state: str) -> None:
    found = context.parse(PARENT, state)
    assert found is not None
    assert found.state == state
    assert found.child().state == state


@pytest.mark.parametrize(
    "state",
    [
        "rojo",
        "rojo=",
        "Rojo=1",
        "rojo=a=b",
        "rojo=1\r\nX-Forged: 1",
        "rojo=\N{SNOWMAN}",
        "@system=1",
        ",".join(f"k{number}=v" for number in range(33)),
        f"rojo={'v' * 600}",
    ],
)
def test_an_invalid_state_is_dropped_and_the_trace_goes_on(state: str) -> None:
    found = context.parse(PARENT, state)
    assert found is not None
    assert found.state == ""


def test_flags_without_a_meaning_are_cleared() -> None:
    found = context.parse(f"00-{TRACE}-{SPAN}-ff", None)
    assert found is not None
    assert found.traceparent.endswith("-03")


# What is recorded.


def test_a_request_continues_the_trace_of_its_caller(recorded: list[Span]) -> None:
    request = tracing.begin_request(PARENT, "rojo=1")
    with tracing.begin("terminal.open") as opening, tracing.begin("ssh.login") as login:
        assert tracing.current() == login.context
    assert tracing.current() == request.context
    request.end()
    assert recorded == [login, opening, request]
    assert [each.context.trace_id for each in recorded] == [TRACE] * 3
    assert (request.parent_id, opening.parent_id, login.parent_id) == (
        SPAN,
        request.context.span_id,
        opening.context.span_id,
    )
    assert login.context.state == "rojo=1"


def test_a_request_without_a_trace_begins_one(recorded: list[Span]) -> None:
    first, second = (tracing.begin_request(None, None) for _ in range(2))
    assert first.context.trace_id != second.context.trace_id
    assert first.context.is_sampled
    assert first.parent_id == ""


def test_the_caller_decides_that_nothing_is_recorded(recorded: list[Span]) -> None:
    request = tracing.begin_request(f"00-{TRACE}-{SPAN}-00", None)
    with tracing.begin("terminal.open") as span:
        span.set("netstacks.session_id", SESSION)
    request.end()
    assert recorded == []
    # The caller's span stays the parent of what others record.
    assert request.traceparent == f"00-{TRACE}-{SPAN}-00"


def test_the_trace_of_a_stranger_is_named_and_not_continued(recorded: list[Span]) -> None:
    for flags in ("00", "01"):
        request = tracing.begin_request(f"00-{TRACE}-{SPAN}-{flags}", "rojo=1", is_trusted=False)
        assert request.is_recorded
        assert request.context.trace_id != TRACE
        assert (request.parent_id, request.context.state) == ("", "")
        assert request.attributes == {"netstacks.remote_trace_id": TRACE}


def test_checks_between_instances_begin_no_trace(recorded: list[Span]) -> None:
    assert not tracing.begin_request(None, None, may_begin_trace=False).is_recorded
    assert not tracing.begin("", Kind.CLIENT).is_recorded
    assert tracing.begin_request(PARENT, None, may_begin_trace=False).is_recorded


def test_background_work_belongs_to_no_trace(recorded: list[Span]) -> None:
    span = tracing.begin("POST /peer/alive", Kind.CLIENT)
    span.end()
    assert (span.traceparent, recorded) == (None, [])


def test_without_a_collector_there_are_ids_and_no_spans() -> None:
    request = tracing.begin_request(None, None)
    try:
        assert not request.is_recorded
        assert request is tracing.begin("ssh.login")
        # Not sampled: a provider or a proxy must not record a trace that has no beginning.
        assert request.traceparent is not None
        assert request.traceparent.endswith("-00")
        assert tracing.begin_request(PARENT, None).traceparent == PARENT
    finally:
        spans._current.set(None)


def test_a_failed_span_has_the_class_of_the_error_and_not_its_text(recorded: list[Span]) -> None:
    request = tracing.begin_request(None, None)
    with pytest.raises(InvalidInput), tracing.begin("ssh.login"):
        raise InvalidInput("the password hunter2 is wrong")
    assert tracing.current() == request.context
    [span] = recorded
    assert span.is_failed
    assert "hunter2" not in otlp.encode_span(span)
    assert json.loads(otlp.encode_span(span))["status"] == {"code": 2}


def test_a_spawned_greenlet_continues_the_trace_only_when_carried(recorded: list[Span]) -> None:
    request = tracing.begin_request(None, None)
    found: list[TraceContext | None] = []
    greenlets.spawn("carried", tracing.carried(lambda: found.append(tracing.current()))).join()
    greenlets.spawn("alone", lambda: found.append(tracing.current())).join()
    assert found == [request.context, None]


def test_a_span_ends_once_and_not_before_it_began(recorded: list[Span]) -> None:
    span = tracing.begin_request(None, None, began_ns=2**62)
    span.end()
    span.end()
    assert [each.ended_ns for each in recorded] == [2**62]


# The encoding.


def encoded() -> bytes:
    span = Span("GET /api/devices", Kind.SERVER, TraceContext(TRACE, "b7ad6b7169203331", 1, "rojo=1"), SPAN, 2**60 + 1)
    span.ended_ns = 2**60 + 5
    span.set("http.response.status_code", 503)
    span.set("http.route", 'a "quoted" route \N{SNOWMAN}')
    span.set("netstacks.claimed", True)
    span.set("netstacks.session_id", SESSION)
    span.fail("503")
    return otlp.encode_request([otlp.encode_span(span)], {"service.name": "netstacks-controller"})


def test_the_encoding_is_what_the_generated_classes_of_otlp_read() -> None:
    [resource] = checked(encoded()).resource_spans
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [
        ("service.name", "netstacks-controller")
    ]
    [span] = resource.scope_spans[0].spans
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331", SPAN)
    assert (span.name, span.kind, span.flags, span.trace_state) == ("GET /api/devices", 2, 1, "rojo=1")
    # Beyond the integers that a double holds exactly.
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (2**60 + 1, 2**60 + 5)
    assert span.status.code == 2
    values = {each.key: each.value for each in span.attributes}
    assert values["http.response.status_code"].int_value == 503
    assert values["http.route"].string_value == 'a "quoted" route \N{SNOWMAN}'
    assert values["netstacks.claimed"].bool_value is True
    assert values["netstacks.session_id"].string_value == str(SESSION)


def test_integers_are_strings_and_ids_are_hexadecimal() -> None:
    [span] = json.loads(encoded())["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["startTimeUnixNano"]) == (TRACE, str(2**60 + 1))
    assert {"key": "http.response.status_code", "value": {"intValue": "503"}} in span["attributes"]


@pytest.mark.parametrize(
    ("answer", "rejected"),
    [
        (b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}', 3),
        (b'{"partialSuccess": {"rejectedSpans": 3}}', 3),
        (b'{"partialSuccess": {}}', 0),
        (b'{"partialSuccess": null}', 0),
        (b'{"partialSuccess": {"rejectedSpans": "many"}}', 0),
        (b"{}", 0),
        (b"[]", 0),
        (b"", 0),
        (b"\xff", 0),
        (b"[" * 100_000, 0),
    ],
)
def test_spans_that_the_collector_rejects_are_counted(answer: bytes, rejected: int) -> None:
    assert otlp.rejected_spans(answer) == rejected


# The settings.


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector.example/otlp/", "https://collector.example/otlp/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_the_path_of_traces_is_added_to_the_endpoint(text: str, url: str) -> None:
    assert otlp.parse_endpoint(text) == url


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("collector:4318", "must be a URL such as http://collector:4318"),
        ("grpc://collector:4317", "must be a URL"),
        ("http://", "must have one host"),
        ("http://a,b:4318", "must have one host"),
        ("http://collector:4318/v1/traces", "without /v1/traces"),
        ("http://collector:4318/v1/traces/", "without /v1/traces"),
        ("http://user:hunter2@collector", "OTLP_HEADERS"),
        ("http://collector?key=hunter2", "unknown parameter"),
        ("http://collector?", "must not end with '?'"),
        ("http://collector:port", "port"),
    ],
)
def test_a_wrong_endpoint_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told.replace("?", r"\?")) as caught:
        otlp.parse_endpoint(text)
    assert "hunter2" not in str(caught.value)


def test_headers_for_the_collector_are_decoded() -> None:
    headers = otlp.parse_headers("authorization=Bearer%20abc%2C, x-tenant = lab,")
    assert headers == {"authorization": "Bearer abc,", "x-tenant": "lab"}


@pytest.mark.parametrize("text", ["hunter2", "x y=hunter2", "x=hunter2%0d%0aForged: 1", "x=hunter2\N{SNOWMAN}"])
def test_wrong_headers_are_refused_without_their_values(text: str) -> None:
    with pytest.raises(InvalidInput, match="part 1: must be name=value") as caught:
        otlp.parse_headers(text)
    assert "hunter2" not in str(caught.value)


def test_wrong_settings_of_the_collector_are_refused_at_the_start_without_their_secrets() -> None:
    wrong = {"OTLP_ENDPOINT": "http://user:hunter2@collector:4318", "OTLP_HEADERS": "hunter2"}
    with pytest.raises(SettingsError) as caught:
        load(REQUIRED | wrong)
    lines = str(caught.value).splitlines()
    assert [line.split("=")[0] for line in lines] == ["OTLP_ENDPOINT", "OTLP_HEADERS"]
    assert "hunter2" not in str(caught.value)


# The exporter, in a process that is patched as a worker is.


class Lines(logging.Handler):
    """The exporter's log lines."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def warning(self, event: str, **members: Any) -> None:
        self.events.append({"event": event, **members})


def _export(collector: Collector, headers: str | None = None) -> tuple[Exporter, Lines]:
    """A running exporter that collects and pauses for moments only, and its log."""
    exporter._COLLECT_SECS, exporter._PAUSES_SECS = 0.01, (0.01, 0.02)
    exporter._TIMEOUT = httpx2.Timeout(60.0)
    lines = exporter.log = Lines()  # type: ignore[assignment]
    exporting = Exporter(collector.url, headers, "ctrl-1")
    exporting.start()
    return exporting, lines


def _put(exporting: Exporter, count: int) -> None:
    for number in range(count):
        span = Span(f"span {number}", Kind.INTERNAL, TraceContext.new(is_sampled=True), "")
        span.ended_ns = span.began_ns
        exporting.put(span)


@patched
def test_spans_arrive_in_batches_with_the_headers_of_the_setting() -> None:
    with Collector() as collector:
        exporting, _ = _export(collector, "authorization=Bearer%20abc")
        _put(exporting, BATCH + 100)
        until(lambda: len(collector.spans) == BATCH + 100, "the spans")
        assert [len(checked(each).resource_spans[0].scope_spans[0].spans) for each in collector.bodies] == [BATCH, 100]
        assert set(collector.paths) == {"/v1/traces"}
        assert collector.heads[0]["authorization"] == "Bearer abc"
        assert collector.heads[0]["content-type"] == "application/json"
        assert {each["instance"] for each in collector.spans} == {"ctrl-1"}


@patched
def test_a_batch_is_sent_again_while_the_collector_asks_for_it() -> None:
    with Collector() as collector:
        collector.statuses = [(503, {}), (429, {"Retry-After": "1"})]
        exporting, lines = _export(collector)
        _put(exporting, 3)
        until(lambda: len(collector.bodies) == 3, "the third attempt")
        assert len(set(collector.bodies)) == 1
        # A lower bound: a slow machine may only be later.
        assert collector.at[2] - collector.at[1] >= 1
        assert exporting.flush(30)
        assert lines.events == []


@patched
def test_batches_that_the_collector_refuses_for_good_are_reported_at_once_and_then_at_the_end() -> None:
    with Collector() as collector:
        collector.statuses = [(400, {})] * 2
        exporting, lines = _export(collector)
        _put(exporting, 3)
        until(lambda: len(collector.bodies) == 1, "the first batch")
        _put(exporting, 4)
        until(lambda: len(collector.bodies) == 2, "the second batch")
        assert exporting.flush(30)
        told = [(each["event"], each["spans"], each["reason"]) for each in lines.events]
        assert told == [("traces.lost", count, "the collector answered 400") for count in (3, 4)]


@patched
def test_rejected_spans_are_reported_and_not_sent_again() -> None:
    with Collector() as collector:
        collector.answer = b'{"partialSuccess": {"rejectedSpans": "2"}}'
        exporting, lines = _export(collector)
        _put(exporting, 5)
        until(lambda: lines.events, "the report")
        assert (lines.events[0]["spans"], len(collector.bodies)) == (2, 1)
        assert exporting.flush(30)


@patched
def test_a_collector_that_is_gone_costs_its_batch_after_the_last_attempt() -> None:
    with Collector() as collector:
        pass
    exporting, lines = _export(collector)
    _put(exporting, 3)
    until(lambda: lines.events, "the report")
    assert (lines.events[0]["spans"], len(exporting)) == (3, 0)
    assert "cannot be reached" in lines.events[0]["reason"]
    assert exporting.flush(30)


@patched
def test_a_frozen_collector_costs_a_bounded_queue_and_a_bounded_flush() -> None:
    with Collector() as collector:
        collector.hold.set()
        exporting, lines = _export(collector)
        _put(exporting, 10)
        until(lambda: collector.bodies, "the first batch")
        _put(exporting, 3 * MAX_WAITING)
        assert len(exporting) == MAX_WAITING
        assert not exporting.flush(0.1)
        collector.hold.clear()
        assert exporting.flush(30)
        assert len(collector.spans) == 10 + MAX_WAITING
        assert sum(each["spans"] for each in lines.events) == 2 * MAX_WAITING


@patched
def test_a_flush_ends_the_pause_before_an_attempt() -> None:
    with Collector() as collector:
        collector.statuses = [(503, {"Retry-After": "50"})]
        exporting, _ = _export(collector)
        _put(exporting, 3)
        until(lambda: collector.bodies, "the first attempt")
        assert exporting.flush(30)
        assert len(collector.bodies) == 2


@patched
def test_an_answer_without_an_end_is_left() -> None:
    with Collector() as collector:
        collector.answer = b" " * (4 * exporter._ANSWER_BYTES)
        exporting, lines = _export(collector)
        _put(exporting, 3)
        until(lambda: collector.bodies, "the first batch")
        _put(exporting, 3)
        until(lambda: len(collector.spans) == 6, "the second batch")
        assert exporting.flush(30)
        assert lines.events == []


def test_the_documentation_names_every_span() -> None:
    root = Path(__file__).parents[1]
    source = "".join(each.read_text() for each in (root / "netstacks").rglob("*.py"))
    names = set(re.findall(r'tracing\.begin\("([^"]+)"', source))
    assert {"terminal.open", "session.claim"} <= names
    documented = (root / "docs/operations.md").read_text()
    assert {name for name in names if f"`{name}`" not in documented} == set()
