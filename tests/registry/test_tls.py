"""Valkey and its Sentinels behind TLS. Debian's Redis stands in: the Valkey of the tests is built without."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netstacks.errors import RegistryUnavailable
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.certificates import Authority
from tests.cluster.facts import instance
from tests.ports import free_port
from tests.valkey import Sentinel, SentinelCluster, Valkey, needs_redis


class Secured:
    """A node and a Sentinel that speak TLS at ports of their own, and to each other."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority(folder)
        self.ca = self._authority.ca
        self.node_port, self.sentinel_port = free_port(), free_port()
        self.node = Valkey(*self._tls(self.node_port), program=needs_redis())
        self.sentinel = Sentinel(self.node_port, "", *self._tls(self.sentinel_port), program=needs_redis())

    def _tls(self, port: int) -> tuple[str, ...]:
        certificate, key = self._authority.issue("127.0.0.1")
        files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(self.ca))
        return ("--tls-port", str(port), *files, "--tls-auth-clients", "no", "--tls-replication", "yes")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    secured = Secured(tmp_path)
    try:
        secured.node.start()
        secured.sentinel.start()
        yield secured
    finally:
        secured.sentinel.destroy()
        secured.node.destroy()


def registries(secured: Secured) -> list[ValkeyRegistry]:
    node, sentinel = f"rediss://127.0.0.1:{secured.node_port}/0", f"rediss://127.0.0.1:{secured.sentinel_port}"
    return [
        ValkeyRegistry(connect(node)),
        open_registry(None, sentinel, SentinelCluster.MASTER_NAME),
        open_registry("rediss://nodes", sentinel, SentinelCluster.MASTER_NAME),
    ]


def test_nodes_and_sentinels_are_reached_by_tls(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.ca))
    for registry in registries(secured):
        registry.register(instance("a"))
        assert registry.heartbeat("a").state == "active"


def test_a_certificate_of_an_unknown_authority_is_refused(secured: Secured) -> None:
    for registry in registries(secured):
        with pytest.raises(RegistryUnavailable, match="certificate verify failed") as caught:
            registry.now()
        if registry.status().mode == "plain":
            assert "its certificate is not accepted: it must name the host in VALKEY_URL" in str(caught.value)
            assert "SSL_CERT_FILE" in str(caught.value)
