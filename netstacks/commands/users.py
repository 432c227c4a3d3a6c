"""`netstacks users`: administration of local users, also when no administrator can log in."""

import click

from netstacks.commands import database
from netstacks.crypto import password_rules
from netstacks.crypto.passwords import hash_password
from netstacks.errors import NotFound
from netstacks.store import access, audit, logins, sessions, users

_password = click.option(
    "--password", prompt=True, hide_input=True, confirmation_prompt=True, envvar="NETSTACKS_USER_PASSWORD"
)


@click.group("users")
def users_group() -> None:
    """Local users."""


@users_group.command("create")
@click.argument("username")
@click.option("--role", type=click.Choice(["admin", "operator", "viewer"]), required=True)
@click.option("--email")
@_password
def create_command(username: str, role: users.Role, email: str | None, password: str) -> None:
    """Adds a user; prompts for the password."""
    password_rules.check(password, role=role, names=(username, email))
    password_hash, is_long = hash_password(password), password_rules.is_long(password)
    with database.opened() as opened, opened.transaction() as tx:
        user = users.create(
            tx, username=username, password_hash=password_hash, role=role, email=email, is_password_long=is_long
        )
        audit.append(tx, audit.SYSTEM, "user.created", f"user:{user.id}", username=username, role=role)
    click.echo(f"created {username} ({role})")


@users_group.command("passwd")
@click.argument("username")
@_password
def passwd_command(username: str, password: str) -> None:
    """Sets the password of a user and ends all log-ins and sessions of that user."""
    with database.opened() as opened:
        with opened.transaction() as tx:
            found = users.by_login_name(tx, username)
        if found is None:
            raise NotFound(f"there is no user {username}")
        user, _ = found
        password_rules.check(password, role=user.role, names=(user.username, user.email, user.display_name))
        password_hash, is_long = hash_password(password), password_rules.is_long(password)
        with opened.transaction() as tx:
            access.lock_administration(tx)
            access.lock(tx, user.id)
            users.set_password(tx, user.id, password_hash, is_long=is_long)
            logins.revoke_all(tx, user.id)
            # The owners of the sessions read this within seconds.
            sessions.end_all_of(tx, user.id, access.WITHDRAWN)
            audit.append(
                tx, audit.SYSTEM, "user.updated", f"user:{user.id}", username=user.username, changed="password"
            )
    click.echo(f"changed the password of {user.username}")


@users_group.command("list")
def list_command() -> None:
    """Prints all users with role and state."""
    with database.opened() as opened, opened.transaction() as tx:
        for user in users.list_all(tx):
            state = "active" if user.is_active else "inactive"
            click.echo(f"{user.username}  {user.role}  {state}  {user.email or '-'}")
