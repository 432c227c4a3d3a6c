"""Spans: what this instance does for a request, with its begin, its end and a few attributes.

A span has no text of a user or device, no path with ids and no query: those may contain secrets.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from enum import IntEnum
from typing import ParamSpec, Self, TypeVar
from uuid import UUID

from netstacks.tracing import context
from netstacks.tracing.context import TraceContext

Value = str | int | bool | UUID
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Kind(IntEnum):
    """The values of OTLP's SpanKind."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Span:
    """A recorded span, exported at its `end`. As a context manager it is the parent of the spans in its block.

    An exception that leaves the block marks the span as failed, by its class alone.
    """

    __slots__ = ("_token", "attributes", "began_ns", "context", "ended_ns", "is_failed", "kind", "name", "parent_id")

    is_recorded = True

    def __init__(self, name: str, kind: Kind, own: TraceContext, parent_id: str, began_ns: int | None = None) -> None:
        self.name = name
        self.kind = kind
        self.context = own
        self.parent_id = parent_id
        """The id of the parent span, empty for the first one of a trace."""
        self.attributes: dict[str, Value] = {}
        self.is_failed = False
        self.began_ns = began_ns or time.time_ns()
        self.ended_ns = 0
        """In nanoseconds since 1970, like `began_ns`; 0 before the end."""
        self._token: Token[TraceContext | None] | None = None

    @property
    def traceparent(self) -> str | None:
        """The header for a call that this span stands for; None for work that belongs to no trace."""
        return self.context.traceparent

    def rename(self, name: str) -> None:
        self.name = name

    def set(self, name: str, value: Value) -> None:
        self.attributes[name] = value

    def fail(self, error_type: str) -> None:
        """Marks the span as failed; `error_type` is one of few values: a class or a status."""
        self.is_failed = True
        self.attributes["error.type"] = error_type

    def end(self) -> None:
        """Ends and exports the span; idempotent."""
        if not self.ended_ns:
            # The clock may have been set back.
            self.ended_ns = max(self.began_ns, time.time_ns())
            _sink(self)

    def __enter__(self) -> Self:
        self._token = _current.set(self.context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        if self._token is not None:
            _current.reset(self._token)
            self._token = None
        self.end()


class _Unrecorded(Span):
    """Stands for every span that is not recorded, so that callers need no check and nothing is allocated."""

    __slots__ = ()

    is_recorded = False

    @property
    def traceparent(self) -> str | None:
        parent = _current.get()
        return parent.traceparent if parent is not None else None

    def rename(self, name: str) -> None:
        pass

    def set(self, name: str, value: Value) -> None:
        pass

    def fail(self, error_type: str) -> None:
        pass

    def end(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        pass


def _drop(span: Span) -> None:
    """The sink of a process that exports nothing."""


_current: ContextVar[TraceContext | None] = ContextVar("netstacks_trace", default=None)
_sink: Callable[[Span], None] = _drop
_UNRECORDED = _Unrecorded("", Kind.INTERNAL, TraceContext("", "", 0), "")


def export_to(sink: Callable[[Span], None] | None) -> None:
    """Records spans from now on, and passes each to `sink` at its end, which must not wait. None ends the recording."""
    global _sink
    _sink = sink or _drop


def current() -> TraceContext | None:
    """The context of the work of this greenlet; None for background work that no request has caused."""
    return _current.get()


def begin_request(
    traceparent: str | None,
    tracestate: str | None,
    *,
    is_trusted: bool = True,
    may_begin_trace: bool = True,
    began_ns: int | None = None,
) -> Span:
    """Makes the caller's trace, or else a new one, the current one of this greenlet, and begins the server's span.

    A trusted caller decides whether its trace is recorded. The trace of another one ends here: it is only named by an
    attribute. A new trace is recorded if `may_begin_trace`. `began_ns` is when the request began, in nanoseconds since
    1970; now unless given.
    """
    sent = context.parse(traceparent, tracestate)
    parent = sent if is_trusted else None
    is_recorded = _sink is not _drop and (parent.is_sampled if parent is not None else may_begin_trace)
    if not is_recorded:
        # The caller's span stays the parent of later ones: an unrecorded span in between would leave a hole.
        _current.set(parent or TraceContext.new(is_sampled=False))
        return _UNRECORDED
    own = parent.child() if parent else TraceContext.new(is_sampled=True)
    _current.set(own)
    span = Span("", Kind.SERVER, own, parent.span_id if parent else "", began_ns)
    if sent is not None and parent is None:
        span.set("netstacks.remote_trace_id", sent.trace_id)
    return span


def begin(name: str, kind: Kind = Kind.INTERNAL, *, began_ns: int | None = None) -> Span:
    """Begins a span of the current trace; one that is not recorded without a current trace."""
    parent = _current.get()
    if parent is None or not parent.is_sampled or _sink is _drop:
        return _UNRECORDED
    return Span(name, kind, parent.child(), parent.span_id, began_ns)


def carried(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function` for a new greenlet, where it continues the current trace of the caller."""
    parent = _current.get()

    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        _current.set(parent)
        return function(*args, **kwargs)

    return run
