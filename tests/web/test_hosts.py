"""One host however it is written: devices, definitions, host keys, credentials and pages agree on its form."""

from urllib.parse import quote

import pytest

from tests.web.conftest import Api
from tests.web.test_hostkeys import KEY

SPELLINGS = [
    ("münchen.example", "MÜNCHEN.example.", "xn--mnchen-3ya.example"),
    ("fe80:0::1%eth0", "[FE80::1%eth0]", "fe80::1%eth0"),
    ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
]


@pytest.mark.parametrize(("typed", "otherwise", "stored"), SPELLINGS)
def test_every_resource_stores_the_same_form(admin: Api, typed: str, otherwise: str, stored: str) -> None:
    credential = {"name": "c", "credential_type": "ssh_password", "username": "u", "secret": "s"}
    for path, body in (
        ("/api/devices", {"name": "r1"}),
        ("/api/session-definitions", {"name": "r1"}),
        ("/api/host-keys", {"public_key": KEY}),
        ("/api/credentials", credential),
    ):
        for host in (typed, otherwise, stored):
            answer = admin.post(path, json=body | {"host": host})
            assert (answer.status_code, answer.json["host"]) == (201, stored), answer.text
    (key,) = admin.get("/api/host-keys").json
    assert key["host"] == stored


@pytest.mark.parametrize(("typed", "otherwise", "stored"), SPELLINGS)
def test_a_host_key_is_forgotten_by_any_spelling(admin: Api, typed: str, otherwise: str, stored: str) -> None:
    for host in (typed, otherwise, stored):
        admin.post("/api/host-keys", json={"host": stored, "public_key": KEY})
        assert admin.delete(f"/api/host-keys/{quote(host, safe='')}/22").status_code == 204


@pytest.mark.parametrize("host", ["fe80::1%eth0/../x", "2001:db8::1%eth0", "straße.example", "127.1", "0x7f000001"])
def test_a_host_that_leads_elsewhere_is_refused_in_words(admin: Api, host: str) -> None:
    answer = admin.post("/api/devices", json={"name": "r1", "host": host})
    assert answer.status_code == 422
    assert answer.json["error"].startswith("host: ")


def test_a_page_shows_a_name_in_its_own_letters_and_finds_it_by_both_forms(page: Api) -> None:
    page.post("/api/devices", json={"name": "r1", "host": "münchen.example", "port": 2222})
    for query in ("MÜNCHEN", "xn--mnchen", "example"):
        assert "<code>münchen.example:2222</code>" in page.get(f"/?q={quote(query)}").text
    assert "No device matches" in page.get("/?q=" + quote("köln")).text


def test_a_blank_address_of_a_credential_is_none(admin: Api) -> None:
    body = {"name": "c", "credential_type": "ssh_password", "username": "u", "secret": "s", "host": "  "}
    assert admin.post("/api/credentials", json=body).json["host"] is None
