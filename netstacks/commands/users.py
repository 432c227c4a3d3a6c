"""`netstacks users`: administration of local users, also when no administrator can log in."""

import click

from netstacks.commands import database
from netstacks.commands.printing import print_line
from netstacks.crypto import password_rules
from netstacks.crypto.passwords import hash_password
from netstacks.errors import InvalidInput, NotFound
from netstacks.permissions import Role
from netstacks.store import access, audit, logins, roles, sessions, system_settings, users
from netstacks.store.pool import Transaction

_password = click.option(
    "--password", prompt=True, hide_input=True, confirmation_prompt=True, envvar="NETSTACKS_USER_PASSWORD"
)


@click.group("users")
def users_group() -> None:
    """Local users."""


@users_group.command("create")
@click.argument("username")
@click.option("--role", required=True, help="The name of a role: see the command roles.")
@click.option("--email")
@_password
def create_command(username: str, role: str, email: str | None, password: str) -> None:
    """Adds a user; prompts for the password."""
    with database.opened() as opened:
        with opened.transaction() as tx:
            rules, lengths = users.password_role(_role(tx, role)), system_settings.password_lengths(tx)
        password_rules.check(password, role=rules, names=(username, email), lengths=lengths)
        password_hash, is_long = hash_password(password), password_rules.is_long(password, lengths)
        with opened.transaction() as tx:
            access.lock_administration(tx)
            user = users.create(
                tx, username=username, password_hash=password_hash, role=role, email=email, is_password_long=is_long
            )
            audit.append(tx, audit.SYSTEM, "user.created", f"user:{user.id}", username=username, role=role)
    print_line(f"created {username} ({role})")


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
            rules = users.password_role(roles.role_named(tx, user.role))
            lengths = system_settings.password_lengths(tx)
        names = (user.username, user.email, user.display_name)
        password_rules.check(password, role=rules, names=names, lengths=lengths)
        password_hash, is_long = hash_password(password), password_rules.is_long(password, lengths)
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
    print_line(f"changed the password of {user.username}")


@users_group.command("list")
def list_command() -> None:
    """Prints all users with role and state."""
    with database.opened() as opened, opened.transaction() as tx:
        for user in users.list_all(tx):
            state = "active" if user.is_active else "inactive"
            print_line(f"{user.username}  {user.role}  {state}  {user.email or '-'}")


@users_group.command("roles")
def roles_command() -> None:
    """Prints all roles with their permissions, and the devices that they are limited to."""
    with database.opened() as opened, opened.transaction() as tx:
        for stored in roles.list_all(tx):
            devices = [f"tag {tag}" for tag in stored.device_tags] + [f"site {site}" for site in stored.device_sites]
            limit = f"  devices with {', '.join(devices)}" if devices else ""
            print_line(f"{stored.name}  {' '.join(stored.permissions) or '-'}{limit}")


def _role(tx: Transaction, name: str) -> Role:
    """Raises InvalidInput for an unknown role, with the names of those there are."""
    known = {stored.name: stored.role for stored in roles.list_all(tx)}
    if name not in known:
        raise InvalidInput(f"there is no role {name}: the roles are {', '.join(known)}")
    return known[name]
