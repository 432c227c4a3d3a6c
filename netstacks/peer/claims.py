"""The schemas of the claims in requests between instances, validated by the receiving instance.

Claims are signed, but another version of this program may have written them. Unknown members are ignored.
"""

from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, model_validator

from netstacks.errors import MalformedClaims
from netstacks.peer.token import PeerPrincipal


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold NUL characters")
    return text


Text = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_storable)]
# The range of the column in PostgreSQL.
Epoch = Annotated[int, Field(ge=1, lt=2**31)]


class Nothing(BaseModel):
    """A request without claims."""


class OfSession(BaseModel):
    """A request about a session that the receiver holds at `epoch`."""

    epoch: Epoch


class Ending(OfSession):
    """The end of a session. An older version sends `only_detached` to the path of unconditional ends."""

    reason: Text
    only_detached: bool = False


class EndingViews(OfSession):
    """The end of the views of one share, of one viewer, or of all viewers."""

    reason: Text
    share_id: Text | None = None
    viewer_id: Text | None = None


class Moving(OfSession):
    """The move of a session to another instance, requested by the administrator `by`."""

    by: Text


class Telling(OfSession):
    """A notice of the controller for the user of a session."""

    text: Text


class _Principal(BaseModel):
    kind: Literal["control", "viewer"]
    permission: Literal["read-write", "read-only"]
    user_id: UUID | None
    username: Text
    address: Text | None
    share_id: UUID | None = None
    max_viewers: int | None = Field(None, ge=1, le=1000)
    expires_at: int | None = Field(None, ge=0, lt=2**53)

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.kind == "viewer" and None in (self.share_id, self.max_viewers, self.expires_at):
            raise ValueError("a viewer needs a share with its limits")
        if self.kind == "control" and self.user_id is None:
            raise ValueError("a terminal needs a user")
        return self


class ForPrincipal(OfSession):
    """A connection to a session, for an authenticated principal."""

    visitor: _Principal

    def principal(self) -> PeerPrincipal:
        given = self.visitor.model_dump()
        return PeerPrincipal(**given | {"share_id": str(self.visitor.share_id) if self.visitor.share_id else None})


class HandedOn(BaseModel):
    """A client handed over by an instance with a long queue, which has verified the access token."""

    user_id: UUID
    username: Text
    role: Text
    login_id: UUID
    address: Text | None
    reconnect_token: Text | None


class Wanted(BaseModel):
    """A look-up of a session, by its id or by its reconnect token."""

    session_id: UUID | None = None
    token: UUID | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.session_id is None and self.token is None:
            raise ValueError("a look-up needs the id or the token of a session")
        return self


class Surveyed(BaseModel):
    """A request for the figures of sessions that the receiver may hold."""

    session_ids: Annotated[tuple[UUID, ...], Field(max_length=1000)]


class Withdrawn(BaseModel):
    """A withdrawal of access: of some log-ins, of terminals, or of all access."""

    user_id: UUID
    what: Literal["access", "all log-ins", "terminals", "logins", "nothing"]
    login_ids: Annotated[tuple[UUID, ...], Field(max_length=10_000)] = ()


class RoleChanged(BaseModel):
    """What a role permits was changed."""

    name: str


Form = TypeVar("Form", bound=BaseModel)
FormOfSession = TypeVar("FormOfSession", bound=OfSession)


def read(form: type[Form], claims: Any) -> Form:
    """The claims as `form`. Raises MalformedClaims, which names the first wrong member."""
    try:
        return form.model_validate(claims)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        member = ".".join(map(str, first["loc"]))
        # Not chained: the cause contains the values, which may be secret.
        raise MalformedClaims(f"the claims of the peer are malformed: {member or 'claims'}: {first['msg']}") from None
