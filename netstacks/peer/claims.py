"""What the claims of each request between instances must be, checked by the instance that is asked.

They are signed, and may be malformed all the same: another version of this program has written them. Members that are
not known here are ignored.
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
# As PostgreSQL stores it.
Epoch = Annotated[int, Field(ge=1, lt=2**31)]


class Nothing(BaseModel):
    """The question alone."""


class OfSession(BaseModel):
    """About a session that the instance holds at `epoch`."""

    epoch: Epoch


class Ending(OfSession):
    """The end of a session. An instance of a former version asks with `only_detached` at the path of all ends."""

    reason: Text
    only_detached: bool = False


class EndingViews(OfSession):
    """The end of the views of one share, of one viewer, or of all."""

    reason: Text
    share_id: Text | None = None
    viewer_id: Text | None = None


class _Visitor(BaseModel):
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
            raise ValueError("a viewer comes by a share, with its limits")
        if self.kind == "control" and self.user_id is None:
            raise ValueError("a terminal has a user")
        return self


class ForPrincipal(OfSession):
    """Somebody who is brought to a session."""

    visitor: _Visitor

    def who(self) -> PeerPrincipal:
        given = self.visitor.model_dump()
        return PeerPrincipal(**given | {"share_id": str(self.visitor.share_id) if self.visitor.share_id else None})


class HandedOn(BaseModel):
    """A client that would wait for long at the instance that asks; that one has verified its access token."""

    user_id: UUID
    username: Text
    role: Text
    login_id: UUID
    address: Text | None
    reconnect_token: Text | None


class Wanted(BaseModel):
    """A session that is looked for, by its id or by its reconnect token."""

    session_id: UUID | None = None
    token: UUID | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.session_id is None and self.token is None:
            raise ValueError("a session is looked for by its id or its token")
        return self


class Withdrawn(BaseModel):
    """Access that a user has no longer: by these log-ins, to terminals, or at all."""

    user_id: UUID
    what: Literal["access", "all log-ins", "terminals", "logins", "nothing"]
    login_ids: Annotated[tuple[UUID, ...], Field(max_length=10_000)] = ()


Form = TypeVar("Form", bound=BaseModel)
FormOfSession = TypeVar("FormOfSession", bound=OfSession)


def read(form: type[Form], claims: Any) -> Form:
    """The claims as `form`. Raises MalformedClaims, which names the first wrong member."""
    try:
        return form.model_validate(claims)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        member = ".".join(map(str, first["loc"]))
        # Not chained: the cause shows the values.
        raise MalformedClaims(f"what the peer says is malformed: {member or 'all of it'}: {first['msg']}") from None
