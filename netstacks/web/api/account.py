"""The account of the user of a request, as its page shows it."""

from flask import Blueprint
from typing_extensions import TypedDict

from netstacks.store import logins, users
from netstacks.web.api.user_access import LoginJson, login_as_json
from netstacks.web.api.user_json import UserJson, as_json
from netstacks.web.auth import guard
from netstacks.web.context import services

blueprint = Blueprint("account", __name__)


class Account(TypedDict):
    user: UserJson
    logins: list[LoginJson]
    password_chars: int
    """The minimum length of a new password."""


@blueprint.get("/api/v1/account")
@guard.requires()
def get_account() -> Account:
    """The user, the user's log-ins, and the minimum length of a new password."""
    me = guard.identity()
    with services().database.transaction() as tx:
        user, found = users.get(tx, me.user_id), logins.of_user(tx, me.user_id)
    lengths = services().system_settings.password_lengths()
    return {
        "user": as_json(user),
        "logins": [login_as_json(each) for each in found],
        "password_chars": lengths.of_role(users.password_role(me.as_role)),
    }
