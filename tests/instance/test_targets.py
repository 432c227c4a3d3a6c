"""The target of a client's request: a stored address only, in any spelling."""

import uuid
from dataclasses import replace

import pytest

from netstacks.errors import InvalidInput, NotFound
from netstacks.instance.targets import ConnectRequest, resolve, secret_for
from netstacks.permissions import EVERYWHERE, Reach
from netstacks.store import credentials, definitions, devices, users
from netstacks.store.audit import Actor
from netstacks.store.credentials import Secrets
from netstacks.store.pool import Database, Transaction
from netstacks.store.vault import Vault


def connect_request(target: str | None, host: str | None, credential_id: uuid.UUID | None = None) -> ConnectRequest:
    actor = Actor("ana", uuid.uuid4(), "192.0.2.9")
    return ConnectRequest(
        actor=actor, credential_id=credential_id, target=target, host=host, port=22, term="xterm", cols=80, rows=24
    )


@pytest.fixture
def vault(database: Database) -> Vault:
    vault = Vault(database, "5e" * 32)
    vault.unlock()
    return vault


def limited(tx: Transaction, vault: Vault, host: str | None, port: int | None = None) -> uuid.UUID:
    """A shared credential for that address only."""
    credential = credentials.create(
        tx, vault, Secrets("s3cret"), name="core", credential_type="ssh_password", username="ana", host=host, port=port
    )
    return credential.id


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "MÜNCHEN.example"),
        ("fe80::1%eth0", "[FE80:0::1%eth0]"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_device_is_reached_by_any_spelling_of_its_address(database: Database, stored: str, named: str) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host=stored)
        assert resolve(tx, connect_request(f"device-{device.id}", named), within=EVERYWHERE).device_id == device.id
        assert resolve(tx, connect_request(None, named), within=EVERYWHERE).device_id == device.id


def test_another_zone_is_another_address(database: Database) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="fe80::1%eth0")
        with pytest.raises(NotFound, match="r1 is at"):
            resolve(tx, connect_request(f"device-{device.id}", "fe80::1%eth1"), within=EVERYWHERE)
        with pytest.raises(NotFound, match="no device is stored"):
            resolve(tx, connect_request(None, "fe80::1%ETH0"), within=EVERYWHERE)


def test_a_host_that_is_none_is_told(database: Database) -> None:
    with database.transaction() as tx, pytest.raises(InvalidInput, match="neither a host name nor an IP address"):
        resolve(tx, connect_request(None, "r1 or r2"), within=EVERYWHERE)


def test_no_way_of_naming_a_device_gets_it_a_credential_for_another_address(database: Database, vault: Vault) -> None:
    with database.transaction() as tx:
        here, there = limited(tx, vault, "192.0.2.1"), limited(tx, vault, "192.0.2.2")
        device = devices.create(tx, name="r1", host="192.0.2.1", default_credential_id=there)
        ana = users.create(tx, username="ana", password_hash="-", role="operator")
        definition = definitions.create(
            tx, created_by=ana.id, name="r1", host="192.0.2.1", port=22, credential_override_id=there
        )
        for target, host in ((f"device-{device.id}", None), (str(definition.id), None), (None, "::ffff:192.0.2.1")):
            # The client's choice (docs/protocol.md), or the device's default.
            for chosen in (there, None):
                asked = connect_request(target, host, chosen)
                with pytest.raises(InvalidInput, match=r"core is only for 192\.0\.2\.2"):
                    secret_for(tx, vault, asked, resolve(tx, asked, within=EVERYWHERE), within=EVERYWHERE)
            asked = connect_request(target, host, here)
            assert (
                secret_for(tx, vault, asked, resolve(tx, asked, within=EVERYWHERE), within=EVERYWHERE)[1].password
                == "s3cret"
            )


def test_a_device_that_moves_leaves_its_credential_behind(database: Database, vault: Vault) -> None:
    with database.transaction() as tx:
        here = limited(tx, vault, "192.0.2.1")
        device = devices.create(tx, name="r1", host="192.0.2.1")
        asked = connect_request(f"device-{device.id}", None, here)
        assert secret_for(tx, vault, asked, resolve(tx, asked, within=EVERYWHERE), within=EVERYWHERE)
        devices.update(tx, device, {"host": "192.0.2.2"}, by="ann")
        with pytest.raises(InvalidInput, match=r"the device is at 192\.0\.2\.2:22"):
            secret_for(tx, vault, asked, resolve(tx, asked, within=EVERYWHERE), within=EVERYWHERE)


def test_an_address_that_is_not_in_the_list_is_reached_only_where_that_is_allowed(database: Database) -> None:
    asked = connect_request(None, "192.0.2.77")
    with database.transaction() as tx:
        with pytest.raises(NotFound, match="no device is stored"):
            resolve(tx, asked, within=EVERYWHERE)
        found = resolve(tx, asked, within=EVERYWHERE, may_ad_hoc=True)
        assert (found.device_id, found.host, found.port, found.name) == (None, "192.0.2.77", 22, "192.0.2.77")
        assert found.resource == "address:192.0.2.77:22"
        with pytest.raises(NotFound, match="no device is stored"):
            resolve(tx, asked, within=Reach(sites=frozenset({"Basel"})), may_ad_hoc=True)
        with pytest.raises(InvalidInput):
            resolve(tx, connect_request(None, "r1 or r2"), within=EVERYWHERE, may_ad_hoc=True)


def test_a_shared_credential_goes_to_no_address_of_the_users_choice(database: Database, vault: Vault) -> None:
    with database.transaction() as tx:
        target = resolve(tx, connect_request(None, "192.0.2.77"), within=EVERYWHERE, may_ad_hoc=True)
        # Of a host without a port, a user may have an SSH server of their own at another port.
        for place in ((None, None), (None, 22), ("192.0.2.77", None), ("192.0.2.77", 2222), ("192.0.2.78", 22)):
            asked = connect_request(None, "192.0.2.77", limited(tx, vault, *place))
            with pytest.raises(InvalidInput, match=r"core is not restricted to 192\.0\.2\.77:22"):
                secret_for(tx, vault, asked, target, within=EVERYWHERE)
        asked = connect_request(None, "192.0.2.77", limited(tx, vault, "192.0.2.77", 22))
        assert secret_for(tx, vault, asked, target, within=EVERYWHERE)[1].password == "s3cret"
        ana = users.create(tx, username="ana", password_hash="", role="operator")
        own = credentials.create(
            tx, vault, Secrets("mine"), name="own", credential_type="ssh_password", username="ana", owner_id=ana.id
        )
        asked = replace(asked, actor=Actor("ana", ana.id, None), credential_id=own.id)
        assert secret_for(tx, vault, asked, target, within=EVERYWHERE)[1].password == "mine"
