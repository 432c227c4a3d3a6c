"""A model's answer as server-sent events, in the form that the Terminal client's parser accepts."""

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any

import flask
import structlog
from flask import Response
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.errors import AccessWithdrawn, NetstacksError
from netstacks.llm.conversation import (
    Finished,
    Piece,
    TextDelta,
    ToolInputDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    Waiting,
)
from netstacks.llm.failures import CallCancelled
from netstacks.llm.outcomes import Answering, ProviderSwitch, Skipped
from netstacks.store.access import WITHDRAWN
from netstacks.web.auth import guard
from netstacks.web.http.hang_up import hang_up, has_hung_up

log = structlog.get_logger()

AnswerPiece = Answering | ProviderSwitch | Piece
AnswerPieces = Generator[AnswerPiece]

# nginx, HAProxy and other proxies close a stream that is silent for longer.
_KEEP_ALIVE_SECS = 10
# The interval at which a stream checks that its client is connected and still has access.
_CHECK_SECS = 1.0
# The time that the client may take to read one piece.
_SEND_SECS = 30.0


def event_stream(pieces: AnswerPieces) -> Response:
    """A response with one event, a line `data: JSON`, per piece.

    Raises what `pieces` raises before its first piece: the HTTP status can still tell.
    """
    environ = flask.request.environ
    # The status is sent with the first event: the first piece that is not Waiting decides it.
    first = next(pieces)
    while isinstance(first, Waiting):
        if has_hung_up(environ):
            pieces.close()
            raise CallCancelled("is no longer wanted")
        first = next(pieces)
    response = Response(_events(first, pieces, environ, guard.lasting()), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # Else nginx buffers the pieces.
    return response


def _events(
    first: AnswerPiece, pieces: AnswerPieces, environ: dict[str, Any], may_go_on: Callable[[], bool]
) -> Iterator[str]:
    with closing(pieces):
        try:
            for data in _lines(chain([first], pieces), environ, may_go_on):
                # A client that does not read would hold the provider's connection, and one of its user's slots.
                with greenlets.Timer(_SEND_SECS, lambda: hang_up(environ)):
                    yield data
        except NetstacksError as error:
            yield _line({"type": "error", "message": str(error)})
        except Exception:
            # The status is sent already, and a client takes a stream without an end for a complete answer.
            log.exception("ai.stream_failed")
            yield _line({"type": "error", "message": "An unexpected error ended the answer. The log has the details."})


def _lines(pieces: Iterable[AnswerPiece], environ: dict[str, Any], may_go_on: Callable[[], bool]) -> Iterator[str]:
    """The lines to send; ends when the client has gone. Raises AccessWithdrawn."""
    sent_at = checked_at = time.monotonic()
    for piece in pieces:
        now = time.monotonic()
        if now - checked_at >= _CHECK_SECS:
            checked_at = now
            if has_hung_up(environ):
                return
            if not may_go_on():
                raise AccessWithdrawn(WITHDRAWN)
        if not isinstance(piece, Waiting):
            yield "".join(map(_line, _as_events(piece)))
        elif now - sent_at >= _KEEP_ALIVE_SECS:
            yield ": waiting for the provider\n\n"
        else:
            continue
        sent_at = time.monotonic()


def _line(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _as_events(piece: AnswerPiece) -> list[dict[str, Any]]:
    match piece:
        case Answering(provider, model, skipped):
            return [{"type": "provider", **origin(provider.name, model, skipped)}]
        case ProviderSwitch(before, why, provider, model):
            notice = f"\n\n*[{before} {why}. {provider.name} continues.]*\n\n"
            seam = {"type": "provider", **origin(provider.name, model, (Skipped(before, why),))}
            return [seam, {"type": "content_delta", "text": notice}]
        case TextDelta(text):
            return [{"type": "content_delta", "text": text}]
        case ToolUseStart(id, name):
            return [{"type": "tool_use_start", "id": id, "name": name}]
        case ToolInputDelta(part):
            return [{"type": "tool_input_delta", "delta": part}]
        case ToolUseEnd():
            return [{"type": "tool_use_end"}]
        case Finished(stop_reason, used):
            return [{"type": "done", "stop_reason": stop_reason, "usage": usage(used)}]
    return []


class SkippedJson(TypedDict):
    """A provider that was not called, or whose call failed."""

    provider: str
    reason: str


class Origin(TypedDict):
    """The provider and the model of an answer."""

    provider: str
    model: str
    skipped: list[SkippedJson]


class UsageJson(TypedDict):
    """The tokens of an answer, as the provider counts them."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


def origin(provider: str, model: str, skipped: Iterable[Skipped]) -> Origin:
    """The provider and model of an answer, and the providers that were skipped."""
    return {
        "provider": provider,
        "model": model,
        "skipped": [{"provider": each.provider, "reason": each.why} for each in skipped],
    }


def usage(used: Usage) -> UsageJson:
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "total_tokens": used.total_tokens,
    }
