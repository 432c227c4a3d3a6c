"""`/api/sessions/<id>/summary`: a summary of a session by a language model, stored with the recording."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from typing_extensions import TypedDict

from netstacks.errors import NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.llm.assistant import Question
from netstacks.llm.conversation import ChatRequest, Finished, Message, Text, TextDelta
from netstacks.llm.failures import AllResting, CallCancelled, NoAnswer, NotConfigured, TooManyCalls
from netstacks.llm.outcomes import Answering, Hint, ProviderSwitch
from netstacks.store import access, audit, session_summaries
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.store.session_summaries import SessionSummary
from netstacks.terminal.excerpt import Excerpt, excerpt
from netstacks.web.api import ai, prompts, recordings
from netstacks.web.api.answer_events import AnswerPieces, event_stream
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import produces

blueprint = Blueprint("summaries", __name__)

# About 35,000 tokens, which fits the context of most models.
_MAX_BYTES = 128 * 1024

for _error in (NotConfigured, AllResting, TooManyCalls, NoAnswer, CallCancelled):
    blueprint.register_error_handler(_error, ai.refuse)


class SummaryJson(TypedDict):
    """The summary of a session by a language model."""

    session_id: Uuid
    text: str
    """In Markdown."""
    provider: str
    model: str
    created_at: Timestamp
    created_by: str
    covered_bytes: int
    """How much of the session's output it covers, from the beginning."""
    is_whole: bool
    """Whether the session has ended and the summary covers its whole recording."""


def as_json(summary: SessionSummary, recording: dict[str, Any]) -> SummaryJson:
    """A summary in the API. `is_whole`: the session has ended, and the summary covers its whole recording."""
    return {
        "session_id": str(summary.session_id),
        "text": summary.text,
        "provider": summary.provider,
        "model": summary.model,
        "created_at": summary.created_at.isoformat(),
        "created_by": summary.created_by,
        "covered_bytes": summary.covered_bytes,
        "is_whole": recording["state"] == "ended" and summary.covered_bytes >= recording["bytes"],
    }


@blueprint.get("/api/sessions/<uuid:session_id>/summary")
@guard.requires("recordings.view")
def show(session_id: UUID) -> SummaryJson:
    """The stored summary of a session."""
    with services().database.transaction() as tx:
        recording = recordings.find(tx, session_id)
        summary = session_summaries.get(tx, session_id)
    if summary is None:
        raise NotFound("This session has no summary.")
    return as_json(summary, recording)


@blueprint.post("/api/sessions/<uuid:session_id>/summary")
@guard.requires("recordings.view")
@ai.asks_model
@produces("text/event-stream")
def summarise(session_id: UUID) -> Response:
    """Server-sent events, like the assistant's answers. A complete summary is stored before the event `done`."""
    database = services().database
    with guard.transaction() as tx:
        recordings.find(tx, session_id)
    services().recorder.flush(1.0)
    began_at = datetime.now(UTC)
    shown = excerpt(database, session_id, _MAX_BYTES)
    if not shown.beginning.strip():
        raise NotFound("There is nothing in the recording of this session that could be summarised.")
    question = Question(_request(shown), ai.requester(), "summary", session_id, is_kept=True)
    pieces = services().llm.assistant.stream(question, Hint(), total_secs=ai.STREAM_SECS)
    actor = guard.actor()
    empty = SessionSummary(session_id, "", "", "", began_at, actor.name, shown.recorded_bytes)
    return event_stream(_storing(pieces, empty, database, actor))


def _request(shown: Excerpt) -> ChatRequest:
    """Beginning and end are separate texts, so that redaction recognises a private key that is cut off between them."""
    texts = [Text(shown.beginning, is_device_output=True)]
    if shown.left_out_bytes:
        texts.append(Text(f"[{shown.left_out_bytes} bytes left out]"))
    if shown.end:
        texts.append(Text(shown.end, is_device_output=True))
    return ChatRequest((Message("user", tuple(texts)),), system=prompts.SUMMARY)


def _storing(pieces: AnswerPieces, summary: SessionSummary, database: Database, actor: Actor) -> AnswerPieces:
    """Passes the pieces on, and stores the text of a complete answer."""
    with closing(pieces):
        for piece in pieces:
            match piece:
                case Answering(provider, model):
                    summary = replace(summary, provider=provider.name, model=model)
                case ProviderSwitch(provider=provider, model=model):
                    providers, models = f"{summary.provider}, {provider.name}", f"{summary.model}, {model}"
                    summary = replace(summary, provider=providers, model=models)
                case TextDelta(text):
                    summary = replace(summary, text=summary.text + text)
                case Finished("end_turn"):
                    _store(database, summary, actor)
            yield piece


def _store(database: Database, summary: SessionSummary, actor: Actor) -> None:
    details = {name: getattr(summary, name) for name in ("provider", "model", "covered_bytes")}
    with database.transaction() as tx:
        access.confirm(tx, actor, "recordings.view")
        session_summaries.put(tx, summary)
        audit.append(tx, actor, "recording.summarised", f"session:{summary.session_id}", **details)
