"""Where a client's wish leads: to stored addresses alone, in whatever spelling the client names them."""

import uuid

import pytest

from netstacks.errors import InvalidInput, NotFound
from netstacks.instance.targets import Wish, resolve
from netstacks.store import devices
from netstacks.store.audit import Actor
from netstacks.store.pool import Database


def wish(target: str | None, host: str | None) -> Wish:
    actor = Actor("ana", uuid.uuid4(), "192.0.2.9")
    return Wish(actor=actor, credential_id=None, target=target, host=host, port=22, term="xterm", cols=80, rows=24)


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
        assert resolve(tx, wish(f"device-{device.id}", named)).device_id == device.id
        assert resolve(tx, wish(None, named)).device_id == device.id


def test_another_zone_is_another_address(database: Database) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="fe80::1%eth0")
        with pytest.raises(NotFound, match="r1 is at"):
            resolve(tx, wish(f"device-{device.id}", "fe80::1%eth1"))
        with pytest.raises(NotFound, match="no device is stored"):
            resolve(tx, wish(None, "fe80::1%ETH0"))


def test_a_host_that_is_none_is_told(database: Database) -> None:
    with database.transaction() as tx, pytest.raises(InvalidInput, match="neither a host name nor an IP address"):
        resolve(tx, wish(None, "r1 or r2"))
