"""Devices and terminals, and the credentials and trusted host keys that terminals need."""

from typing import Any
from uuid import UUID

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from netstacks.errors import NotFound
from netstacks.store import credentials, devices, sessions, shared_credentials
from netstacks.web.admin.credentials import TYPE_NAMES
from netstacks.web.admin.device_lists import device_list as read_list
from netstacks.web.admin.layout import may_administer
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.pages.layout import blueprint, render_page


@blueprint.get("/")
@guard.requires()
def device_list() -> str | Response:
    """The first page after the log-in: for users who may not see devices, another one that they may see."""
    if guard.identity().may("devices.access"):
        return render_page("devices.html", list=read_list())
    return redirect(url_for("admin.index" if may_administer(guard.identity().may) else "pages.session_list"))


@blueprint.get("/terminals/new")
@guard.requires("sessions.connect")
def new_terminal() -> str:
    with services().database.transaction() as tx:
        device = devices.find(tx, _uuid(request.args.get("device", "")), within=guard.identity().reach)
    if device is None:
        raise NotFound("This device is not in the list any more.")
    return _terminal(device.id, device.name, device.host, device.port, device.default_credential_id, session=None)


@blueprint.get("/jumpbox")
@guard.requires("sessions.connect")
def jump_box() -> str:
    return render_page("jumpbox.html")


@blueprint.get("/terminals/<uuid:session_id>")
@guard.requires("sessions.connect")
def terminal(session_id: UUID) -> str:
    """A session of the user's own: resumed after a reload, or taken over from another window."""
    with services().database.transaction() as tx:
        row = sessions.find(tx, session_id)
    if row is None or row.user_id != guard.identity().user_id:
        raise NotFound("There is no such session, or it belongs to another user.")
    # A window that has not opened the session does not have its reconnect token.
    live = services().hub.find(session_id)
    _, end_reason = services().hub.ended(session_id) or (None, row.end_reason)
    session = {
        "id": row.id,
        "state": "ended" if end_reason else row.state,
        "end_reason": end_reason,
        "token": live.facts.token if live else None,
    }
    return _terminal(row.device_id, row.device_name, row.host, row.port, row.credential_id, session=session)


def _terminal(
    device_id: UUID | None, name: str, host: str, port: int, credential_id: UUID | None, *, session: Any
) -> str:
    device = {"id": device_id, "name": name, "host": host, "port": port}
    data = {"device": device, "credential_id": credential_id, "session": session}
    settings = services().settings
    return render_page(
        "terminal.html",
        data=data,
        detach_ttl_secs=settings.session_detach_ttl_secs,
        close_grace_secs=settings.session_close_grace_secs,
    )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is nothing at this address.") from error


@blueprint.get("/credentials")
@guard.requires("sessions.connect")
def credential_list() -> str:
    me = guard.identity()
    with services().database.transaction() as tx:
        personal = credentials.personal(tx, me.user_id)
        shared = credentials.shared(tx, within=me.reach)
        default = credentials.default_for(tx, me.user_id, within=me.reach)
        last_uses = shared_credentials.last_uses(tx, me.user_id)
    return render_page(
        "credentials.html",
        personal=personal,
        shared=shared,
        default_id=default and default.id,
        default_url=url_for("user_settings.put_setting", key=credentials.DEFAULT_SETTING),
        ssh_types=credentials.SSH_TYPES,
        type_names=TYPE_NAMES,
        last_uses=last_uses,
    )


@blueprint.get("/host-keys")
def host_keys() -> Response:
    """The former address of the page; error texts and bookmarks may still lead here."""
    return redirect(url_for("admin.host_keys"))
