"""What the Terminal client asks of a language model (AI contract 3 and 4); the page's assistant asks the same way."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any
from uuid import UUID

import flask
import structlog
from cachetools import TTLCache
from flask import Blueprint, Response, jsonify

from netstacks import greenlets
from netstacks.errors import AccessWithdrawn, InvalidInput, NetstacksError, NotFound
from netstacks.llm.answer import Answer
from netstacks.llm.assistant import Asker, Question
from netstacks.llm.conversation import (
    ChatRequest,
    Finished,
    Piece,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    Waiting,
)
from netstacks.llm.failures import AllResting, CallCancelled, Incomplete, NoAnswer, NotConfigured, TooManyCalls
from netstacks.llm.outcomes import Answering, Hint, Seam, Skipped
from netstacks.store import sessions
from netstacks.store.access import WITHDRAWN
from netstacks.web.api import prompts
from netstacks.web.api.conversations import AgentChat, Ask, Chat, Highlights, Script, chat_request, single_question
from netstacks.web.api.findings import found_script, found_values, placed_highlights
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.hang_up import hang_up, has_hung_up
from netstacks.web.http.inputs import parse

blueprint = Blueprint("ai", __name__)
log = structlog.get_logger()

Told = Generator[Answering | Seam | Piece]

# The client gives up after 30 s.
_ANSWER_SECS = 28.0
# The load balancers wait 130 s for the end of an answer.
STREAM_SECS = 120.0
# nginx and HAProxy, and what is between them and a browser, take a stream that is silent for longer as dead.
_KEEP_ALIVE_SECS = 10
# How often a stream looks whether its reader is still there.
_LOOK_SECS = 1.0
# How long the client may take to read one piece.
_SEND_SECS = 30.0

_highlights: TTLCache[tuple[UUID, bytes], list[dict[str, Any]]] = TTLCache(maxsize=500, ttl=300)


@blueprint.errorhandler(NotConfigured)
@blueprint.errorhandler(AllResting)
@blueprint.errorhandler(TooManyCalls)
@blueprint.errorhandler(NoAnswer)
@blueprint.errorhandler(CallCancelled)
@blueprint.errorhandler(Incomplete)
@blueprint.errorhandler(InvalidInput)
def refuse(error: NetstacksError) -> Response:
    """The client shows the sentence, and tells by the code whether AI is there at all."""
    status, code = 400, "BAD_REQUEST"
    headers = {}
    match error:
        case NotConfigured():
            status, code = 503, "NOT_CONFIGURED"
        case AllResting(retry_after_secs=secs):
            status, code = 503, "UNAVAILABLE"
            headers["Retry-After"] = f"{max(1, math.ceil(secs))}"
        case TooManyCalls(retry_after_secs=secs):
            status, code = 429, "RATE_LIMITED"
            headers["Retry-After"] = f"{max(1, math.ceil(secs))}"
        case NoAnswer(timed_out=timed_out):
            status, code = (504, "TIMEOUT") if timed_out else (502, "PROVIDER_ERROR")
        case Incomplete():
            status, code = 502, "PROVIDER_ERROR"
        case CallCancelled():
            status, code = 499, "CANCELLED"
    response = jsonify(error=str(error), code=code)
    response.status_code = status
    response.headers.update(headers)
    return response


@blueprint.get("/api/ai/status")
@guard.requires()
def status() -> dict[str, Any]:
    """What the client's picker lists; nothing where AI is switched off."""
    providers = services().llm.assistant.providers(guard.identity().role)
    return {
        "configured": bool(providers),
        "providers": [
            {"type": each.type, "name": each.name, "is_default": number == 0} for number, each in enumerate(providers)
        ],
    }


@blueprint.post("/api/ai/agent-chat")
@guard.requires()
def agent_chat() -> dict[str, Any]:
    body = parse(AgentChat)
    answer = _complete(body.request(), body.hint(), "agent-chat")
    return {
        "text": answer.text or None,
        "tool_use": [{"id": each.id, "name": each.name, "input": each.input} for each in answer.tool_uses],
        "stop_reason": answer.stop_reason,
        "usage": _usage(answer.usage),
        **_origin(answer.provider, answer.model, answer.skipped),
    }


@blueprint.post("/api/ai/agent-chat-stream")
@guard.requires()
def agent_chat_stream() -> Response:
    """Server-sent events. What fails before the first piece of an answer is refused by a status."""
    body = parse(AgentChat)
    return stream(body.request(), body.hint(), "agent-chat-stream")


@blueprint.post("/api/ai/chat")
@guard.requires()
def chat() -> dict[str, Any]:
    body = parse(Chat)
    return {"response": _complete(chat_request(body, prompts.CHAT), body.hint(), "chat").text}


@blueprint.post("/api/ai/generate-script")
@guard.requires()
def generate_script() -> dict[str, Any]:
    body = parse(Script)
    script: dict[str, Any] = _find(
        single_question(prompts.SCRIPT, Text(body.prompt)), body.hint(), "generate-script", found_script
    )
    return script


@blueprint.post("/api/ai/analyze-highlights")
@guard.requires()
def analyze_highlights() -> dict[str, Any]:
    """The client asks three times with every burst of output, each time with the whole buffer."""
    body = parse(Highlights)
    key = hashlib.sha256(f"{body.mode}\0{body.cli_flavor}\0{body.output}".encode("utf-8", "replace")).digest()
    # A user's answers only: what was redacted for one user may be in the answer for another.
    asked = (guard.identity().user_id, key)
    highlights = _highlights.get(asked) if services().llm.assistant.providers(guard.identity().role) else None
    if highlights is None:
        output = Text(body.output, is_device_output=True)
        request = single_question(prompts.highlights(body.mode, body.cli_flavor), output, max_tokens=1024)
        values = _find(request, body.hint(), "analyze-highlights", found_values, is_background=True)
        highlights = placed_highlights(body.output, values)
        _highlights[asked] = highlights
    return {"highlights": highlights}


@blueprint.post("/api/v1/ai/ask")
@guard.requires()
def ask() -> Response:
    """The assistant of our own terminal page: a question about what is on the screen, answered as a stream."""
    body = parse(Ask)
    if body.session_id is not None:
        _check_session(body.session_id)
    return stream(body.request(prompts.ASSISTANT), Hint(), "assistant", body.session_id)


def stream(request: ChatRequest, hint: Hint, purpose: str, session_id: UUID | None = None) -> Response:
    """What the assistant tells as server-sent events."""
    asked = Question(request, asker(), purpose, session_id)
    return as_events(services().llm.assistant.stream(asked, hint, total_secs=STREAM_SECS))


def as_events(told: Told) -> Response:
    """Server-sent events as the client's parser takes them: one line `data: JSON` for each piece.

    Raises what `told` raises before its first piece.
    """
    environ = flask.request.environ
    # The status goes out with the first event, so the first one that is no waiting decides it.
    first = next(told)
    while isinstance(first, Waiting):
        if has_hung_up(environ):
            told.close()
            raise CallCancelled("is no longer wanted")
        first = next(told)
    response = Response(_events(first, told, environ, guard.lasting()), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the pieces back.
    return response


def _events(
    first: Answering | Seam | Piece, told: Told, environ: dict[str, Any], may_go_on: Callable[[], bool]
) -> Iterator[str]:
    with closing(told):
        try:
            for data in _lines(chain([first], told), environ, may_go_on):
                # A client that takes nothing would hold the provider's connection, and a place of its user's.
                with greenlets.Timer(_SEND_SECS, lambda: hang_up(environ)):
                    yield data
        except NetstacksError as error:
            yield _line({"type": "error", "message": str(error)})
        except Exception:
            # The status is sent, and a stream without an end counts as a good one.
            log.exception("ai.stream_failed")
            yield _line({"type": "error", "message": "An unexpected error ended the answer. It is in the log."})


def _lines(
    pieces: Iterable[Answering | Seam | Piece], environ: dict[str, Any], may_go_on: Callable[[], bool]
) -> Iterator[str]:
    """Ends when the client has gone. Raises AccessWithdrawn."""
    sent_at = looked_at = time.monotonic()
    for piece in pieces:
        now = time.monotonic()
        if now - looked_at >= _LOOK_SECS:
            looked_at = now
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


def _as_events(piece: Answering | Seam | Piece) -> list[dict[str, Any]]:
    match piece:
        case Answering(provider, model, skipped):
            return [{"type": "provider", **_origin(provider.name, model, skipped)}]
        case Seam(before, why, provider, model):
            words = f"\n\n*[{before} {why}. {provider.name} continues.]*\n\n"
            seam = {"type": "provider", **_origin(provider.name, model, (Skipped(before, why),))}
            return [seam, {"type": "content_delta", "text": words}]
        case TextDelta(text):
            return [{"type": "content_delta", "text": text}]
        case ToolUseStart(id, name):
            return [{"type": "tool_use_start", "id": id, "name": name}]
        case ToolInputDelta(part):
            return [{"type": "tool_input_delta", "delta": part}]
        case ToolUseEnd():
            return [{"type": "tool_use_end"}]
        case Finished(stop_reason, usage):
            return [{"type": "done", "stop_reason": stop_reason, "usage": _usage(usage)}]
    return []


def _complete(request: ChatRequest, hint: Hint, purpose: str) -> Answer:
    environ = flask.request.environ
    return services().llm.assistant.complete(
        Question(request, asker(), purpose), hint, total_secs=_ANSWER_SECS, is_wanted=lambda: not has_hung_up(environ)
    )


def _find(
    request: ChatRequest, hint: Hint, purpose: str, finder: Callable[[str], Any], *, is_background: bool = False
) -> Any:
    environ = flask.request.environ
    return services().llm.assistant.find(
        Question(request, asker(), purpose, is_background=is_background),
        hint,
        finder,
        total_secs=_ANSWER_SECS,
        is_wanted=lambda: not has_hung_up(environ),
    )


def _check_session(session_id: UUID) -> None:
    """Raises NotFound unless the session is the user's own: the audit log is to name no other one."""
    with services().database.transaction() as tx:
        row = sessions.find(tx, session_id)
    if row is None or row.user_id != guard.identity().user_id:
        raise NotFound("there is no such session of yours")


def asker() -> Asker:
    """The user of this request."""
    identity = guard.identity()
    return Asker(identity.user_id, identity.username, identity.role, flask.request.remote_addr)


def _origin(provider: str, model: str, skipped: Iterable[Skipped]) -> dict[str, Any]:
    """Which provider answered, and which ones were skipped."""
    return {
        "provider": provider,
        "model": model,
        "skipped": [{"provider": each.provider, "reason": each.why} for each in skipped],
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
