"""The common parts of all pages: blueprint, redirect to the log-in page, navigation, template filters."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from netstacks.cluster import clocks
from netstacks.crypto import password_rules
from netstacks.hosts import shown_host
from netstacks.web.auth import guard
from netstacks.web.http.outputs import moment

blueprint = Blueprint("pages", __name__)

# Label, endpoint, and the permission that the entry requires.
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

blueprint.add_app_template_filter(shown_host)
blueprint.add_app_template_filter(clocks.in_words, "clock")
blueprint.add_app_template_filter(moment)


@blueprint.before_request
def _redirect_to_login() -> AnyResponse | None:
    if request.endpoint == "pages.login" or guard.identify() is not None:
        return None
    return redirect(f"{url_for('pages.login')}?next={quote(request.full_path.rstrip('?'))}")


def render_page(template: str, **context: Any) -> str:
    """Renders a page, with its navigation, for the user of this request."""
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


@blueprint.app_template_filter()
def duration(span: timedelta) -> str:
    """A duration in its two largest units."""
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
