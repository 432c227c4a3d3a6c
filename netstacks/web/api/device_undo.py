"""Takes back a change of many devices. The audit log has the former values."""

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from flask import Blueprint
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.errors import InvalidInput, NotFound
from netstacks.permissions import Reach
from netstacks.store import audit, credentials, device_changes, device_lists, device_reach, devices
from netstacks.store.credentials import Credential
from netstacks.store.device_changes import Edited
from netstacks.store.devices import Device
from netstacks.web.api import bulk_audit
from netstacks.web.api.bulk_audit import AuditRow
from netstacks.web.api.device_bulk import BULK_SECS, SHOWN, RefusedDevice
from netstacks.web.api.devices import check_place
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import Changes, changes

blueprint = Blueprint("device_undo", __name__)


class UndoAnswer(TypedDict):
    changed: int
    """How many devices have their former values again."""
    left: list[RefusedDevice]
    """Those that stay as they are, with the reason. The list ends after some devices; `left_total` counts all."""
    left_total: int


@blueprint.post("/api/v1/devices/edits/<uuid:edit_id>/undo")
@guard.requires("devices.manage")
def undo_edit(edit_id: UUID) -> UndoAnswer:
    """Puts back the values that a change of many devices has replaced, within a day and by the user who made it.

    A device that was changed since then stays as it is.
    """
    actor, reach = guard.actor(), guard.identity().reach
    with services().database.transaction(timeout_secs=BULK_SECS) as tx:
        guard.confirm(tx)
        edited = {each.id: each for each in device_changes.edited(tx, actor, edit_id)}
        if not edited:
            raise NotFound("You have made no such change within a day.")
        credential = cache(lambda credential_id: credentials.find(tx, credential_id))
        restored: list[tuple[Device, Changes]] = []
        left = dict.fromkeys(edited, "is not there any more")
        for device in device_lists.lock_all(tx, list(edited), within=reach):
            try:
                former = _former(device, edited[device.id], reach, credential)
            except InvalidInput as error:
                left[device.id] = str(error)
            else:
                del left[device.id]
                restored.append((former, changes(device, former)))
            greenlets.give_way()
        device_changes.update_all(tx, [former for former, _ in restored], by=actor.name)
        bulk_audit.append_all(tx, actor, (_row(former, made, edit_id) for former, made in restored))
        audit.append(
            tx, actor, "device.bulk_undone", "devices", devices=len(restored), left=len(left), edit=str(edit_id)
        )
    named: list[RefusedDevice] = [
        {"id": str(each), "name": edited[each].name, "reason": reason} for each, reason in left.items()
    ]
    named.sort(key=lambda each: each["name"].lower())
    return {"changed": len(restored), "left": named[:SHOWN], "left_total": len(left)}


def _former(device: Device, edited: Edited, reach: Reach, find: Callable[[UUID], Credential | None]) -> Device:
    """The device with its former values. Raises InvalidInput with the reason why it must stay as it is."""
    if device.version != edited.version:
        raise InvalidInput(f"was changed since by {device.updated_by}")
    values: dict[str, Any] = dict(edited.former)
    default = None
    if credential_id := values.get("default_credential_id"):
        values["default_credential_id"] = UUID(credential_id)
        default = find(values["default_credential_id"])
        if default is None:
            raise InvalidInput("its former credential is not there any more")
        check_place(default, device.host, device.port)
    former = devices.changed(device, values)
    device_reach.check_change(device, former, reach, taken=(), default=default)
    return former


def _row(former: Device, made: Changes, edit_id: UUID) -> AuditRow:
    facts = {"name": former.name, "changes": made, "bulk": True, "undoes": str(edit_id)}
    return AuditRow("device.updated", f"device:{former.id}", facts)
