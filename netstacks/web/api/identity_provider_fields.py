"""The members of an identity provider that administrators set, and what is accepted as each of them."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from netstacks.errors import InvalidInput
from netstacks.urls import Origin
from netstacks.web.auth import oidc_http
from netstacks.web.http.fields import Name, OptionalText

_WELL_KNOWN = "/.well-known/openid-configuration"
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")


def _issuer(text: str) -> str:
    """An issuer as the provider writes it. The address of its discovery document is accepted too."""
    text = text.removesuffix(_WELL_KNOWN)
    if "?" in text or "#" in text:
        raise ValueError("must have no '?' and no '#'")
    try:
        return oidc_http.check_url(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def _scopes(text: str) -> str:
    names = list(dict.fromkeys(text.split()))
    if "openid" not in names or not all(_SCOPE.fullmatch(name) for name in names):
        raise ValueError("must be names with spaces between them, and openid one of them")
    return " ".join(names)


def _origins(texts: list[str]) -> list[str]:
    """Origins as browsers write them in the header Origin, each once."""
    try:
        return list(dict.fromkeys(str(Origin.parse(text.removesuffix("/"))) for text in texts))
    except InvalidInput as error:
        raise ValueError(f"each {error}") from None


Issuer = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000), AfterValidator(_issuer)]
Scopes = Annotated[str, StringConstraints(max_length=500), AfterValidator(_scopes)]
ClaimName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[\x21-\x7e]*$")]
Secret = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
_Origin = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Origins = Annotated[list[_Origin], Field(min_length=1, max_length=50), AfterValidator(_origins)]


class Facts(BaseModel):
    """The members of a provider. An empty secret keeps the stored one, so that a form can leave the field empty.

    Without `origins` a new provider has that of the page, and another one keeps its own.
    """

    name: Name
    issuer: Issuer
    client_id: Name
    client_secret: Secret | None = ""
    scopes: Scopes = "openid profile email"
    username_claim: Annotated[ClaimName, StringConstraints(min_length=1)] = "preferred_username"
    email_claim: ClaimName = "email"
    groups_claim: ClaimName = "groups"
    origins: Origins | None = None
    default_role: OptionalText = None
    enabled: bool = True

    def facts(self) -> dict[str, Any]:
        """The members that are stored in the provider's row; without `origins` when there are none."""
        facts = self.model_dump(exclude={"client_secret", "version"})
        return {name: value for name, value in facts.items() if name != "origins" or value}


class Change(Facts):
    """`version` is that of the provider when the form was filled; a secret of null removes the stored one."""

    version: int
