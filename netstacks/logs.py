"""Logging: one line per event, as text or JSON, with secrets removed, also from the messages of libraries."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from netstacks import tracing

# Tokens in URLs and headers, JWTs anywhere, passwords in connection URLs, whole private keys.
_SECRETS = re.compile(
    r"(?P<name>\b(?:token|reconnect_token|access_token|refresh_token|password|secret)=)[^&\s\"']+"
    r"|(?P<bearer>\bBearer\s+)[^\s\"']+"
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]+"
    r"|(?P<user>://[^:/@\s]*:)[^@\s/]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.IGNORECASE | re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SECRET_KEYS = {"password", "secret", "token", "private_key", "passphrase", "authorization", "cookie"}


def scrub(text: str) -> str:
    """Replaces text that looks like a secret by `***`."""
    return _SECRETS.sub(lambda match: (match["name"] or match["bearer"] or match["user"] or "") + "***", text)


def _scrub_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key in _SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, str):
            lines = scrub(value).split("\n") if key == "exception" else [scrub(value)]
            event[key] = "\n".join(map(_visible, lines))
    return event


def _visible(text: str) -> str:
    """Escapes control characters: a client's text must not start a new log line, nor control an operator's terminal."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Names the trace of the work that logs, so that the lines of all instances, and of a proxy, can be joined."""
    trace = tracing.current()
    if trace is not None:
        event.setdefault("trace_id", trace.trace_id)
    return event


def quieten() -> None:
    """For commands, which print results and raise errors: only unexpected errors are logged."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.disable(logging.WARNING)


def configure(log_format: str, **context: Any) -> None:
    """Configures structlog, and routes the standard library's logging through it; `context` is on every line."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _, __, event: {**context, **event},
        # Plain tracebacks: structlog's rich ones show local variables, including secrets.
        structlog.processors.format_exc_info,
        _scrub_event,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # Its warnings about failed connection attempts duplicate `database.fault` and the health status.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
