"""The authorization code flow with PKCE: the way to the provider, and the claims that the user comes back with.

What a log-in needs on its way back is in a signed cookie of the browser that has begun it, so that any instance can
finish it, and no other browser. The code verifier and the nonce are derived from the state by a secret of the
instances: the cookie shows neither.
"""

import base64
import hmac
import secrets
import time
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

from netstacks.store.identity_providers import IdentityProvider
from netstacks.web.auth import oidc_http, oidc_tokens, signed_texts
from netstacks.web.auth.oidc_directory import Metadata, OidcDirectory
from netstacks.web.auth.oidc_errors import ProviderUnavailable, SsoRefused, UnknownKey
from netstacks.web.auth.oidc_tokens import Expected
from netstacks.web.auth.tokens import Tokens

_PURPOSE = "sso-flow"


@dataclass(frozen=True)
class Flow:
    """A log-in that was begun. `next` is the path that the user gets to after it."""

    state: str
    provider_id: str
    redirect_uri: str
    next: str

    @classmethod
    def begin(cls, provider_id: UUID, redirect_uri: str, next_path: str) -> "Flow":
        return cls(secrets.token_urlsafe(24), str(provider_id), redirect_uri, next_path)

    def verifier(self, tokens: Tokens) -> str:
        """The code verifier of PKCE: 64 characters (RFC 7636, section 4.1)."""
        return tokens.sign(f"sso-verifier:{self.state}")

    def nonce(self, tokens: Tokens) -> str:
        return tokens.sign(f"sso-nonce:{self.state}")[:32]


def cookie_of(tokens: Tokens, flow: Flow) -> str:
    return signed_texts.issue(tokens, _PURPOSE, asdict(flow))


def flow_of(tokens: Tokens, value: str, state: str) -> Flow | None:
    """The log-in of a cookie; None when it has another state, has expired, or is not signed by this cluster."""
    signed = signed_texts.read(tokens, _PURPOSE, value)
    if signed is None:
        return None
    flow = Flow(**{each.name: signed.content[each.name] for each in fields(Flow)})
    return flow if hmac.compare_digest(flow.state.encode(), state.encode(errors="replace")) else None


def authorization_url(tokens: Tokens, provider: IdentityProvider, metadata: Metadata, flow: Flow) -> str:
    """The address at the provider where the user logs in."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    url: str = prepare_grant_uri(
        metadata.authorization_endpoint,
        provider.client_id,
        "code",
        redirect_uri=flow.redirect_uri,
        scope=provider.scopes,
        state=flow.state,
        nonce=flow.nonce(tokens),
        code_challenge=create_s256_code_challenge(flow.verifier(tokens)),
        code_challenge_method="S256",
    )
    return url


@dataclass(frozen=True)
class CodeExchange:
    """The second half of a log-in at a provider. `secret` is None for a public client."""

    directory: OidcDirectory
    tokens: Tokens
    provider: IdentityProvider
    secret: str | None
    flow: Flow

    def claims(self, code: str, issuer: str | None) -> dict[str, Any]:
        """The claims about the user for the code that the provider has sent. Raises SsoRefused.

        `issuer` is the one that the answer of the provider names, if any (RFC 9207).
        """
        metadata = self.directory.metadata(self.provider)
        if (issuer is not None or metadata.sends_issuer) and issuer != self.provider.issuer:
            raise SsoRefused("wrong_issuer", "The answer came from another identity provider than the one asked.")
        answer = self._exchange(metadata, code)
        access_token = answer.get("access_token")
        expected = Expected(
            self.provider.issuer,
            self.provider.client_id,
            self.flow.nonce(self.tokens),
            access_token if isinstance(access_token, str) else None,
        )
        claims = self._read(answer.get("id_token"), expected)
        return self._with_userinfo(metadata, claims, expected.access_token)

    def _exchange(self, metadata: Metadata, code: str) -> dict[str, Any]:
        from authlib.common.urls import url_decode
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        body = prepare_token_request(
            "authorization_code",
            code=code,
            redirect_uri=self.flow.redirect_uri,
            code_verifier=self.flow.verifier(self.tokens),
        )
        form, headers = dict(url_decode(body)), {}
        if self.secret is None:
            form["client_id"] = self.provider.client_id
        elif metadata.sends_secret_as_header:
            # Not by Authlib, which leaves out the encoding that RFC 6749, section 2.3.1, requires.
            pair = f"{quote_plus(self.provider.client_id)}:{quote_plus(self.secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.provider.client_id, "client_secret": self.secret}
        answer = oidc_http.post(metadata.token_endpoint, form, headers)
        if answer.status != 200 or "error" in answer.members:
            named = word(answer.members.get("error"))
            raise SsoRefused(
                "code_refused",
                f"The identity provider refused the code of this log-in ({named or answer.status}). Log in again.",
            )
        return answer.members

    def _read(self, id_token: object, expected: Expected) -> dict[str, Any]:
        keys = self.directory.keys(self.provider)
        try:
            return oidc_tokens.read(id_token, keys, expected, time.time())
        except UnknownKey:
            keys = self.directory.keys(self.provider, is_unknown=True)
            return oidc_tokens.read(id_token, keys, expected, time.time())

    def _with_userinfo(self, metadata: Metadata, claims: dict[str, Any], access_token: str | None) -> dict[str, Any]:
        """The claims, with those of the userinfo endpoint if the ID token lacks one that this controller reads."""
        provider = self.provider
        wanted = filter(None, (provider.username_claim, provider.email_claim, provider.groups_claim))
        is_complete = all(claim(claims, each) is not None for each in wanted)
        if is_complete or metadata.userinfo_endpoint is None or not access_token or not access_token.isprintable():
            return claims
        headers = {"authorization": f"Bearer {access_token.encode('ascii', 'replace').decode()}"}
        answer = oidc_http.get(metadata.userinfo_endpoint, headers)
        if answer.status != 200:
            raise ProviderUnavailable(f"It answered {answer.status} to the request for facts about the user.")
        if answer.members.get("sub") != claims["sub"]:
            raise SsoRefused("wrong_userinfo", "The identity provider sent facts about another user.")
        return {**answer.members, **claims}


def claim(claims: dict[str, Any], name: str) -> Any:
    """The value of a claim, by its name or by a path such as `realm_access.roles`; None when there is none."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def word(text: object) -> str:
    """An error code of OAuth; empty for anything that is not one. Texts of a provider are not shown."""
    is_code = isinstance(text, str) and len(text) <= 64 and text.replace("_", "").replace(".", "").isalnum()
    return str(text) if is_code and str(text).isascii() else ""


def of_provider(provider: IdentityProvider, error: ProviderUnavailable) -> ProviderUnavailable:
    """The error with the name of the provider, of which its text speaks as `it`."""
    return ProviderUnavailable(f"{provider.name} cannot be used for the log-in now. {error}")
