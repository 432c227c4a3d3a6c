"""A user in the API."""

from collections.abc import Sequence

from typing_extensions import TypedDict

from netstacks import permissions
from netstacks.formats import Timestamp, Uuid
from netstacks.store.users import User
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.http.outputs import timestamp


class UserJson(TypedDict):
    """A user: the client's `User`, plus `name` and `role`."""

    id: Uuid
    username: str
    email: str | None
    display_name: str | None
    name: str
    """The display name, or else the user name."""
    role: str
    roles: list[str]
    """The role alone."""
    permissions: list[str]
    """Those of the role by name, or `*` alone for all."""
    auth_provider: str
    """`local`, or `oidc` for a user whom single sign-on has created."""
    is_active: bool
    second_factors: list[str]
    """The kinds that the user has: `totp`, `passkey`."""
    created_at: Timestamp
    last_login: Timestamp | None


def as_json(user: User, factors: Sequence[str] = ()) -> UserJson:
    """A user in the API: the client's `User`, plus `name` and `role` (docs/protocol.md, 3.1)."""
    return {
        "id": str(user.id),
        "username": user.username,
        "email": user.email,
        "display_name": user.display_name,
        "name": user.display_name or user.username,
        "role": user.role,
        "roles": [user.role],
        "permissions": permissions.expanded(user.permissions, PURPOSES),
        "auth_provider": user.auth_provider,
        "is_active": user.is_active,
        "second_factors": list(factors),
        "created_at": timestamp(user.created_at),
        "last_login": timestamp(user.last_login_at),
    }
