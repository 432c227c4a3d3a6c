"""Requests to an identity provider: which addresses are allowed, and what is said when it cannot be reached."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netstacks.errors import InvalidInput
from netstacks.web.auth import oidc_http
from netstacks.web.auth.oidc_errors import ProviderUnavailable
from tests.certificates import Authority
from tests.oidc_provider import OidcProvider
from tests.ports import free_port

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def fresh_tls() -> Iterator[None]:
    oidc_http._tls.cache_clear()
    yield
    oidc_http._tls.cache_clear()


def test_the_certificate_of_a_known_authority_is_accepted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    with OidcProvider(authority.issue("127.0.0.1")) as provider:
        assert oidc_http.get(provider.issuer + DISCOVERY).members["issuer"] == provider.issuer


def test_another_certificate_is_refused_and_named(authority: Authority) -> None:
    with OidcProvider(authority.issue("127.0.0.1")) as provider:
        with pytest.raises(ProviderUnavailable, match="Its certificate is not accepted: unable to get local issuer"):
            oidc_http.get(provider.issuer + DISCOVERY)
        assert provider.requests == []


def test_the_certificate_of_another_address_is_refused(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    refusal = pytest.raises(ProviderUnavailable, match="Its certificate is not accepted: IP address mismatch")
    with OidcProvider(authority.issue("192.0.2.1")) as provider, refusal:
        oidc_http.get(provider.issuer + DISCOVERY)


def test_a_closed_port_is_named() -> None:
    with pytest.raises(ProviderUnavailable, match="It refuses connections"):
        oidc_http.get(f"http://127.0.0.1:{free_port()}{DISCOVERY}")


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(ProviderUnavailable, match="do not know its name"):
        oidc_http.get(f"https://nowhere.invalid{DISCOVERY}")


@pytest.mark.parametrize("url", ["https://login.example.net/token?p=b2c", "https://[2001:db8::1]:8443/x"])
def test_https_is_accepted(url: str) -> None:
    assert oidc_http.check_url(url, of_issuer="https://login.example.net") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.net/token",
        "http://127.0.0.1.example.net",
        "http://2130706433",
        "https://a,b",
        "https://",
        "https://login.example.net/\r\nx",
        "ftp://login.example.net",
        "",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        oidc_http.check_url(url)


def test_a_provider_elsewhere_names_no_address_of_this_host() -> None:
    """The controller would send its client secret there."""
    assert oidc_http.check_url("http://127.0.0.1:1/token", of_issuer="http://localhost:1")
    with pytest.raises(InvalidInput):
        oidc_http.check_url("http://127.0.0.1:1/token", of_issuer="https://login.example.net")
