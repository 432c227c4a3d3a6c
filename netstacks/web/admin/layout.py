"""The common parts of the pages of administration: blueprint, menu, redirect to the log-in page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response

from netstacks.hosts import shown_host
from netstacks.web.admin.api import Viewer, viewer
from netstacks.web.http.outputs import moment

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

# Label, endpoint, and the permissions that the entry requires. Every user may read the description of the API.
_MENU = (
    ("HA status", "ha", "ha.view"),
    ("Sessions", "sessions", "sessions.manage"),
    ("Users", "users", "users.manage"),
    ("Roles", "roles", "users.manage"),
    ("Single sign-on", "sso", "sso.manage"),
    ("Devices", "devices", "devices.access", "devices.manage"),
    ("Credentials", "credentials", "credentials.manage"),
    ("Host keys", "host_keys", "devices.access"),
    ("Audit", "audit", "audit.view"),
    ("LLM", "llm", "llm.manage"),
    ("Licence", "license", "license.manage"),
    ("Settings", "settings", "settings.manage"),
    ("API", "reference"),
    ("About", "about", "about.view"),
)
_FRAME = "netstacks.frame"

blueprint.add_app_template_filter(shown_host)
blueprint.add_app_template_filter(moment)


@dataclass(frozen=True)
class Frame:
    """What the application has around the pages of administration; addresses and menu entries."""

    home_url: str
    account_url: str
    navigation: tuple[dict[str, Any], ...] = ()


def install_frame(app: Flask, frame: Callable[[Viewer], Frame]) -> None:
    """Sets the frame around each page: a controller also has pages other than these, a controller-admin does not."""
    app.extensions[_FRAME] = frame


@blueprint.errorhandler(Unauthorized)
def _redirect_to_login(_: Unauthorized) -> Response:
    return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}")


@blueprint.get("")
def index() -> Response:
    """The first page of the menu that the user may see."""
    return redirect(menu(viewer().may)[0]["url"])


def menu(may: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The entries of the pages that a user with these permissions may open; one is current also below its page."""
    entries = [
        (label, url_for(f"admin.{endpoint}"))
        for label, endpoint, *permissions in _MENU
        if all(may(each) for each in permissions)
    ]
    return [
        {"label": label, "url": url, "is_current": f"{request.path}/".startswith(f"{url}/")} for label, url in entries
    ]


def may_administer(may: Callable[[str], bool]) -> bool:
    """Whether a user with these permissions may open a page of administration that is not for every user."""
    return any(permissions and all(may(each) for each in permissions) for _, _, *permissions in _MENU)


def render_page(template: str, **context: Any) -> str:
    """Renders a page, with the menu, for the user of this request."""
    me = viewer()
    return render_template(
        template,
        me=me,
        frame=current_app.extensions[_FRAME](me),
        menu=menu(me.may),
        csrf_token=me.csrf_token,
        notice=me.notice,
        now=datetime.now(UTC),
        **context,
    )


@blueprint.app_template_filter()
def as_time(value: datetime | str | None) -> datetime | None:
    """A time of the API, or of the database, as a datetime."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


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
