"""`netstacks users reset-second-factors`: for a user without access to them, even the only administrator."""

import click

from netstacks.commands import database
from netstacks.commands.printing import print_line
from netstacks.errors import NotFound
from netstacks.store import access, audit, logins, second_factors, sessions, users


@click.command("reset-second-factors")
@click.argument("username")
def reset_command(username: str) -> None:
    """Removes the second factors of a user and ends all log-ins and sessions of that user.

    The user logs in with the password alone, and must set a factor up again where one is required.
    """
    with database.opened() as opened, opened.transaction() as tx:
        found = users.by_login_name(tx, username)
        if found is None:
            raise NotFound(f"there is no user {username}")
        user, _ = found
        access.lock_administration(tx)
        access.lock(tx, user.id)
        second_factors.lock(tx, user.id)
        kinds = second_factors.kinds_of(tx, user.id)
        second_factors.remove_all(tx, user.id)
        logins.revoke_all(tx, user.id)
        # The owners of the sessions read this within seconds.
        sessions.end_all_of(tx, user.id, access.WITHDRAWN)
        audit.append(
            tx, audit.SYSTEM, "user.second_factors_reset", f"user:{user.id}", username=user.username, kinds=kinds
        )
    print_line(f"removed the second factors of {user.username}: {', '.join(kinds) or 'there were none'}")
