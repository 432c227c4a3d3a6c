"""OTLP over HTTP with JSON: the settings of the collector, the encoding of spans, and the collector's answer.

The encoding is that of the OpenTelemetry Protocol: ids are hexadecimal, 64-bit integers are strings, enumerations are
numbers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from netstacks import __version__, urls
from netstacks.errors import InvalidInput
from netstacks.tracing.spans import Span, Value

PATH = "/v1/traces"
_SCOPE = {"name": "netstacks", "version": __version__}
_STATUS_ERROR = 2
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
# Made once: making an encoder costs a third of encoding a span.
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def parse_endpoint(text: str) -> str:
    """The URL for traces of the collector with this base URL. Raises InvalidInput."""
    url = urls.parse(text, ("http", "https"), "http://collector:4318", ())
    if url.username is not None:
        raise InvalidInput("has a user: the credentials for the collector belong in OTLP_HEADERS")
    if len(url.hosts) != 1 or not url.hosts[0][0] or "%2F" in text.upper():
        raise InvalidInput("must have one host, such as http://collector:4318")
    if text.endswith("?"):
        raise InvalidInput("must not end with '?'")
    base = text.rstrip("/")
    if base.endswith(PATH):
        raise InvalidInput(f"must be the base URL without {PATH}, which is added to it")
    return base + PATH


def parse_headers(text: str) -> dict[str, str]:
    """Headers from `name=value,name=value`, values percent-encoded. Raises InvalidInput, without any value."""
    headers = {}
    for number, member in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        name, equals, value = member.partition("=")
        decoded = unquote(value.strip())
        if not equals or not _NAME.fullmatch(name.strip()) or not _VALUE.fullmatch(decoded):
            raise InvalidInput(
                f"has no valid header as its part {number}: must be name=value, several separated by commas, a comma or"
                " an unusual character in a value percent-encoded, as in authorization=Bearer%20abc"
            )
        headers[name.strip()] = decoded
    return headers


def encode_span(span: Span) -> str:
    """The JSON of one span."""
    own = span.context
    encoded: dict[str, Any] = {
        "traceId": own.trace_id,
        "spanId": own.span_id,
        "flags": own.flags,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _attributes(span.attributes),
    }
    if own.state:
        encoded["traceState"] = own.state
    if span.parent_id:
        encoded["parentSpanId"] = span.parent_id
    if span.is_failed:
        encoded["status"] = {"code": _STATUS_ERROR}
    return _to_json(encoded)


def encode_request(spans: Sequence[str], resource: Mapping[str, Value]) -> bytes:
    """The body of a request with the encoded spans of one instance, which `resource` describes."""
    attributes = _to_json(_attributes(resource))
    scope = _to_json(_SCOPE)
    return (
        f'{{"resourceSpans":[{{"resource":{{"attributes":{attributes}}},'
        f'"scopeSpans":[{{"scope":{scope},"spans":[{",".join(spans)}]}}]}}]}}'
    ).encode()


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    # Before int: a bool is an int in Python.
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}


def rejected_spans(answer: bytes) -> int:
    """How many spans the collector has rejected in an answer of success; 0 when the answer does not say."""
    try:
        return max(0, int(json.loads(answer)["partialSuccess"]["rejectedSpans"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
