"""Changes of many devices at once: those of a list of ids, or all that match a filter."""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID, uuid4

from flask import Blueprint
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.errors import Conflict, InvalidInput
from netstacks.formats import Uuid
from netstacks.permissions import Reach
from netstacks.store import audit, device_changes, device_lists, device_reach, devices
from netstacks.store.credentials import Credential
from netstacks.store.devices import Algorithms, Device
from netstacks.store.pool import Transaction
from netstacks.web.api import bulk_audit
from netstacks.web.api.bulk_audit import AuditRow
from netstacks.web.api.device_list import DeviceFilter
from netstacks.web.api.devices import check_place, default_credential
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import Changes, changes
from netstacks.web.http.declarations import takes_body
from netstacks.web.http.fields import OptionalText, Tags

blueprint = Blueprint("device_bulk", __name__)

_MAX_DEVICES = 20_000
BULK_SECS = 60.0
# So many devices are shown in full in a preview.
SHOWN = 100


class BulkChanges(BaseModel):
    """The members that change; absent ones keep their value."""

    site: OptionalText = None
    device_type: Annotated[str, Field(max_length=200)] = ""
    algorithms: Algorithms = "modern"
    default_credential_id: UUID | None = None
    add_tags: Tags = []
    remove_tags: Tags = []


class BulkRequest(BaseModel):
    """Either `ids`, or `filter` with the number of devices that the user has seen, `expected`.

    A change by `filter` requires `digest`, which the dry run has answered: other devices may match by then.
    """

    ids: Annotated[list[UUID], Field(min_length=1, max_length=_MAX_DEVICES)] | None = None
    filter: DeviceFilter | None = None
    expected: Annotated[int, Field(ge=0)] | None = None
    digest: Annotated[str, Field(max_length=64)] | None = None
    changes: BulkChanges | None = None
    delete: bool = False
    dry_run: bool = False


class NamedDevice(TypedDict):
    id: Uuid
    name: str


class RefusedDevice(NamedDevice):
    reason: str | None


class ChangedDevice(NamedDevice):
    changes: Changes
    """The members that change, with their values before and after; empty for a device that is deleted."""


class BulkAnswer(TypedDict):
    """What has changed, or would change. The two lists end after some devices; the numbers count all."""

    digest: str
    """Names the set of devices that match: for the change after a dry run."""
    is_dry_run: bool
    matched: int
    changed: int
    deleted: int
    unchanged: int
    refused: list[RefusedDevice]
    refusals: int
    devices: list[ChangedDevice]
    """Those that are changed or deleted."""
    live_sessions: int
    """How many sessions on deleted devices go on."""
    edit_id: Uuid | None
    """Names the change for its undo; null when no device was changed."""


@dataclass(frozen=True)
class _Fate:
    """What becomes of a device; `after` is None when it is deleted, `reason` says why it cannot be changed."""

    before: Device
    after: Device | None = None
    reason: str | None = None
    changes: Changes = field(default_factory=dict)


@blueprint.patch("/api/v1/devices")
@guard.requires("devices.manage")
@takes_body(BulkRequest)
def change_devices(body: BulkRequest) -> BulkAnswer:
    """Changes or deletes all the devices, or none of them. `dry_run` answers what would change."""
    if (body.changes is None) == (not body.delete):
        raise InvalidInput("Send either changes, or delete.")
    with services().database.transaction(timeout_secs=BULK_SECS) as tx:
        guard.confirm(tx)
        reach = guard.identity().reach
        fates = _fates(tx, body, reach)
        answer = _as_json(tx, fates, body)
        if not body.dry_run:
            if body.filter is not None and body.digest != answer["digest"]:
                raise Conflict(
                    "Other devices match now than in the preview, or there was no preview. Nothing was changed. Reload"
                    " the list and choose again."
                )
            _check(fates)
            answer["edit_id"] = _apply(tx, fates, body)
    return answer


def _fates(tx: Transaction, body: BulkRequest, reach: Reach) -> list[_Fate]:
    """The fates of the devices, by name; the devices are locked.

    Raises Conflict when their number is not the one that the user has seen.
    """
    wanted, expected = _wanted(tx, body, reach)
    credential = _credential(tx, body.changes)
    fates: list[_Fate] = []
    for device in device_lists.lock_all(tx, wanted, within=reach):
        fates.append(_fate(device, body.changes, credential, reach))
        greenlets.give_way()
    if len(fates) != expected:
        raise Conflict(
            f"The list has changed: {len(fates)} of the devices are there now, not {expected}. Nothing was changed."
            " Reload the list and choose again."
        )
    return sorted(fates, key=lambda fate: (fate.before.name.lower(), str(fate.before.id)))


def _digest(fates: list[_Fate]) -> str:
    """Names the set of devices."""
    return hashlib.sha256("".join(sorted(str(fate.before.id) for fate in fates)).encode()).hexdigest()


def _wanted(tx: Transaction, body: BulkRequest, reach: Reach) -> tuple[list[UUID], int]:
    """The ids of the devices, and how many the user has seen."""
    if (body.ids is None) == (body.filter is None):
        raise InvalidInput("Send either ids, or filter.")
    if body.ids is not None:
        wanted, expected = list(dict.fromkeys(body.ids)), len(set(body.ids))
    else:
        assert body.filter is not None
        if body.expected is None:
            raise InvalidInput("expected: is missing: the number of devices that match the filter")
        wanted = device_lists.ids(tx, body.filter.wanted(), within=reach, limit=_MAX_DEVICES + 1)
        expected = body.expected
    if len(wanted) > _MAX_DEVICES:
        raise InvalidInput(f"More than {_MAX_DEVICES} devices match: choose fewer.")
    return wanted, expected


def _credential(tx: Transaction, wanted: BulkChanges | None) -> Credential | None:
    """The default credential that is to be set, if one is. Raises InvalidInput."""
    if wanted is None or wanted.default_credential_id is None:
        return None
    return default_credential(tx, wanted.default_credential_id)


def _fate(device: Device, wanted: BulkChanges | None, credential: Credential | None, reach: Reach) -> _Fate:
    if wanted is None:
        return _Fate(device)
    given = wanted.model_dump(include=wanted.model_fields_set - {"add_tags", "remove_tags"})
    try:
        removed = set(devices.normal_tags(wanted.remove_tags))
        kept = [tag for tag in device.tags if tag not in removed]
        after = devices.changed(device, given | {"tags": (*kept, *wanted.add_tags)})
        if credential is not None:
            check_place(credential, device.host, device.port)
        # A host is not changed here.
        device_reach.check_change(device, after, reach, taken=(), default=credential)
    except InvalidInput as error:
        return _Fate(device, device, str(error))
    return _Fate(device, after, changes=changes(device, after))


def _check(fates: list[_Fate]) -> None:
    refused = [fate for fate in fates if fate.reason]
    if refused:
        raise InvalidInput(
            f"{len(refused)} of the devices cannot be changed so, {refused[0].before.name} for one:"
            f" {refused[0].reason}. Nothing was changed."
        )


def _apply(tx: Transaction, fates: list[_Fate], body: BulkRequest) -> Uuid | None:
    """Returns the id of the edit, for an undo."""
    actor = guard.actor()
    if body.changes is None:
        device_changes.delete_all(tx, [fate.before.id for fate in fates])
        bulk_audit.append_all(tx, actor, (_deletion(fate.before) for fate in fates))
        audit.append(tx, actor, "device.bulk_deleted", "devices", devices=len(fates))
        return None
    changed, edit_id = [fate for fate in fates if fate.changes], str(uuid4())
    device_changes.update_all(tx, [fate.after for fate in changed if fate.after], by=actor.name)
    bulk_audit.append_all(tx, actor, (_update(fate, edit_id) for fate in changed))
    given = body.changes.model_dump(mode="json", exclude_unset=True)
    audit.append(tx, actor, "device.bulk_updated", "devices", devices=len(changed), changes=given, edit=edit_id)
    return edit_id if changed else None


def _deletion(device: Device) -> AuditRow:
    facts = {"name": device.name, "host": device.host, "port": device.port, "bulk": True}
    return AuditRow("device.deleted", f"device:{device.id}", facts)


def _update(fate: _Fate, edit_id: str) -> AuditRow:
    # The undo reads it: device_undo.py.
    facts = {"name": fate.before.name, "changes": fate.changes, "bulk": True}
    facts |= {"edit": edit_id, "version": fate.before.version + 1}
    return AuditRow("device.updated", f"device:{fate.before.id}", facts)


def _as_json(tx: Transaction, fates: list[_Fate], body: BulkRequest) -> BulkAnswer:
    refused = [fate for fate in fates if fate.reason]
    affected = fates if body.delete else [fate for fate in fates if fate.changes]
    return {
        "digest": _digest(fates),
        "is_dry_run": body.dry_run,
        "matched": len(fates),
        "changed": 0 if body.delete else len(affected),
        "deleted": len(affected) if body.delete else 0,
        "unchanged": len(fates) - len(affected) - len(refused),
        "refused": [{**_named(fate), "reason": fate.reason} for fate in refused[:SHOWN]],
        "refusals": len(refused),
        "devices": [{**_named(fate), "changes": fate.changes} for fate in affected[:SHOWN]],
        "live_sessions": device_changes.live_sessions(tx, [fate.before.id for fate in fates]) if body.delete else 0,
        "edit_id": None,
    }


def _named(fate: _Fate) -> NamedDevice:
    return {"id": str(fate.before.id), "name": fate.before.name}
