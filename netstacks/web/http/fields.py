"""Types of members that several request bodies and query strings share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from netstacks.terminal.plain_text import plain


def _printable(text: str) -> str:
    if plain(text) != text:
        raise ValueError("must not contain control characters: terminals execute them")
    return text


Tag = Annotated[str, StringConstraints(max_length=200)]
Tags = Annotated[list[Tag], Field(max_length=100)]

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]
Host = Annotated[str, StringConstraints(max_length=255)]
Port = Annotated[int, Field(ge=1, le=65535)]
# Clients that send none are not checked.
Seen = Annotated[
    int | None, Field(ge=0, description="The version that the change is based on. When it is old, the answer is 409.")
]
Description = Annotated[str | None, Field(max_length=2000)]


def _in_reach(at: datetime) -> datetime:
    """Restricts the year, so that neither an added day nor a time zone leaves the range of `datetime`."""
    if not 1970 <= at.year < 9999:
        raise ValueError("must be after 1970 and before 9999")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# Times without a zone are UTC.
Moment = Annotated[datetime, AfterValidator(_in_reach)]

# Forms send an empty text for "none".
OptionalText = Annotated[
    str | None, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(lambda text: text or None)
]
OptionalHost = Annotated[
    str | None, StringConstraints(strip_whitespace=True, max_length=255), AfterValidator(lambda text: text or None)
]
OptionalPort = Annotated[Port | None, BeforeValidator(lambda value: None if value == "" else value)]


class SeenVersion(BaseModel):
    """The query string of a deletion."""

    version: Seen = None
