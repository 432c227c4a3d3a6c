"""What the page of a replay shows beside the recording itself."""

from datetime import datetime
from uuid import UUID

from flask import Blueprint

from netstacks.formats import Timestamp
from netstacks.store import session_summaries
from netstacks.store.setting_definitions import REPLAY_DOWNLOAD
from netstacks.web.api import recordings, summaries
from netstacks.web.api.recordings import RecordingJson
from netstacks.web.api.summaries import SummaryJson
from netstacks.web.auth import guard
from netstacks.web.context import services

blueprint = Blueprint("replays", __name__)


class Replay(RecordingJson):
    """A recording with its session and its summary."""

    host: str
    port: int
    end_reason: str | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    summary: SummaryJson | None
    may_download: bool
    """Whether the settings allow this user to download recordings."""
    may_summarise: bool
    """Whether a language model answers this user."""


@blueprint.get("/api/v1/recordings/<uuid:recording_id>")
@guard.requires("recordings.view")
def get_recording(recording_id: UUID) -> Replay:
    """A recording with its session and its summary, and whether the user may download and summarise it."""
    with services().database.transaction() as tx:
        row = recordings.find(tx, recording_id)
        summary = session_summaries.get(tx, recording_id)
    role = guard.identity().role
    return {
        **recordings.as_json(row),
        "host": row["host"],
        "port": row["port"],
        "end_reason": row["end_reason"],
        "started_at": _text(row["started_at"]),
        "ended_at": _text(row["ended_at"]),
        "summary": summaries.as_json(summary, row) if summary else None,
        "may_download": services().system_settings.get(REPLAY_DOWNLOAD).may_use(role),
        "may_summarise": bool(services().llm.assistant.providers(role)),
    }


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
