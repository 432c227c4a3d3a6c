"""The user of a request, and the controller that answers it: what pages of administration need to know of both."""

from flask import Blueprint
from typing_extensions import TypedDict

from netstacks import __version__, bundled
from netstacks.bundled import Component, Dependency
from netstacks.cluster.health import HealthJson, StartingJson
from netstacks.formats import Uuid
from netstacks.permissions import expanded
from netstacks.store.setting_definitions import REPLAY_DOWNLOAD
from netstacks.web.auth import guard
from netstacks.web.auth.licensing import NoticeJson
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.context import services

blueprint = Blueprint("me", __name__)


class Me(TypedDict):
    """The user of the request."""

    user_id: Uuid
    username: str
    role: str
    permissions: list[str]
    """By name, or `*` alone for all."""
    login_id: Uuid
    csrf_token: str
    """For the header `X-CSRF-Token` of changes by a page."""
    may_download: bool
    """Whether the settings allow this user to download recordings."""
    notice: NoticeJson | None


class About(TypedDict):
    """The controller that answers."""

    version: str
    build: str
    instance_id: str
    health: HealthJson | StartingJson
    components: list[Component]
    dependencies: list[Dependency]


@blueprint.get("/api/v1/me")
@guard.requires()
def me() -> Me:
    """The user, what the user may do, and the token that changes with the page cookie need."""
    user = guard.identity()
    return {
        "user_id": str(user.user_id),
        "username": user.username,
        "role": user.role,
        "permissions": expanded(user.permissions, PURPOSES),
        "login_id": str(user.login_id),
        "csrf_token": guard.csrf_token(),
        "may_download": services().system_settings.get(REPLAY_DOWNLOAD).may_use(user.role),
        "notice": services().licensing.notice(may_manage=user.may("license.manage")),
    }


@blueprint.get("/api/v1/about")
@guard.requires("about.view")
def about() -> About:
    """For administrators only: an attacker can look up the known vulnerabilities of a version."""
    parts = services()
    report = parts.health.report()
    return {
        "version": __version__,
        "build": bundled.build(),
        "instance_id": parts.agent.me.id,
        "health": report.body() if report else {"status": "unhealthy", "reason": "starting"},
        "components": bundled.components(),
        "dependencies": bundled.dependencies(),
    }
