"""Members that several request bodies have in common."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Host = Annotated[str, StringConstraints(max_length=255)]
Port = Annotated[int, Field(ge=1, le=65535)]
Description = Annotated[str | None, Field(max_length=2000)]

# Forms send an empty text for "none".
OptionalText = Annotated[
    str | None, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(lambda text: text or None)
]
OptionalHost = Annotated[str | None, StringConstraints(max_length=255), AfterValidator(lambda text: text or None)]
OptionalPort = Annotated[Port | None, BeforeValidator(lambda value: None if value == "" else value)]
