"""The check of devices on demand: does each answer with an SSH greeting? No log-in, no secret."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from cachetools import TTLCache
from flask import Blueprint
from pydantic import BaseModel, Field
from typing_extensions import TypedDict
from werkzeug.exceptions import TooManyRequests

from netstacks.errors import NotFound
from netstacks.formats import Uuid
from netstacks.instance import device_check
from netstacks.instance.device_check import MAX_DEVICES, Answer
from netstacks.store import audit, device_contacts, device_lists
from netstacks.store.devices import Contact
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body

blueprint = Blueprint("device_check", __name__)

# The checks of a user at one instance. A controller must not be a port scanner.
_MAX_CHECKS, _WINDOW_SECS = 10, 60.0
_recent: TTLCache[UUID, list[datetime]] = TTLCache(1000, _WINDOW_SECS)


class CheckRequest(BaseModel):
    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_DEVICES)]


class CheckedJson(TypedDict):
    id: Uuid
    reachability: Contact
    software: str | None
    """What its SSH greeting names."""
    reason: str | None
    """Why it was not reached."""
    msecs: int
    """How long it took to answer."""


class Checked(TypedDict):
    items: list[CheckedJson]


@blueprint.post("/api/v1/devices/check")
@guard.requires("sessions.connect")
@takes_body(CheckRequest)
@answers(429)
def check_devices(body: CheckRequest) -> Checked:
    """Only addresses of stored devices are dialled. The outcome is stored as their last contact."""
    wanted = list(dict.fromkeys(body.ids))
    _take_turn(guard.identity().user_id)
    with guard.transaction() as tx:
        found = list(device_lists.lock_all(tx, wanted, within=guard.identity().reach))
        if len(found) != len(wanted):
            raise NotFound("One of the devices is not in the list any more: reload the list.")
        names = [device.name for device in found]
        audit.append(tx, guard.actor(), "device.checked", "devices", devices=names)
    answers = device_check.check_all(found)
    at, by = datetime.now(UTC), guard.identity().username
    with services().database.transaction() as tx:
        for answer in answers:
            device_contacts.note(tx, answer.device_id, answer.contact, answer.reason, at=at, by=by)
    return {"items": [_as_json(answer) for answer in answers]}


def _take_turn(user_id: UUID) -> None:
    """Raises TooManyRequests (429) after too many checks within a minute."""
    now = datetime.now(UTC)
    recent = [at for at in _recent.get(user_id, []) if (now - at).total_seconds() < _WINDOW_SECS]
    if len(recent) >= _MAX_CHECKS:
        wait_secs = round(_WINDOW_SECS - (now - recent[0]).total_seconds()) + 1
        raise TooManyRequests(f"Too many checks. Try again in {wait_secs} s.", retry_after=wait_secs)
    _recent[user_id] = [*recent, now]


def _as_json(answer: Answer) -> CheckedJson:
    return {
        "id": str(answer.device_id),
        "reachability": answer.contact,
        "software": answer.software,
        "reason": answer.reason,
        "msecs": answer.msecs,
    }
