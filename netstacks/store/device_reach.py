"""Checks devices that a user with a limited role creates or changes.

They must not give access to other devices, nor send a secret to another server.
"""

from collections.abc import Collection, Iterable

from netstacks.errors import InvalidInput
from netstacks.permissions import Reach
from netstacks.store import credentials, devices
from netstacks.store.credentials import Credential
from netstacks.store.devices import Device
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("device_reach")


def check(tx: Transaction, old: Device | None, new: Device, reach: Reach) -> None:
    """Checks a device that was just created or changed: see `check_change`."""
    if reach.is_limited:
        credential_id = new.default_credential_id
        default = credentials.find(tx, credential_id) if credential_id else None
        check_change(old, new, reach, taken=taken_hosts(tx, [new.host], within=reach), default=default)


def check_change(
    old: Device | None, new: Device, reach: Reach, *, taken: Collection[str], default: Credential | None
) -> None:
    """Raises InvalidInput when a user whose role has that reach may not create `new`, or not change `old` so.

    `taken` are the `taken_hosts` among the hosts of both, `default` is the default credential of `new`. A device that
    shares its host with one outside the reach stays as it is: the ports of a host belong together.
    """
    devices.check_within(new, reach)
    if not reach.is_limited:
        return
    has_moved = old is None or (old.host, old.port) != (new.host, new.port)
    if has_moved and _without_zone(new.host) in taken:
        raise InvalidInput("host: this address cannot be used with your role")
    is_kept = not has_moved and old is not None and old.default_credential_id == new.default_credential_id
    if new.default_credential_id is None or is_kept:
        return
    if default is None or default.is_for_all_devices or not default.is_for(new.host, new.port):
        raise InvalidInput(
            "default_credential_id: with your role, only a shared credential for the address of the device can be its"
            " default, and a device with another default keeps its address"
        )


def taken_hosts(tx: Transaction, hosts: Iterable[str], *, within: Reach) -> frozenset[str]:
    """Those of the hosts at which there is, on any port, a device that is not `within` a limited reach."""
    if not within.is_limited:
        return frozenset()
    wanted = sorted({_without_zone(host) for host in hosts})
    rows = tx.execute(_SQL["taken_hosts"], {"hosts": wanted, **devices.within_of(within)})
    return frozenset(row["host"] for row in rows)


def _without_zone(host: str) -> str:
    return host.partition("%")[0]
