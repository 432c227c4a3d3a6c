"""Traces: the W3C trace context of a request, the spans of the work for it, and their export with OTLP.

The context of the current work belongs to its greenlet. A spawned greenlet has none unless its function is `carried`.
"""

from netstacks.tracing.context import TraceContext
from netstacks.tracing.spans import Kind, Span, begin, begin_request, carried, current, export_to

__all__ = ["Kind", "Span", "TraceContext", "begin", "begin_request", "carried", "current", "export_to"]
