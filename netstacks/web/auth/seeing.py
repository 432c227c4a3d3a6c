"""The sessions that the user of a request may see."""

from netstacks.store.sight import Sight
from netstacks.web.auth import guard


def sight(permission: str = "sessions.manage") -> Sight:
    """The user's own sessions, and with `permission` those of others on the devices of the user's role."""
    user = guard.identity()
    return Sight(user.user_id, user.may(permission), user.reach)
