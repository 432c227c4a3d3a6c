"""How an instance takes part in its cluster: its registry, its description of itself, the address that peers reach."""

import os
import socket
import time

import structlog

from netstacks import __version__
from netstacks.cluster.model import Instance
from netstacks.crypto.license import TIER_NAMES
from netstacks.instance.identity import secrets_fingerprint
from netstacks.peer.address import address_towards, joined
from netstacks.registry import addresses
from netstacks.registry.base import Registry
from netstacks.registry.memory import MemoryRegistry
from netstacks.registry.valkey import open_registry
from netstacks.settings import Settings
from netstacks.web.auth.licensing import Licensing

log = structlog.get_logger()


def choose_registry(settings: Settings, licensing: Licensing) -> Registry:
    """The registry in Valkey where one is configured and the licence allows a cluster, else one in memory."""
    if settings.valkey_url is None and settings.valkey_sentinel_url is None:
        return MemoryRegistry()
    if not licensing.may_cluster():
        tier = TIER_NAMES[licensing.current().tier]
        why = f"Valkey is not used: high availability needs an Enterprise licence, and this one is {tier}"
        log.warning("ha.not_licensed", advice=why)
        return MemoryRegistry(why=why)
    if settings.valkey_url is not None and settings.valkey_sentinel_url is not None:
        log.info(
            "ha.sentinel",
            advice="VALKEY_SENTINEL_URL has precedence: VALKEY_URL gives only user, password, database and TLS",
        )
    registry = open_registry(settings.valkey_url, settings.valkey_sentinel_url, settings.valkey_sentinel_master_name)
    registry.follow()
    return registry


def describe_instance(settings: Settings, instance_id: str) -> Instance:
    """This process as the registry shows it; its peer address follows when its private listener has a port."""
    keys = [key for key in (settings.vault_master_key, settings.vault_master_key_previous) if key is not None]
    return Instance(
        id=instance_id,
        host=socket.gethostname(),
        peer_address="",
        started_at=time.time(),
        version=__version__,
        state="active",
        secrets_fingerprint=secrets_fingerprint([bytes.fromhex(key) for key in keys], settings.jwt_secret),
        pid=os.getpid(),
    )


def peer_address(settings: Settings, port: int) -> str:
    """`host:port` at which peers reach `port` of this host: HA_ADVERTISE_HOST, or the address on Valkey's network."""
    host = settings.ha_advertise_host or address_towards(*_valkey_address(settings))
    return joined(host, port)


def _valkey_address(settings: Settings) -> tuple[str, int]:
    if settings.valkey_sentinel_url is not None:
        first = addresses.parse(settings.valkey_sentinel_url)[0]
        return first.host, first.port
    assert settings.valkey_url is not None
    node = addresses.parse_valkey(settings.valkey_url).endpoint
    return node.host, node.port
