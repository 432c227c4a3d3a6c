"""The common parts of all pages: blueprint, redirect to the log-in page, navigation."""

from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

from flask import Blueprint, Flask, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response as AnyResponse

from netstacks.store.setting_definitions import JUMP_BOX
from netstacks.web.admin.api import Viewer
from netstacks.web.admin.layout import Frame, install_frame, may_administer
from netstacks.web.auth import guard
from netstacks.web.auth.guard import Identity
from netstacks.web.context import services

blueprint = Blueprint("pages", __name__)

# Label, endpoint, and the permission that the entry requires.
_NAVIGATION = (
    ("Devices", "device_list", "devices.access"),
    ("Sessions", "session_list", None),
    ("Jump box", "jump_box", "sessions.connect"),
    ("Credentials", "credential_list", "sessions.connect"),
)


@blueprint.before_request
def _redirect_to_login() -> AnyResponse | None:
    if request.endpoint == "pages.login" or guard.identify() is not None:
        return None
    return redirect(f"{url_for('pages.login')}?next={quote(request.full_path.rstrip('?'))}")


def render_page(template: str, **context: Any) -> str:
    """Renders a page, with its navigation, for the user of this request."""
    me = guard.identity()
    return render_template(
        template,
        me=me,
        frame=_frame(me),
        csrf_token=guard.csrf_token(),
        now=datetime.now(UTC),
        notice=services().licensing.notice(may_manage=me.may("license.manage")),
        **context,
    )


@blueprint.record_once
def _install(state: BlueprintSetupState) -> None:
    install_frame(cast(Flask, state.app), _frame)


def _frame(me: Identity | Viewer) -> Frame:
    has_jump_box = services().system_settings.get(JUMP_BOX).may_use(me.role)
    entries = [
        (label, f"pages.{endpoint}")
        for label, endpoint, needed in _NAVIGATION
        if (not needed or me.may(needed)) and (has_jump_box or endpoint != "jump_box")
    ]
    navigation = [
        {"label": label, "url": url_for(endpoint), "is_current": request.endpoint == endpoint}
        for label, endpoint in entries
    ]
    if may_administer(me.may):
        is_current = request.blueprint == "admin"
        navigation.append({"label": "Admin", "url": url_for("admin.index"), "is_current": is_current})
    return Frame(url_for("pages.device_list"), url_for("pages.account"), navigation=tuple(navigation))
