"""How an instance takes part in its cluster: its registry, its description of itself, the address that peers reach."""

import os
import socket
import time

import structlog

from netstacks import __version__
from netstacks.cluster.consistency import AGREEING_SETTINGS
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


def fingerprint_of(settings: Settings) -> str:
    """The fingerprint of all secrets that instances must have in common."""
    return secrets_fingerprint(
        [settings.vault_master_key, settings.vault_master_key_previous],
        [settings.jwt_secret, settings.jwt_secret_accepted],
    )


def describe_instance(settings: Settings, instance_id: str) -> Instance:
    """This process as the registry shows it; its peer address follows when its private listener has a port."""
    return Instance(
        id=instance_id,
        host=socket.gethostname(),
        peer_address="",
        started_at=time.time(),
        version=__version__,
        state="active",
        secrets_fingerprint=fingerprint_of(settings),
        pid=os.getpid(),
    )


def agreeing_settings(settings: Settings) -> dict[str, str]:
    """The settings that must be the same on all instances, by name, as text without secrets."""
    values = {
        "HA_HEARTBEAT_INTERVAL_SECS": f"{settings.ha_heartbeat_interval_secs:g}",
        "HA_STALE_INSTANCE_TTL_SECS": f"{settings.ha_stale_instance_ttl_secs:g}",
        "SESSION_DETACH_TTL_SECS": f"{settings.session_detach_ttl_secs:g}",
        "HA_EXPECTED_INSTANCES": f"{settings.ha_expected_instances}",
        "RECORDING_RETENTION_DAYS": f"{settings.recording_retention_days}",
        "ALLOWED_ORIGINS": ",".join(sorted(settings.allowed_origins)) or "unset",
        # Each host has a certificate of its own.
        "HA_PEER_TLS_CERT": "set" if settings.ha_peer_tls_cert else "unset",
    }
    return {name: values[name] for name in AGREEING_SETTINGS}


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
