"""Links between a user and a subject of an identity provider, which only administrators make."""

from typing import Annotated
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, StringConstraints
from typing_extensions import TypedDict

from netstacks.errors import InvalidInput
from netstacks.formats import Timestamp, Uuid
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import access, audit, external_identities, identity_providers, logins, roles, users
from netstacks.store.external_identities import Link
from netstacks.web.api.identity_providers import PATH, administration, check_gives
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("identity_links", __name__)


class NewLink(BaseModel):
    """A user by name, and the `sub` of the person at the provider: the audit row of a refused log-in names it."""

    username: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254)]
    subject: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


class LinkJson(TypedDict):
    id: Uuid
    subject: str
    """The `sub` of the person at the provider."""
    user_id: Uuid
    username: str
    created_at: Timestamp
    created_by: str
    last_login_at: Timestamp | None


class Links(TypedDict):
    items: list[LinkJson]


@blueprint.get(f"{PATH}/<uuid:provider_id>/links")
@guard.requires("sso.manage")
def list_identity_links(provider_id: UUID) -> Links:
    """The users whom administrators have linked. Those whom log-ins have created are in the list of users."""
    with services().database.transaction() as tx:
        provider = identity_providers.find(tx, provider_id)
        return {"items": [_as_json(each) for each in external_identities.links_of(tx, provider.id)]}


@blueprint.post(f"{PATH}/<uuid:provider_id>/links")
@guard.requires("sso.manage")
@takes_body(NewLink)
@answers(201)
def create_identity_link(body: NewLink, provider_id: UUID) -> tuple[LinkJson, int]:
    """Lets a user log in by this provider, with the role that the user has here."""
    with administration() as tx:
        provider = identity_providers.lock(tx, provider_id)
        check_gives(tx, provider)
        found = users.by_login_name(tx, body.username)
        if found is None:
            raise InvalidInput(f"username: there is no user {body.username}")
        user, by = found[0], guard.identity().username
        guard.check_gives(roles.role_named(tx, user.role))
        external_identities.add(tx, provider.id, body.subject, user.id, by=by, is_link=True)
        details = {"username": user.username, "provider": provider.name, "subject": body.subject}
        audit.append(tx, guard.actor(), "user.linked", f"user:{user.id}", **details)
        links = external_identities.links_of(tx, provider.id)
        return next(_as_json(each) for each in links if each.subject == body.subject), 201


@blueprint.delete(f"{PATH}/<uuid:provider_id>/links/<uuid:link_id>")
@guard.requires("sso.manage")
@answers(204)
def delete_identity_link(provider_id: UUID, link_id: UUID) -> Response:
    """Removes a link, and ends the user's log-ins: some of them may have come by it."""
    with services().database.transaction() as tx:
        access.lock_administration(tx)
        provider = identity_providers.find(tx, provider_id)
        link = external_identities.find_link(tx, provider.id, link_id)
        access.lock(tx, link.user_id)
        guard.confirm(tx)
        user = users.get(tx, link.user_id)
        guard.check_gives(roles.role_named(tx, user.role))
        external_identities.remove(tx, link.id)
        users.require_an_administrator(tx)
        ended = logins.revoke_all(tx, user.id, but=guard.identity().login_id)
        details = {"username": user.username, "provider": provider.name, "subject": link.subject}
        audit.append(tx, guard.actor(), "user.unlinked", f"user:{user.id}", **details)
    services().withdrawals.everywhere(Withdrawal(user.id, Scope.LOGINS, tuple(ended)))
    return Response(status=204)


def _as_json(link: Link) -> LinkJson:
    return {
        "id": str(link.id),
        "subject": link.subject,
        "user_id": str(link.user_id),
        "username": link.username,
        "created_at": timestamp(link.created_at),
        "created_by": link.created_by,
        "last_login_at": timestamp(link.last_login_at),
    }
