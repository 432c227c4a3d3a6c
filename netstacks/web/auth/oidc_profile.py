"""What the claims of an identity provider say about a user: name, profile and groups, and the role of the groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netstacks.store.identity_providers import GroupMapping, IdentityProvider
from netstacks.terminal.plain_text import plain
from netstacks.web.auth.oidc_errors import SsoRefused
from netstacks.web.auth.oidc_flow import claim

_MAX_GROUPS = 5_000


@dataclass(frozen=True)
class ExternalProfile:
    """A user at the provider. `subject` identifies the user there; all else may change with each log-in."""

    subject: str
    username: str
    email: str | None
    display_name: str | None
    groups: frozenset[str]


def profile_of(provider: IdentityProvider, claims: dict[str, Any]) -> ExternalProfile:
    """Raises SsoRefused when the claims name no user."""
    username = _text(claim(claims, provider.username_claim), 64)
    if username is None:
        raise SsoRefused(
            "no_username",
            f"{provider.name} sent no user name: its claim {provider.username_claim} is missing, longer than 64"
            " characters or no text.",
        )
    email = _text(claim(claims, provider.email_claim), 254) if provider.email_claim else None
    # An address that its owner has not confirmed may be that of another person.
    if email is not None and ("@" not in email or claims.get("email_verified") is False):
        email = None
    groups = claim(claims, provider.groups_claim) if provider.groups_claim else None
    return ExternalProfile(claims["sub"], username, email, _text(claims.get("name"), 128), _groups(groups))


def role_of(provider: IdentityProvider, mappings: Sequence[GroupMapping], groups: frozenset[str]) -> str | None:
    """The role of the first mapping whose group the user has, else the default role, which may be none."""
    return next((each.role for each in mappings if each.group_name in groups), provider.default_role)


def _groups(value: Any) -> frozenset[str]:
    """The groups of a list or of a single text; anything else counts as none."""
    given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(each for each in given[:_MAX_GROUPS] if isinstance(each, str))


def _text(value: Any, longest: int) -> str | None:
    """A text that can be stored and shown; None for anything else."""
    if not isinstance(value, str) or not (text := value.strip()) or len(text) > longest:
        return None
    try:
        text.encode()  # Raises for a lone surrogate.
    except ValueError:
        return None
    return text if plain(text) == text and "\0" not in text else None
