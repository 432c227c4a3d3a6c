"""What this instance knows of the identity providers: discovery documents and keys, cached for a limited time."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cachetools import LRUCache

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.store.identity_providers import IdentityProvider
from netstacks.web.auth import oidc_http, oidc_tokens
from netstacks.web.auth.oidc_errors import ProviderUnavailable
from netstacks.web.auth.password_checks import PasswordChecks

if TYPE_CHECKING:
    from joserfc.jwk import Key

FRESH_SECS = 3600.0
# An unknown key makes this instance read the keys again, at most this often: anyone can send a token with any key id.
KEYS_AGAIN_SECS = 60.0
# A provider that has failed is not asked again for this time.
FAILED_SECS = 5.0
# The age of what the log-in page is told, and of what a log-in begins with: a browser must not be sent to a provider
# that does not answer. The page waits for a newer answer for a short time.
CHECKED_SECS = 30.0
_CHECK_WAIT_SECS = 2.0
_MAX_PROVIDERS = 50
# What the functions of single sign-on import. Each of its requests begins with the metadata of a provider.
_LIBRARIES = (
    "authlib.oidc.core.claims",
    "authlib.oidc.discovery",
    "authlib.oauth2.rfc6749.parameters",
    "authlib.oauth2.rfc7636",
    "joserfc.jwt",
)


@dataclass(frozen=True)
class Metadata:
    """The parts of a discovery document that a log-in needs."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    sends_secret_as_header: bool
    """Whether the client secret is sent by `client_secret_basic`, else by `client_secret_post`."""
    sends_issuer: bool
    """Whether each answer of the authorization endpoint names the issuer (RFC 9207)."""


@dataclass
class _Known:
    metadata: Metadata | None = None
    metadata_at: float = -math.inf
    keys: Sequence["Key"] | None = None
    keys_at: float = -math.inf
    problem: str | None = None
    """Why the last request has failed; None when it has succeeded."""
    asked_at: float = -math.inf
    running: dict[str, "greenlets.AsyncResult[Any]"] = field(default_factory=dict)
    """Requests in progress: concurrent callers wait for the same answer."""


class OidcDirectory:
    """The providers as this instance has last seen them. A change of a provider (its `version`) discards its entry."""

    def __init__(self) -> None:
        self._known: LRUCache[tuple[UUID, int], _Known] = LRUCache(_MAX_PROVIDERS)
        self.exchanges = PasswordChecks()
        """Limits the log-ins that wait for a provider: apart from those by password, which a slow provider must not
        delay."""

    def metadata(self, provider: IdentityProvider, *, max_age_secs: float = FRESH_SECS, anew: bool = False) -> Metadata:
        """The discovery document; `anew` reads it even where the last attempt has just failed.

        Raises ProviderUnavailable.
        """
        greenlets.import_in_thread(*_LIBRARIES)
        known = self._entry(provider)
        if known.metadata is None or anew or time.monotonic() - known.metadata_at >= max_age_secs:
            known.metadata = self._ask(known, "metadata", lambda: _read_metadata(provider), anew)
            known.metadata_at = time.monotonic()
        return known.metadata

    def keys(self, provider: IdentityProvider, *, is_unknown: bool = False, anew: bool = False) -> Sequence["Key"]:
        """The public keys; `is_unknown` says that the last ones lack one. Raises ProviderUnavailable."""
        known = self._entry(provider)
        age_secs = time.monotonic() - known.keys_at
        if known.keys is None or anew or age_secs >= (KEYS_AGAIN_SECS if is_unknown else FRESH_SECS):
            metadata = self.metadata(provider)
            known.keys = self._ask(known, "keys", lambda: _read_keys(metadata), anew)
            known.keys_at = time.monotonic()
        return known.keys

    def problems(self, providers: Sequence[IdentityProvider]) -> list[str | None]:
        """For each provider, why users cannot log in by it now; None when it answers, or that is not known in time.

        Waits for at most _CHECK_WAIT_SECS, however many providers do not answer.
        """
        entries = [self._entry(provider) for provider in providers]
        checks = [
            greenlets.spawn("oidc-check", self._check, provider)
            for provider, known in zip(providers, entries, strict=True)
            if time.monotonic() - known.asked_at >= CHECKED_SECS
        ]
        greenlets.joinall(checks, _CHECK_WAIT_SECS)
        return [known.problem for known in entries]

    def _check(self, provider: IdentityProvider) -> None:
        with suppress(ProviderUnavailable):  # `problem` says so.
            self.metadata(provider, max_age_secs=CHECKED_SECS)

    def _entry(self, provider: IdentityProvider) -> _Known:
        return self._known.setdefault((provider.id, provider.version), _Known())

    def _ask(self, known: _Known, what: str, load: Callable[[], Any], anew: bool) -> Any:
        """The result of `load`, of which one runs at a time. A failure is repeated for FAILED_SECS."""
        if known.problem and not anew and time.monotonic() - known.asked_at < FAILED_SECS:
            raise ProviderUnavailable(known.problem)
        # No yield between the check and the insert: two callers would both ask.
        if (running := known.running.get(what)) is not None:
            return running.get()
        running = known.running[what] = greenlets.AsyncResult()
        try:
            answer = load()
        except BaseException as error:
            known.problem = str(error) if isinstance(error, ProviderUnavailable) else None
            running.set_exception(error)
            raise
        else:
            known.problem = None
            running.set(answer)
        finally:
            known.asked_at = time.monotonic()
            del known.running[what]
        return answer


def _read_metadata(provider: IdentityProvider) -> Metadata:
    from authlib.oidc.discovery import get_well_known_url

    answer = oidc_http.get(get_well_known_url(provider.issuer, external=True))
    document = answer.members
    if answer.status != 200:
        raise ProviderUnavailable(f"It answered {answer.status} to the request for its discovery document.")
    if document.get("issuer") != provider.issuer:
        named = document.get("issuer")
        known = f" as {named[:200]}" if isinstance(named, str) and named.isascii() and named.isprintable() else ""
        raise ProviderUnavailable(f"Its discovery document names another issuer{known}.")
    methods = document.get("code_challenge_methods_supported", ["S256"])
    if not isinstance(methods, list) or "S256" not in methods:
        raise ProviderUnavailable("It does not support PKCE with S256.")
    auth_methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    is_basic = not isinstance(auth_methods, list) or "client_secret_basic" in auth_methods
    endpoints = {name: _endpoint(provider, document, name, name in _REQUIRED) for name in (*_REQUIRED, *_OPTIONAL)}
    return Metadata(
        **endpoints,  # type: ignore[arg-type]
        sends_secret_as_header=is_basic,
        sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


_REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_OPTIONAL = ("userinfo_endpoint", "end_session_endpoint")


def _endpoint(provider: IdentityProvider, document: dict[str, Any], name: str, is_required: bool) -> str | None:
    url = document.get(name)
    if url is None and not is_required:
        return None
    try:
        return oidc_http.check_url(url if isinstance(url, str) else "", of_issuer=provider.issuer)
    except InvalidInput as error:
        raise ProviderUnavailable(f"Its {name} {error}.") from None


def _read_keys(metadata: Metadata) -> Sequence["Key"]:
    answer = oidc_http.get(metadata.jwks_uri)
    keys = oidc_tokens.public_keys(answer.members) if answer.status == 200 else []
    if not keys:
        raise ProviderUnavailable("It publishes no key that this controller can use.")
    return keys
