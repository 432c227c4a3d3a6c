"""Verification of an ID token: signature, issuer, audience, times, nonce and the hash of the access token."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netstacks.web.auth.oidc_errors import SsoRefused, UnknownKey

if TYPE_CHECKING:
    from joserfc.jwk import Key

# How far the clocks of provider and controller may differ.
LEEWAY_SECS = 60
# Signatures with public keys only: with `none`, or with a public key as the secret of HS256, anyone can sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_KEY_TYPES = ("RSA", "EC", "OKP")
_MAX_KEYS = 100
_MAX_CHARACTERS = 128 * 1024

_WRONG = {
    "iss": "it names another issuer",
    "aud": "it is for another application (aud)",
    "azp": "it is for another application (azp)",
    "exp": "it has expired, or the clocks of provider and controller differ by more than a minute",
    "iat": "it is from the future: the clocks of provider and controller differ by more than a minute",
    "nbf": "it is not valid yet: the clocks of provider and controller differ by more than a minute",
    "nonce": "it belongs to another log-in (nonce)",
    "at_hash": "it belongs to another access token (at_hash)",
    "sub": "it names no subject",
}


@dataclass(frozen=True)
class Expected:
    """What an ID token must say. `access_token` came with it, None when none did."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str | None


def public_keys(key_set: dict[str, Any]) -> list["Key"]:
    """The keys of a JWKS that may sign. Keys of unknown types are ignored (RFC 7517, section 5)."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    found = []
    entries = key_set.get("keys")
    for entry in entries[:_MAX_KEYS] if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("kty") in _KEY_TYPES and entry.get("use", "sig") == "sig":
            try:
                found.append(JWKRegistry.import_key(entry))
            except (JoseError, ValueError, TypeError, KeyError):
                continue
    return found


def read(token: object, keys: Sequence["Key"], expected: Expected, now: float) -> dict[str, Any]:
    """The claims of a valid token. Raises UnknownKey when `keys` lacks its key, SsoRefused when it is invalid."""
    from authlib.oidc.core.claims import CodeIDToken
    from joserfc.errors import ClaimError, JoseError

    if not isinstance(token, str) or not token.isascii() or len(token) > _MAX_CHARACTERS:
        raise _refusal("there is none")
    header, claims = _verified(token, keys)
    options: dict[str, Any] = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
    }
    params = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token}
    try:
        CodeIDToken(claims, header, options, params).validate(int(now), LEEWAY_SECS)
    except ClaimError as error:
        raise _refusal(_WRONG.get(error.claim, f"its claim {error.claim} is missing or wrong")) from error
    # A claim of another type than Authlib expects.
    except (JoseError, TypeError, ValueError, AttributeError) as error:
        raise _refusal("its claims cannot be read") from error
    subject = claims["sub"]
    # Neither NUL nor half a surrogate pair can be stored.
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise _refusal(_WRONG["sub"])
    return claims


def _verified(token: str, keys: Sequence["Key"]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a signed token. Several keys are tried only when the token does not name one."""
    from joserfc import jwt
    from joserfc.errors import BadSignatureError, JoseError

    header = _header(token)
    if header.get("alg") not in ALGORITHMS:
        raise _refusal("its signature algorithm is not one of " + ", ".join(ALGORITHMS))
    kid = header.get("kid")
    candidates = [key for key in keys if kid is None or key.kid == kid]
    if not candidates:
        raise UnknownKey
    for key in candidates:
        try:
            decoded = jwt.decode(token, key, algorithms=list(ALGORITHMS))
        except BadSignatureError:
            continue
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            if kid is None:
                continue
            raise _refusal("it cannot be read with the key that it names") from error
        return dict(decoded.header), decoded.claims
    if kid is None:
        raise UnknownKey
    raise _refusal("its signature is wrong")


def _header(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise _refusal("it is not a signed token")
    return header


def _refusal(why: str) -> SsoRefused:
    return SsoRefused("invalid_id_token", f"The ID token of the identity provider was refused: {why}.")
