"""The users of the subjects of identity providers. Provider and subject identify a person; names and addresses do not.

The provider is its row, not its issuer: an administrator who adds the same issuer again, with another client, must not
log in the users of the first one. Deleting a provider removes its identities, and leaves the users.
A user whom a log-in by single sign-on has created has no password. Only an administrator links another user.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from netstacks.errors import Conflict, NotFound
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("external_identities")

NO_PASSWORD = ""
"""The password hash of a user without a password: no password matches it."""


@dataclass(frozen=True)
class Link:
    """A subject of a provider, and the user whom an administrator has chosen for it."""

    id: UUID
    subject: str
    user_id: UUID
    username: str
    created_at: datetime
    created_by: str
    last_login_at: datetime | None


def user_of(tx: Transaction, provider_id: UUID, subject: str) -> UUID | None:
    """The id of the user of this subject."""
    row = tx.execute(_SQL["user_of"], {"provider_id": provider_id, "subject": subject}).fetchone()
    return row["user_id"] if row else None


def add(tx: Transaction, provider_id: UUID, subject: str, user_id: UUID, *, by: str, is_link: bool) -> None:
    """Assigns a subject to a user; `is_link` when an administrator does so.

    Raises Conflict when the subject has a user already.
    """
    values = {
        "id": uuid4(),
        "provider_id": provider_id,
        "subject": subject,
        "user_id": user_id,
        "by": by,
        "is_link": is_link,
    }
    if not tx.execute(_SQL["add"], values).rowcount:
        raise Conflict("subject: has a user already")


def links_of(tx: Transaction, provider_id: UUID) -> list[Link]:
    """The links that administrators have made, by user name."""
    with tx.cursor(row_factory=row_of(Link)) as cursor:
        return cursor.execute(_SQL["links"], {"provider_id": provider_id}).fetchall()


def find_link(tx: Transaction, provider_id: UUID, link_id: UUID) -> Link:
    """Raises NotFound."""
    for link in links_of(tx, provider_id):
        if link.id == link_id:
            return link
    raise NotFound("there is no such link")


def roles_of(tx: Transaction, provider_id: UUID) -> list[str]:
    """The roles of all users who have an identity of the provider, active or not."""
    return [row["role"] for row in tx.execute(_SQL["roles"], {"provider_id": provider_id}).fetchall()]


def remove(tx: Transaction, link_id: UUID) -> None:
    """Removes a link."""
    tx.execute(_SQL["remove"], {"id": link_id})


def make_external(tx: Transaction, user_id: UUID) -> None:
    """Marks a new user as one that single sign-on has created."""
    tx.execute(_SQL["make_external"], {"id": user_id})


def note_login(tx: Transaction, provider_id: UUID, subject: str, login_id: UUID) -> None:
    """Records a log-in, and the provider that it came from."""
    tx.execute(_SQL["note_login"], {"provider_id": provider_id, "subject": subject})
    tx.execute(_SQL["note_origin"], {"login_id": login_id, "provider_id": provider_id})


def origin_of(tx: Transaction, login_id: UUID) -> UUID | None:
    """The id of the provider that a log-in came from; None for a log-in by password."""
    row = tx.execute(_SQL["origin_of"], {"login_id": login_id}).fetchone()
    return row["provider_id"] if row else None
