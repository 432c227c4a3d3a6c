"""Our own pages: rendered with what the stores hold; what they change goes through the API, by small scripts."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel
from werkzeug.wrappers import Response as AnyResponse

from netstacks import __version__, bundled
from netstacks.cluster import clocks
from netstacks.crypto import password_rules
from netstacks.errors import NotFound
from netstacks.recording import storage
from netstacks.store import audit, credentials, devices, hostkeys, logins, session_summaries, sessions, users
from netstacks.store.addresses import shown_host
from netstacks.web.api import ha, summaries
from netstacks.web.api.audit import PageQuery
from netstacks.web.auth import guard, page_cookie
from netstacks.web.context import services
from netstacks.web.http import csp
from netstacks.web.http.fields import Moment
from netstacks.web.http.inputs import parse_query
from netstacks.web.http.outputs import moment

blueprint = Blueprint("pages", __name__)

_PAGE_ROWS = 50
_MOST_DEVICES = 500
_HA_EVENTS = 20
# Label, endpoint and the permission without which the page is not offered.
_NAVIGATION = (
    ("Devices", "device_list", "devices.access"),
    ("Sessions", "session_list", None),
    ("Jump box", "jump_box", "sessions.connect"),
    ("Credentials", "credential_list", "sessions.connect"),
    ("Host keys", "host_keys", "devices.access"),
    ("Audit", "audit_log", "audit.view"),
    ("Users", "user_list", "users.manage"),
    ("HA status", "ha_status", "ha.view"),
)
_CREDENTIAL_TYPES = {
    "ssh_password": "SSH password",
    "ssh_key": "SSH key",
    "api_token": "API token",
    "snmp_community": "SNMP community",
    "generic_secret": "Other secret",
}
# Browsers take a backslash for a slash and drop tabs and line ends, and two slashes, or more, lead to another site.
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f]*")
_EVENT_FAMILIES = ("audit", "auth", "credential", "device", "host_key", "recording", "session", "user", "vault")


class SessionsQuery(BaseModel):
    state: str | None = None
    before: Moment | None = None


@blueprint.before_request
def _ask_to_log_in() -> AnyResponse | None:
    if request.endpoint == "pages.login" or guard.identify() is not None:
        return None
    return redirect(f"{url_for('pages.login')}?next={quote(request.full_path.rstrip('?'))}")


def _page(template: str, **context: Any) -> str:
    """Renders a page for whoever is logged in."""
    me = guard.identity()
    navigation = [
        {"label": label, "url": url_for(f"pages.{endpoint}"), "is_current": request.endpoint == f"pages.{endpoint}"}
        for label, endpoint, permission in _NAVIGATION
        if permission is None or me.may(permission)
    ]
    return render_template(
        template,
        me=me,
        navigation=navigation,
        csrf_token=guard.csrf_token(),
        now=datetime.now(UTC),
        min_password_chars=password_rules.MIN_LENGTH,
        min_admin_password_chars=password_rules.MIN_ADMIN_LENGTH,
        **context,
    )


@blueprint.get("/login")
def login() -> AnyResponse | str:
    target = _own_path(request.args.get("next", "/"))
    if guard.identify():
        return redirect(target)
    return render_template("login.html", next=target, has_ended=page_cookie.is_sent())


def _own_path(target: str) -> str:
    """The path if it is one of this site's, else `/`: a link to the log-in must not lead elsewhere."""
    return target if _OWN_PATH.fullmatch(target) else "/"


@blueprint.get("/csrf-token")
def csrf_token() -> Response:
    """For pages whose log-in was renewed in another window."""
    return jsonify(csrf_token=guard.csrf_token())


@blueprint.get("/")
@guard.requires("devices.access")
def device_list() -> str:
    query = request.args.get("q", "").strip()
    with services().database.transaction() as tx:
        found, total = devices.list_page(tx, search=query or None, limit=_MOST_DEVICES)
        shared = [item for item in credentials.shared(tx) if item.credential_type in credentials.SSH_TYPES]
    return _page("devices.html", devices=found, total=total, query=query, credentials=shared)


@blueprint.get("/terminals/new")
@guard.requires("sessions.connect")
def new_terminal() -> str:
    with services().database.transaction() as tx:
        device = devices.find(tx, _uuid(request.args.get("device", "")))
    if device is None:
        raise NotFound("This device is not in the list any more.")
    return _terminal(device.id, device.name, device.host, device.port, device.default_credential_id, session=None)


@blueprint.get("/jumpbox")
@guard.requires("sessions.connect")
def jump_box() -> str:
    return _page("jumpbox.html")


@blueprint.get("/terminals/<uuid:session_id>")
@guard.requires("sessions.connect")
def terminal(session_id: UUID) -> str:
    """A session of one's own: resumed after a reload, or taken over from another window."""
    with services().database.transaction() as tx:
        row = sessions.find(tx, session_id)
    if row is None or row.user_id != guard.identity().user_id:
        raise NotFound("There is no such session, or it belongs to another user.")
    # The page of another window than the one that opened the session learns the token here.
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
    return _page(
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
        shared = credentials.shared(tx)
        default = credentials.default_for(tx, me.user_id)
    return _page(
        "credentials.html",
        personal=personal,
        shared=shared,
        default_id=default and default.id,
        default_url=url_for("user_settings.put_setting", key=credentials.DEFAULT_SETTING),
        ssh_types=credentials.SSH_TYPES,
        type_names=_CREDENTIAL_TYPES,
    )


@blueprint.get("/sessions")
def session_list() -> str:
    me = guard.identity()
    query = parse_query(SessionsQuery)
    with services().database.transaction() as tx:
        rows = sessions.page(
            tx,
            user_id=None if me.may("sessions.manage") else me.user_id,
            live={"live": True, "ended": False}.get(query.state or ""),
            before=query.before,
            limit=_PAGE_ROWS,
        )
    older = len(rows) == _PAGE_ROWS and url_for(
        "pages.session_list", state=query.state, before=rows[-1]["started_at"].isoformat()
    )
    return _page("sessions.html", sessions=rows, state=query.state or "", before=query.before, older=older)


@blueprint.get("/sessions/<uuid:session_id>/replay")
@guard.requires("recordings.view")
def replay(session_id: UUID) -> Response:
    me = guard.identity()
    with services().database.transaction() as tx:
        found = storage.list_page(
            tx, session_id=session_id, user_id=None if me.may("sessions.manage") else me.user_id, limit=1
        )
        summary = session_summaries.get(tx, session_id)
    if not found:
        raise NotFound("There is no such recording, or it belongs to another user.")
    page = _page(
        "replay.html",
        recording=found[0],
        summary=summary and summaries.as_json(summary, found[0]),
        can_summarise=bool(services().llm.assistant.providers(me.role)),
    )
    response = make_response(page)
    response.headers["Content-Security-Policy"] = csp.WITH_WASM
    return response


@blueprint.get("/audit")
@guard.requires("audit.view")
def audit_log() -> str:
    """The filters are those of the API, but `until` names the last day that is shown."""
    query = parse_query(PageQuery).model_copy(update={"limit": _PAGE_ROWS})
    given = {name: value for name, value in request.args.items() if value and name != "before"}
    until = query.until + timedelta(days=1) if query.until else None
    with services().database.transaction() as tx:
        rows = audit.page(tx, **query.model_dump() | {"until": until})
    export = given | ({"until": until.isoformat()} if until else {})
    return _page(
        "audit.html",
        rows=rows,
        filters=given,
        families=_EVENT_FAMILIES,
        older=len(rows) == _PAGE_ROWS and f"?{urlencode({**given, 'before': rows[-1]['id']})}",
        export_url=f"{url_for('audit.export_events')}?{urlencode(export)}",
    )


@blueprint.get("/users")
@guard.requires("users.manage")
def user_list() -> str:
    with services().database.transaction() as tx:
        return _page("users.html", users=users.every(tx))


@blueprint.get("/ha")
@guard.requires("ha.view")
def ha_status() -> str:
    parts = services()
    view = parts.observer.look()
    return _page(
        "ha.html",
        status=ha.as_json(parts, view),
        lines=ha.lines_of(parts, view),
        events=view.events[:_HA_EVENTS],
        clock_advice=clocks.ADVICE,
        valkey=view.registry,
        seen_at=datetime.fromtimestamp(view.seen_at, UTC) if view.seen_at else None,
    )


@blueprint.get("/host-keys")
@guard.requires("devices.access")
def host_keys() -> str:
    with services().database.transaction() as tx:
        return _page("host_keys.html", keys=hostkeys.list_all(tx))


@blueprint.get("/about")
@guard.requires("ha.view")
def about() -> str:
    """For administrators alone: a version tells what its known flaws are."""
    return _page("about.html", version=__version__, components=bundled.components())


@blueprint.get("/account")
@guard.requires()
def account() -> str:
    me = guard.identity()
    with services().database.transaction() as tx:
        return _page("account.html", user=users.get(tx, me.user_id), logins=logins.of_user(tx, me.user_id))


blueprint.add_app_template_filter(shown_host)


blueprint.add_app_template_filter(clocks.in_words, "clock")


blueprint.add_app_template_filter(moment)


@blueprint.app_template_filter()
def duration(span: timedelta) -> str:
    """How long, in the two largest units that matter."""
    minutes, secs = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {secs} s" if minutes else f"{secs} s"


@blueprint.app_template_filter()
def shortened(resource: str) -> str:
    """A resource of the audit log with only the beginning of its UUID."""
    kind, _, name = resource.partition(":")
    return f"{kind}:{name[:8]}…" if len(name) == 36 else resource
