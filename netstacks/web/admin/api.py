"""How pages read the JSON API: with the log-in of the user of the current request."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast

from flask import Flask, current_app, g
from werkzeug.exceptions import Forbidden

from netstacks.permissions import is_granted

_EXTENSION = "netstacks.api"


class Api(Protocol):
    """The API of the controller that serves the page, or of another one over HTTP."""

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer. Members of `query` that are None are left out.

        Raises an error that the application renders as an error page when the answer is not a success.
        """


@dataclass(frozen=True)
class Viewer:
    """The user who looks at a page."""

    user_id: str
    username: str
    role: str
    permissions: frozenset[str]
    login_id: str
    csrf_token: str
    notice: Mapping[str, Any] | None = None
    """What the top of each page says: `level`, `text` and `url`."""
    may_download: bool = False
    """Whether the settings allow this user to download recordings."""

    def may(self, permission: str) -> bool:
        """Whether `permission` is granted. The API decides anew on each call; pages leave out what it would refuse."""
        return is_granted(permission, self.permissions)


def install(app: Flask, api: Api) -> None:
    """Makes `api` the one that the pages of `app` read."""
    app.extensions[_EXTENSION] = api


def api() -> Api:
    return cast(Api, current_app.extensions[_EXTENSION])


def viewer() -> Viewer:
    """The user of this request. Raises Unauthorized when there is none."""
    if "viewer" not in g:
        found = api().get("/api/v1/me")
        # A newer controller may tell more.
        known = {each.name: found[each.name] for each in fields(Viewer) if each.name in found}
        g.viewer = Viewer(**{**known, "permissions": frozenset(found["permissions"])})
    return cast(Viewer, g.viewer)


def require(permission: str) -> None:
    """Raises Forbidden unless the viewer has `permission`: for a page whose first call does not require it."""
    if not viewer().may(permission):
        raise Forbidden(f"You need the {permission} permission to see this page.")
