"""The first use of a large library does not block the event loop: a thread imports it."""

import importlib.abc
import sys
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask import Flask

from netstacks import greenlets
from netstacks.web.auth import oidc_flow, oidc_tokens, parts, passkeys
from netstacks.web.auth.oidc_directory import Metadata, OidcDirectory
from netstacks.web.auth.oidc_errors import ProviderUnavailable, SsoRefused
from netstacks.web.auth.oidc_flow import Flow
from netstacks.web.auth.oidc_tokens import Expected
from netstacks.web.auth.passkeys import Asked
from netstacks.web.auth.tokens import Tokens
from tests.patched import patched

TOKENS = Tokens("5e" * 32)


class Imports(importlib.abc.MetaPathFinder):
    """The modules of some libraries by whether the thread of the event loop imports them."""

    def __init__(self, *libraries: str) -> None:
        self._libraries = libraries
        self._loop = greenlets.thread_id()
        self.by_loop: list[str] = []
        self.by_others: list[str] = []
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in self._libraries:
            (self.by_loop if greenlets.thread_id() == self._loop else self.by_others).append(name)


@patched
def test_passkeys() -> None:
    imports = Imports("webauthn")
    app = Flask("test")
    parts.install(app, cast(Any, SimpleNamespace(tokens=TOKENS, allowed_origins=[])))
    with app.test_request_context(headers={"Origin": "http://localhost"}):
        assert passkeys.request_options(passkeys.required_site(), Asked("test"))["challenge"]
    assert "webauthn" in imports.by_others
    assert imports.by_loop == []


@patched
def test_single_sign_on() -> None:
    imports = Imports("authlib", "joserfc")
    issuer = "http://127.0.0.1:1"
    provider: Any = SimpleNamespace(id=uuid.uuid4(), version=1, issuer=issuer, client_id="us", scopes="openid")
    with pytest.raises(ProviderUnavailable):
        OidcDirectory().metadata(provider)
    flow = Flow.begin(provider.id, "http://localhost/callback", "/")
    metadata = Metadata(f"{issuer}/authorize", f"{issuer}/token", f"{issuer}/keys", None, None, True, True)
    assert oidc_flow.authorization_url(TOKENS, provider, metadata, flow).startswith(issuer)
    with pytest.raises(ProviderUnavailable):
        oidc_flow.CodeExchange(OidcDirectory(), TOKENS, provider, None, flow)._exchange(metadata, "code")
    assert oidc_tokens.public_keys({"keys": [{"kty": "RSA"}]}) == []
    with pytest.raises(SsoRefused):
        oidc_tokens.read("a.b.c", [], Expected(issuer, "us", "nonce", None), 0.0)
    assert {"authlib", "joserfc"} <= set(imports.by_others)
    assert imports.by_loop == []
