"""The AI endpoints of the Terminal client (docs/protocol.md, 10), and the assistant of our own terminal page."""

import hashlib
import math
from collections.abc import Callable
from typing import Any
from uuid import UUID

import flask
import structlog
from flask import Blueprint, Response, jsonify
from typing_extensions import TypedDict

from netstacks.errors import InvalidInput, NetstacksError, NotFound
from netstacks.llm.answer import Answer
from netstacks.llm.assistant import Question, Requester
from netstacks.llm.conversation import (
    ChatRequest,
    StopReason,
    Text,
)
from netstacks.llm.failures import AllResting, CallCancelled, Incomplete, NoAnswer, NotConfigured, TooManyCalls
from netstacks.llm.outcomes import Hint
from netstacks.llm.provider import ProviderType
from netstacks.store import sessions
from netstacks.web.api import prompts
from netstacks.web.api.answer_events import Origin, UsageJson, event_stream, origin, usage
from netstacks.web.api.conversations import AgentChat, Ask, Chat, Highlights, Script, chat_request, single_question
from netstacks.web.api.findings import HighlightJson, ScriptJson, found_script, found_values, placed_highlights
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, produces, takes_body
from netstacks.web.http.hang_up import has_hung_up

blueprint = Blueprint("ai", __name__)
log = structlog.get_logger()

# The client's own timeout is 30 s.
_ANSWER_SECS = 28.0
# Less than the timeout of the load balancers, 130 s (deploy/).
STREAM_SECS = 120.0


class OfferedProvider(TypedDict):
    type: ProviderType
    name: str
    is_default: bool


class AiStatus(TypedDict):
    configured: bool
    """Whether the user may ask language models."""
    providers: list[OfferedProvider]


class ToolUseJson(TypedDict):
    """A call of a tool that the model asks for."""

    id: str
    name: str
    input: dict[str, Any]


class AgentAnswer(Origin):
    """One answer of a model in a conversation with tools."""

    text: str | None
    tool_use: list[ToolUseJson]
    stop_reason: StopReason
    usage: UsageJson


class ChatAnswer(TypedDict):
    response: str


class HighlightAnswer(TypedDict):
    highlights: list[HighlightJson]


@blueprint.errorhandler(NotConfigured)
@blueprint.errorhandler(AllResting)
@blueprint.errorhandler(TooManyCalls)
@blueprint.errorhandler(NoAnswer)
@blueprint.errorhandler(CallCancelled)
@blueprint.errorhandler(Incomplete)
@blueprint.errorhandler(InvalidInput)
def refuse(error: NetstacksError) -> Response:
    """Maps an error to status and `code`. The client shows the text; the code tells it whether AI is configured."""
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


# Decorates the views whose answer comes from a language model.
asks_model = answers(429, 499, 502, 504)


@blueprint.get("/api/ai/status")
@guard.requires()
@answers(400)  # NUL in the query, as `refuse` answers it.
def status() -> AiStatus:
    """The providers for the client's picker; none where AI is switched off."""
    providers = services().llm.assistant.providers(guard.identity().role)
    return {
        "configured": bool(providers),
        "providers": [
            {"type": each.type, "name": each.name, "is_default": number == 0} for number, each in enumerate(providers)
        ],
    }


@blueprint.post("/api/ai/agent-chat")
@guard.requires()
@takes_body(AgentChat)
@asks_model
def agent_chat(body: AgentChat) -> AgentAnswer:
    """One answer of the model in a conversation with tools."""
    answer = _complete(body.request(), body.hint(), "agent-chat")
    return {
        "text": answer.text or None,
        "tool_use": [{"id": each.id, "name": each.name, "input": dict(each.input)} for each in answer.tool_uses],
        "stop_reason": answer.stop_reason,
        "usage": usage(answer.usage),
        **origin(answer.provider, answer.model, answer.skipped),
    }


@blueprint.post("/api/ai/agent-chat-stream")
@guard.requires()
@takes_body(AgentChat)
@asks_model
@produces("text/event-stream")
def agent_chat_stream(body: AgentChat) -> Response:
    """Server-sent events. A failure before the first piece of an answer is an HTTP error."""
    return stream(body.request(), body.hint(), "agent-chat-stream")


@blueprint.post("/api/ai/chat")
@guard.requires()
@takes_body(Chat)
@asks_model
def chat(body: Chat) -> ChatAnswer:
    """One answer of the model in a conversation."""
    return {"response": _complete(chat_request(body, prompts.CHAT), body.hint(), "chat").text}


@blueprint.post("/api/ai/generate-script")
@guard.requires()
@takes_body(Script)
@asks_model
def generate_script(body: Script) -> ScriptJson:
    """A script, written by the model."""
    script: ScriptJson = _find(
        single_question(prompts.SCRIPT, Text(body.prompt)), body.hint(), "generate-script", found_script
    )
    return script


@blueprint.post("/api/ai/analyze-highlights")
@guard.requires()
@takes_body(Highlights)
@asks_model
def analyze_highlights(body: Highlights) -> HighlightAnswer:
    """The client sends three requests per burst of output, each with its whole buffer; hence the cache."""
    key = hashlib.sha256(f"{body.mode}\0{body.cli_flavor}\0{body.output}".encode("utf-8", "replace")).digest()
    # Per user: text that is redacted for one user may appear in the answer for another.
    cached, cache_key = services().highlights, (guard.identity().user_id, key)
    highlights = cached.get(cache_key) if services().llm.assistant.providers(guard.identity().role) else None
    if highlights is None:
        output = Text(body.output, is_device_output=True)
        request = single_question(prompts.highlights(body.mode, body.cli_flavor), output, max_tokens=1024)
        values = _find(request, body.hint(), "analyze-highlights", found_values, is_background=True)
        highlights = placed_highlights(body.output, values)
        cached[cache_key] = highlights
    return {"highlights": highlights}


@blueprint.post("/api/v1/ai/ask")
@guard.requires()
@takes_body(Ask)
@asks_model
@produces("text/event-stream")
def ask(body: Ask) -> Response:
    """The assistant of our own terminal page: a question about the screen, answered as a stream."""
    if body.session_id is not None:
        _check_session(body.session_id)
    return stream(body.request(prompts.ASSISTANT), Hint(), "assistant", body.session_id)


def stream(request: ChatRequest, hint: Hint, purpose: str, session_id: UUID | None = None) -> Response:
    """The assistant's answer as server-sent events."""
    question = Question(request, requester(), purpose, session_id)
    return event_stream(services().llm.assistant.stream(question, hint, total_secs=STREAM_SECS))


def _complete(request: ChatRequest, hint: Hint, purpose: str) -> Answer:
    environ = flask.request.environ
    return services().llm.assistant.complete(
        Question(request, requester(), purpose),
        hint,
        total_secs=_ANSWER_SECS,
        is_wanted=lambda: not has_hung_up(environ),
    )


def _find(
    request: ChatRequest, hint: Hint, purpose: str, finder: Callable[[str], Any], *, is_background: bool = False
) -> Any:
    environ = flask.request.environ
    return services().llm.assistant.find(
        Question(request, requester(), purpose, is_background=is_background),
        hint,
        finder,
        total_secs=_ANSWER_SECS,
        is_wanted=lambda: not has_hung_up(environ),
    )


def _check_session(session_id: UUID) -> None:
    """Raises NotFound unless the session belongs to the user: the audit row of the question names it."""
    with services().database.transaction() as tx:
        row = sessions.find(tx, session_id)
    if row is None or row.user_id != guard.identity().user_id:
        raise NotFound("You have no such session.")


def requester() -> Requester:
    """The user of this request."""
    identity = guard.identity()
    return Requester(identity.user_id, identity.username, identity.role, flask.request.remote_addr)
