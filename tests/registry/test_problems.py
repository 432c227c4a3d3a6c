"""The error of an unreachable registry says what really fails, and what to do; real servers refuse."""

import socket
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import redis

from netstacks.errors import RegistryUnavailable
from netstacks.registry.problems import explain
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.cluster.facts import instance, record
from tests.ports import free_port
from tests.registry.answers import answered
from tests.valkey import Sentinel, Valkey
from tests.waits import until

CALLS: tuple[Callable[[ValkeyRegistry], object], ...] = (
    lambda registry: registry.heartbeat("a"),
    lambda registry: registry.register(instance("a")),
    lambda registry: registry.publish(record("a")),
    lambda registry: registry.snapshot(),
    lambda registry: registry.sessions_of("a"),
    lambda registry: registry.instance("a"),
    lambda registry: registry.reap(30, by="a"),
    lambda registry: registry.lost(),
    lambda registry: registry.samples({"a": 0}),
    lambda registry: registry.events(),
    lambda registry: registry.circuits(),
    lambda registry: registry.cluster_id(),
    lambda registry: registry.now(),
)


@contextmanager
def running(*options: str) -> Iterator[Valkey]:
    server = Valkey(*options).start()
    try:
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="module")
def plain() -> Iterator[Valkey]:
    with running() as server:
        yield server


def at(url: str) -> ValkeyRegistry:
    return open_registry(url, None, "mymaster")


def refusal(registry: ValkeyRegistry, call: Callable[[ValkeyRegistry], object] = CALLS[0]) -> str:
    with pytest.raises(RegistryUnavailable) as caught:
        call(registry)
    return str(caught.value)


def test_the_port_of_a_sentinel_is_no_valkey(plain: Valkey) -> None:
    sentinel = Sentinel(plain.port).start()
    try:
        registry = at(sentinel.url)
        for call in CALLS:
            told = refusal(registry, call)
            assert told.startswith(f"Valkey: 127.0.0.1:{sentinel.port} is a Sentinel, not a Valkey server: set")
            assert "VALKEY_SENTINEL_URL" in told
        status = registry.status()
        assert (status.connection, status.figures, status.mode) == ("disconnected", None, "plain")
        assert status.error is not None
        assert "VALKEY_SENTINEL_MASTER_NAME" in status.error
    finally:
        sentinel.destroy()


def test_a_missing_a_wrong_and_a_needless_password_are_told_apart(plain: Valkey) -> None:
    with running("--requirepass", "right") as server:
        missing = refusal(at(server.url))
        wrong = refusal(at(f"redis://:wrong-secret@127.0.0.1:{server.port}"))
    needless = refusal(at(f"redis://:needless-secret@127.0.0.1:{plain.port}"))
    assert "asks for a password: VALKEY_URL must have" in missing
    assert "refuses the password" in wrong
    assert "remove it there" in needless
    assert "-secret" not in wrong + needless


def test_a_user_without_rights_is_told_which_to_give() -> None:
    with running() as server:
        with redis.Redis(port=server.port) as client:
            client.acl_setuser("limited", enabled=True, passwords=["+pw"], commands=["+ping"], keys=["netstacks:*"])
        registry = at(f"redis://limited:pw@127.0.0.1:{server.port}")
        assert "ACL forbids a command" in refusal(registry)
        status = registry.status()
    assert status.connection == "disconnected"
    assert "netstacks:*" in (status.error or "")


def test_a_replica_and_a_server_in_cluster_mode_are_named(plain: Valkey) -> None:
    with running("--replicaof", f"127.0.0.1 {plain.port}") as replica:
        assert "is a replica, which takes no writes" in refusal(at(replica.url), CALLS[1])
    # By itself it takes the port 10,000 above its own, which may be in use.
    with running("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        without_slots = refusal(at(server.url))
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        across_slots = refusal(at(server.url), CALLS[1])
    for told in (without_slots, across_slots):
        assert "cluster mode, which is not supported" in told


def test_a_full_memory_is_told_and_reads_go_on() -> None:
    with running() as server:
        registry = at(server.url)
        with redis.Redis(port=server.port) as client:
            # Below its own needs: the server has no room from now on.
            client.config_set("maxmemory", "1")
        assert "memory is full: raise maxmemory" in refusal(registry, CALLS[1])
        registry.snapshot()
        assert registry.status().connection == "connected"


def test_a_database_number_that_is_too_large_is_told(plain: Valkey) -> None:
    assert "use /0" in refusal(at(f"redis://127.0.0.1:{plain.port}/99"))


def test_protected_mode_is_told() -> None:
    with running("--bind", "0.0.0.0", "--protected-mode", "yes") as server:
        told = refusal(at(f"redis://{own_address()}:{server.port}"))
    assert "in protected mode" in told
    assert "requirepass" in told


def test_too_many_clients_are_told() -> None:
    with running("--maxclients", "1") as server, redis.Redis(port=server.port) as client:
        # The connection that looked whether the server answers may not have left yet.
        until(lambda: answers(client), "a connection")
        assert "too many clients: raise maxclients" in refusal(at(server.url))


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def own_address() -> str:
    """An address of this host that is not its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("needs a network beside the loopback")
        return str(probe.getsockname()[0])


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a program that is not Valkey: it answers so, and closes the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1024)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_another_program_is_told_apart_from_a_valkey() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        told = refusal(at(f"redis://127.0.0.1:{port}"))
    assert "is not a Valkey server: VALKEY_URL must name one" in told
    assert f"127.0.0.1:{port}" in told


def test_a_server_that_hangs_up_may_expect_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    # The time that a second connection waits in vain for a refusal.
    monkeypatch.setattr("netstacks.registry.connection.CONNECT_SECS", 0.3)
    with answering(b"") as port:
        told = refusal(at(f"redis://127.0.0.1:{port}"))
        by_sentinels = str(at_sentinel(port).status().error)
    assert "if it expects TLS, VALKEY_URL must begin with rediss://" in told
    assert f"127.0.0.1:{port}" in told
    assert "if it expects TLS" in by_sentinels
    assert f"127.0.0.1:{port}" in by_sentinels


def test_only_a_new_connection_that_is_closed_points_to_tls() -> None:
    """A server that stops closes its connections, too."""
    told = explain(redis.ConnectionError("Connection closed by server."), has_sentinels=False, address="v:6379")
    assert told == "Connection closed by server (v:6379)"


def test_a_server_without_tls_is_told_with_its_address(plain: Valkey) -> None:
    told = refusal(at(f"rediss://127.0.0.1:{plain.port}"))
    assert "if it speaks no TLS, VALKEY_URL must begin with redis://" in told
    assert f"127.0.0.1:{plain.port}" in told


@pytest.mark.usefixtures("product_limits")
def test_a_frozen_server_is_told_with_its_address(plain: Valkey) -> None:
    registry = at(plain.url)
    answered(registry.now)
    plain.freeze()
    try:
        assert f"127.0.0.1:{plain.port}" in refusal(registry)
    finally:
        plain.thaw()


def at_sentinel(port: int, userinfo: str = "") -> ValkeyRegistry:
    return open_registry(None, f"redis://{userinfo}127.0.0.1:{port}", "mymaster")


def test_the_port_of_a_valkey_is_no_sentinel(plain: Valkey) -> None:
    told = refusal(at_sentinel(plain.port))
    assert f"127.0.0.1:{plain.port} is not a Sentinel" in told
    assert "VALKEY_SENTINEL_URL must name Sentinels" in told
    assert "VALKEY_URL" in told


def test_a_missing_a_wrong_and_a_needless_password_of_sentinels_are_told_apart(plain: Valkey) -> None:
    with_password, without = Sentinel(plain.port, "right").start(), Sentinel(plain.port).start()
    try:
        missing = refusal(at_sentinel(with_password.port))
        wrong = refusal(at_sentinel(with_password.port, ":wrong-secret@"))
        needless = refusal(at_sentinel(without.port, ":needless-secret@"))
    finally:
        with_password.destroy()
        without.destroy()
    assert "asks for a password: VALKEY_SENTINEL_URL must have" in missing
    assert "refuses the password: VALKEY_SENTINEL_URL must have" in wrong
    assert "has no password" in needless
    assert "the nodes' own belongs in VALKEY_URL" in needless
    assert "-secret" not in wrong + needless


def test_no_server_is_told_with_its_address() -> None:
    port = free_port()
    assert f"127.0.0.1:{port}" in refusal(at(f"redis://127.0.0.1:{port}"))
