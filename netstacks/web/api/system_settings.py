"""`/api/v1/settings`: the system settings, and `/api/v1/auth/notice`, the text before log-in (docs/settings.md)."""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal, NotRequired, TypeVar, cast

from flask import Blueprint, request
from pydantic import BaseModel, WithJsonSchema
from typing_extensions import TypedDict

from netstacks.errors import Conflict, Forbidden, NotFound
from netstacks.formats import Timestamp
from netstacks.instance.mail import MailFailed
from netstacks.store import audit, roles, system_settings
from netstacks.store.pool import Transaction
from netstacks.store.setting_changes import Change
from netstacks.store.setting_definitions import BANNER, SECTIONS, SETTINGS
from netstacks.store.setting_types import Setting, as_json
from netstacks.web.auth import guard
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Seen, SeenVersion
from netstacks.web.http.outputs import as_sentence, timestamp

blueprint = Blueprint("system_settings", __name__)

_HIDDEN = "(hidden)"

Answer = TypeVar("Answer")

SettingValue = Annotated[
    Any, WithJsonSchema({"description": "A value of the type of the setting; whether there is one, for a secret."})
]


class NewValue(BaseModel):
    """A new value; `version` is the one that the caller has seen, and may be left out."""

    value: Any
    version: Seen = None


class SettingJson(TypedDict):
    """A setting, with the value that applies. The members that are not always there are bounds of its type."""

    key: str
    section: str
    title: str
    description: str
    type: str
    """`feature`, `number`, `text`, `choice`, `switch` or `secret`."""
    least: NotRequired[int]
    most: NotRequired[int]
    """Of a number, or of the characters of a text."""
    unit: NotRequired[str]
    zero: NotRequired[str]
    """What the number 0 means."""
    has_lines: NotRequired[bool]
    """Whether the text may have several lines."""
    options: NotRequired[dict[str, str]]
    """The values of a choice, each with its meaning."""
    value: SettingValue
    default: SettingValue
    source: Literal["environment", "stored", "default"]
    variable: str | None
    """The environment variable that takes precedence."""
    may_change: bool
    """Whether the user of the request may change it."""
    version: int
    """It counts the changes."""
    changed_by: str | None
    changed_at: Timestamp | None


class ChangedSettingJson(SettingJson):
    """A setting after a change."""

    note: str
    """The secrets that the change has deleted, as sentences; empty for none."""


class SettingList(TypedDict):
    items: list[SettingJson]
    sections: list[str]
    roles: list[str]


class SentMail(TypedDict):
    sent_to: list[str]


class LoginNotice(TypedDict):
    banner: str


@blueprint.get("/api/v1/settings")
@guard.requires("settings.manage")
def list_settings() -> SettingList:
    """Every setting, with the value that applies on this instance."""
    with services().database.transaction() as tx:
        stored, changed = system_settings.stored(tx), system_settings.changes(tx)
        names = [role.name for role in roles.list_all(tx)]
    items = [
        _item(setting, section, stored, changed.get(setting.key))
        for section, settings in SECTIONS.items()
        for setting in settings
    ]
    return {"items": items, "sections": list(SECTIONS), "roles": names}


def _with_setting(view: Callable[[Setting[Any]], Answer]) -> Callable[[str], Answer]:
    """Decorates a view, which gets the setting with the key in the path. Raises as `_find` does."""

    @wraps(view)
    def finding(key: str) -> Answer:
        return view(_find(key))

    return finding


@blueprint.get("/api/v1/settings/<key>")
@guard.requires("settings.manage")
@_with_setting
def get_setting(setting: Setting[Any]) -> SettingJson:
    with services().database.transaction() as tx:
        return _shown(tx, setting)


@blueprint.put("/api/v1/settings/<key>")
@guard.requires("settings.manage")
@_with_setting
@takes_body(NewValue)
def put_setting(body: NewValue, setting: Setting[Any]) -> ChangedSettingJson:
    """Changes a setting. It takes effect on this instance at once, and on the others within a heartbeat.

    `note` tells of a secret that this has deleted, because it was for the former value.
    """
    value = setting.read(body.value)
    with guard.transaction() as tx:
        _check_may_change(setting)
        before = _known(tx, setting)
        by = guard.identity().username
        if setting.type == "secret":
            system_settings.put_secret(tx, services().vault, setting, value, by, seen=body.version)
        else:
            system_settings.put(tx, setting, value, by, seen=body.version)
        answer = _changed(tx, setting, before)
    services().system_settings.look()
    return answer


@blueprint.delete("/api/v1/settings/<key>")
@guard.requires("settings.manage")
@_with_setting
@takes_query(SeenVersion)
def reset_setting(seen: SeenVersion, setting: Setting[Any]) -> ChangedSettingJson:
    """Sets a setting back to its default, with `note` as for a change. Idempotent."""
    with guard.transaction() as tx:
        _check_may_change(setting)
        before = _known(tx, setting)
        system_settings.remove(tx, services().vault, setting, guard.identity().username, seen=seen.version)
        answer = _changed(tx, setting, before)
    services().system_settings.look()
    return answer


@blueprint.post("/api/v1/settings/mail/test")
@guard.requires("settings.manage")
@answers(502)
def send_test_mail() -> SentMail:
    """Sends a test message now. 502 with a sentence about what failed, 422 when a setting is missing."""
    server = services().notices.send_test(guard.identity().username)
    with guard.transaction() as tx:
        audit.append(tx, guard.actor(), "mail.tested", "setting:mail.host", to=list(server.recipients))
    return {"sent_to": list(server.recipients)}


@blueprint.errorhandler(MailFailed)
def _mail_failed(error: MailFailed) -> tuple[dict[str, str], int]:
    return {"error": as_sentence(str(error))}, 502


@blueprint.get("/api/v1/auth/notice")
def notice() -> LoginNotice:
    """The text to be shown before log-in. Needs no log-in."""
    return {"banner": services().system_settings.get(BANNER)}


def _find(key: str) -> Setting[Any]:
    """The setting with this key. Raises NotFound, and for a change of one that the environment sets Conflict."""
    setting = SETTINGS.get(key)
    if setting is None:
        raise NotFound("There is no such setting.")
    if key in services().system_settings.environment and request.method != "GET":
        raise Conflict(f"The environment variable {setting.variable} sets this. Change it there, on every instance.")
    return setting


def _check_may_change(setting: Setting[Any]) -> None:
    """Raises Forbidden without the further permission that a change of this setting needs."""
    needed = setting.also_needs
    if needed is not None and not guard.identity().may(needed):
        raise Forbidden(f"You need the {needed} permission, too, to change this: to {PURPOSES[needed]}.")


def _changed(tx: Transaction, setting: Setting[Any], before: Any) -> ChangedSettingJson:
    """The answer to a change, after its audit row and the end of the secrets that were for the former value."""
    _note(tx, setting, before)
    forgotten: list[Setting[str]] = []
    if _known(tx, setting) != before:
        forgotten = system_settings.forget_bound(tx, services().vault, setting, guard.identity().username)
    for secret in forgotten:
        _note(tx, secret, _HIDDEN)
    notes = [f"{each.title}: enter it again, the stored one was for the former value." for each in forgotten]
    return {**_shown(tx, setting), "note": " ".join(notes)}


def _shown(tx: Transaction, setting: Setting[Any]) -> SettingJson:
    section = next(name for name, settings in SECTIONS.items() if setting in settings)
    return _item(setting, section, system_settings.stored(tx), system_settings.changes(tx).get(setting.key))


def _item(setting: Setting[Any], section: str, stored: dict[str, Any], change: Change | None) -> SettingJson:
    is_fixed = setting.key in services().system_settings.environment
    is_stored = stored.get(setting.key) is not None
    common: SettingJson = {
        "key": setting.key,
        "section": section,
        "title": setting.title,
        "description": setting.description,
        "type": setting.type,
        "value": _effective(setting) if is_fixed else _value(setting, stored),
        "default": as_json(setting.default) if setting.type != "secret" else None,
        "source": "environment" if is_fixed else "stored" if is_stored else "default",
        "variable": setting.variable,
        "may_change": setting.also_needs is None or guard.identity().may(setting.also_needs),
        "version": change.version if change else 0,
        "changed_by": change.changed_by if change else None,
        "changed_at": timestamp(change.changed_at) if change else None,
    }
    return cast(SettingJson, {**common, **setting.form})


def _value(setting: Setting[Any], stored: dict[str, Any]) -> Any:
    """The stored value, as all instances will have it; whether there is one, for a secret."""
    if setting.type == "secret":
        return bool(stored.get(setting.key))
    return as_json(system_settings.understood(setting, stored))


def _effective(setting: Setting[Any]) -> Any:
    """The value that applies here now."""
    return as_json(services().system_settings.get(setting))


def _known(tx: Transaction, setting: Setting[Any]) -> Any:
    """The value for the audit log."""
    value = _value(setting, system_settings.stored(tx))
    return (_HIDDEN if value else None) if setting.type == "secret" else value


def _note(tx: Transaction, setting: Setting[Any], before: Any) -> None:
    after = _known(tx, setting)
    resource = f"setting:{setting.key}"
    audit.append(tx, guard.actor(), "setting.changed", resource, before=before, after=after)
