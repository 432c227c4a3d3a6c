"""The trace context of a request: the headers `traceparent` and `tracestate` (W3C Trace Context)."""

import os
import re
from dataclasses import dataclass

SAMPLED = 0x01
_RANDOM = 0x02
# Flags that are passed on; others have no meaning yet and are cleared.
_KNOWN_FLAGS = SAMPLED | _RANDOM

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.DOTALL,
)
_FORBIDDEN_VERSION = "ff"
_MEMBER = re.compile(
    r"(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_MEMBERS = 32
# The specification requires the propagation of this many characters. A longer header is dropped.
_STATE_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The position of some work in a trace; ids are lower-case hexadecimal. `state` is the `tracestate`, unchanged."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self) -> "TraceContext":
        """The context of a new span in the same trace."""
        return TraceContext(self.trace_id, os.urandom(8).hex(), self.flags, self.state)

    @classmethod
    def new(cls, *, is_sampled: bool) -> "TraceContext":
        """The context of the first span of a new trace."""
        ids = os.urandom(24).hex()
        return cls(ids[:32], ids[32:], SAMPLED if is_sampled else 0)


def parse(traceparent: str | None, tracestate: str | None) -> TraceContext | None:
    """The context that a caller has sent; None when `traceparent` is absent or invalid.

    An invalid `tracestate` is dropped, and the trace continues without it.
    """
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or found["version"] == _FORBIDDEN_VERSION or (found["version"] == "00" and found["more"]):
        return None
    if not found["trace"].strip("0") or not found["span"].strip("0"):
        return None
    flags = int(found["flags"], 16) & _KNOWN_FLAGS
    return TraceContext(found["trace"], found["span"], flags, _valid_state(tracestate or ""))


def _valid_state(text: str) -> str:
    """`text` unchanged, or empty when it is not a list of at most 32 members."""
    if len(text) > _STATE_CHARACTERS:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    present = [member for member in members if member]
    is_valid = len(present) <= _MAX_MEMBERS and all(_MEMBER.fullmatch(member) for member in present)
    return text if present and is_valid else ""
