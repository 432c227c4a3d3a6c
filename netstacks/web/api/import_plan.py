"""The fate of each row of an import, decided before anything is changed."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import Conflict, InvalidInput
from netstacks.hosts import normal_host, shown_address
from netstacks.permissions import Reach
from netstacks.store import credentials, device_changes, device_reach, devices
from netstacks.store.credentials import Credential
from netstacks.store.device_changes import Keys
from netstacks.store.devices import Device
from netstacks.store.pool import Transaction
from netstacks.web.api import device_rows
from netstacks.web.api.device_rows import Row
from netstacks.web.http.changes import Changes, changes

Kind = Literal["added", "changed", "unchanged", "refused", "duplicate"]

CHANGED = (
    "The file is not the one of the dry run, or devices were changed since then: nothing was imported. Make another dry"
    " run."
)
# An empty cell is not a change of a member that has no value, whichever way it is stored.
_NOTHING: tuple[Any, ...] = (None, "", (), [])


@dataclass(frozen=True)
class Fate:
    """What becomes of a row. `reason` is set for `refused` and `duplicate`, `after` for the others."""

    line: int
    kind: Kind
    name: str
    host: str
    reason: str | None = None
    before: Device | None = None
    after: Device | None = None

    @cached_property
    def changes(self) -> Changes:
        """The members that change, with their values before and after."""
        return changes(self.before, self.after) if self.before and self.after else {}


@dataclass(frozen=True)
class Stock:
    """What the fates of rows depend on: the devices that match one, the shared credentials, and the user's reach.

    `taken` are the hosts of devices outside the reach among those of the rows and the devices.
    """

    keys: Keys
    devices: list[Device]
    shared: list[Credential]
    reach: Reach
    taken: frozenset[str]

    def check_unchanged(self, tx: Transaction, reach: Reach) -> None:
        """Raises Conflict when it is no longer so. The devices stay locked until the transaction ends."""
        edited = [(device.id, device.updated_at) for device in self.devices]
        is_same = device_changes.lock_matching(tx, self.keys) == edited and reach == self.reach
        if (
            not is_same
            or credentials.shared(tx, within=reach) != self.shared
            or _taken(tx, self.keys, self.devices, reach) != self.taken
        ):
            raise Conflict(CHANGED)


def stock(tx: Transaction, rows: Sequence[Row], reach: Reach) -> Stock:
    ids = [row.device_id for row in rows if row.device_id]
    names = [row.name.lower() for row in rows if row.name]
    keys = Keys(ids, names, [host for row in rows if (host := _host(row.host))])
    found = device_changes.matching(tx, keys)
    return Stock(keys, found, credentials.shared(tx, within=reach), reach, _taken(tx, keys, found, reach))


def _taken(tx: Transaction, keys: Keys, found: Iterable[Device], reach: Reach) -> frozenset[str]:
    return device_reach.taken_hosts(tx, [*keys.hosts, *(each.host for each in found)], within=reach)


def plan(rows: Sequence[Row], known: Stock) -> list[Fate]:
    """The fates of the rows, in their order."""
    planner = _Planner(known)
    fates = []
    for row in rows:
        fates.append(planner.fate(row))
        greenlets.give_way()
    return fates


def digest(data: bytes, fates: Iterable[Fate]) -> str:
    """Names the file and all that it would change: another file, or a device edited meanwhile, makes another digest."""
    hashed = hashlib.sha256(data)
    for fate in fates:
        device_id = str(fate.before.id) if fate.before else None
        facts = [fate.line, fate.kind, fate.reason, device_id, fate.changes]
        hashed.update(json.dumps(facts, default=str).encode())
        greenlets.give_way()
    return hashed.hexdigest()


def _host(text: str) -> str | None:
    try:
        return normal_host(text)
    except InvalidInput:
        return None


class _Planner:
    """Matches rows to devices, and remembers those of the rows before."""

    def __init__(self, known: Stock) -> None:
        self._by_id: dict[UUID, Device] = {}
        self._by_name: dict[str, list[Device]] = {}
        self._by_address: dict[tuple[str, int], list[Device]] = {}
        for device in known.devices:
            greenlets.give_way()
            if known.reach.includes(device.tags, device.site):
                self._by_id[device.id] = device
                self._by_name.setdefault(device.name.lower(), []).append(device)
                self._by_address.setdefault((device.host, device.port), []).append(device)
        self._credentials = {each.id: each for each in known.shared}
        self._ids_of_names: dict[str, list[UUID]] = {}
        for credential_id, name in device_rows.names_of(known.shared).items():
            self._ids_of_names.setdefault(name, []).append(credential_id)
        self._reach = known.reach
        self._taken = known.taken
        self._lines: dict[Any, int] = {}
        """By device or new address, the line of the first row for it."""

    def fate(self, row: Row) -> Fate:
        if row.problem:
            return Fate(row.line, "refused", row.name, row.host, row.problem)
        try:
            before = self._match(row)
            after = self._after(row, before)
        except InvalidInput as error:
            return Fate(row.line, "refused", row.name, row.host, str(error))
        keys = {after.id, ("name", after.name.lower()), (after.host, after.port)} if before is None else {before.id}
        if first := min((self._lines[key] for key in keys if key in self._lines), default=None):
            return Fate(row.line, "duplicate", after.name, after.host, f"line {first} is for the same device")
        self._lines |= dict.fromkeys(keys | {("name", after.name.lower()), (after.host, after.port)}, row.line)
        if before is None:
            return Fate(row.line, "added", after.name, after.host, after=after)
        fate = Fate(row.line, "changed", after.name, after.host, before=before, after=after)
        return fate if fate.changes else replace(fate, kind="unchanged")

    def _match(self, row: Row) -> Device | None:
        """The device of the row: by its id, else by its name, else by its address. Raises InvalidInput."""
        if row.device_id is not None:
            if found := self._by_id.get(row.device_id):
                return found
            raise InvalidInput("id: there is no device with this id; leave it empty to match by name")
        by_name = self._by_name.get(row.name.lower(), []) if row.name else []
        host = _host(row.host)
        found_there = self._by_address.get((host, row.values.get("port", 22)), []) if host else []
        candidates = by_name or found_there
        if len(candidates) > 1:
            # Of several with one name, the one at the address of the row.
            candidates = [each for each in candidates if each in found_there] or candidates
        if len(candidates) > 1:
            raise InvalidInput("several devices match: name one of them by its id")
        return candidates[0] if candidates else None

    def _after(self, row: Row, before: Device | None) -> Device:
        values = dict(row.values)
        if before is None:
            for member in ("name", "host"):
                if not values.get(member):
                    raise InvalidInput(f"{member}: is missing, and no device matches")
        base = before or device_changes.blank(values["name"], values["host"])
        values = {
            name: value for name, value in values.items() if not (value in _NOTHING and getattr(base, name) in _NOTHING)
        }
        if row.credential is not None:
            values["default_credential_id"] = self._credential_id(row.credential)
        after = devices.changed(base, values)
        if (
            "default_credential_id" in values
            or before is None
            or (before.host, before.port) != (after.host, after.port)
        ):
            self._check_credential(after, values)
        default = self._credentials.get(after.default_credential_id) if after.default_credential_id else None
        device_reach.check_change(before, after, self._reach, taken=self._taken, default=default)
        return after

    def _credential_id(self, cell: str) -> UUID | None:
        if not cell:
            return None
        if len(ids := self._ids_of_names.get(cell, [])) == 1:
            return ids[0]
        try:
            return UUID(cell)
        except ValueError as error:
            raise InvalidInput(f"default_credential: there is no shared SSH credential {cell[:100]!r}") from error

    def _check_credential(self, device: Device, values: dict[str, Any]) -> None:
        if device.default_credential_id is None or "default_credential_id" not in values:
            return
        credential = self._credentials.get(device.default_credential_id)
        if credential is None or credential.credential_type not in credentials.SSH_TYPES:
            raise InvalidInput("default_credential: must be a shared SSH credential")
        if not credential.is_for(device.host, device.port):
            address = shown_address(device.host, device.port)
            raise InvalidInput(f"default_credential: {credential.name} is not for {address}")
