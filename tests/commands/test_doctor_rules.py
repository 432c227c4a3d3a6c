"""How `netstacks doctor` judges what Valkey, the Sentinels and the registered instances tell."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netstacks.cluster.model import Snapshot
from netstacks.commands.examine.cluster import judge_cluster, judge_unreadable
from netstacks.commands.examine.sentinels import judge_reports
from netstacks.commands.examine.valkey import examine_valkey, judge_server
from netstacks.registry import addresses
from netstacks.registry.connection import connect, connect_through
from netstacks.registry.figures import read
from netstacks.registry.sentinel import Report, Sentinels
from netstacks.registry.valkey import ValkeyRegistry
from netstacks.settings import Settings
from tests.certificates import Authority
from tests.cluster.facts import instance
from tests.patience import wait_patiently
from tests.ports import free_port
from tests.valkey import Sentinel

INFO: dict[str, Any] = {
    "redis_version": "8.1.0",
    "role": "master",
    "uptime_in_seconds": 60,
    "used_memory": 1000,
    "connected_clients": 1,
    "rdb_last_save_time": 0,
    "maxmemory": 0,
    "aof_enabled": 1,
    "connected_slaves": 0,
}


LOADED = Settings(database_url="postgresql://localhost/x", vault_master_key="5e" * 32, jwt_secret="long enough " * 4)


def judged(snapshot: Snapshot, up_since: float = 0.0) -> list[tuple[str, str]]:
    figures = replace(read(INFO, "valkey:6379", 0.001, ""), up_since=up_since)
    found = judge_cluster(LOADED, snapshot, (), figures)
    return [(each.level, each.what) for each in found if "differs from the cluster's" not in each.what]


def snapshot_of(ages_secs: dict[str, float], **changed: Any) -> Snapshot:
    found = {
        name: replace(instance(name), last_heartbeat_at=10_000 - age, **changed) for name, age in ages_secs.items()
    }
    return Snapshot(10_000.0, found)


def test_after_a_restart_of_valkey_an_old_heartbeat_is_no_death() -> None:
    snapshot = snapshot_of({"a": 1, "b": 500})
    assert [level for level, _ in judged(snapshot, up_since=9_990)] == ["ok", "warning"]
    assert [level for level, _ in judged(snapshot)] == ["ok", "error"]


def test_when_all_heartbeats_are_old_the_doctor_says_so_and_judges_none() -> None:
    silent, *late = judged(snapshot_of({"a": 400, "b": 500}))
    assert silent[1].startswith("no instance has sent a heartbeat for 400 s: ")
    assert [(level, " is late: " in what) for level, what in (silent, *late)] == [
        ("warning", False),
        ("warning", True),
        ("warning", True),
    ]


@pytest.mark.parametrize(("health", "level"), [("healthy", "ok"), ("degraded", "warning"), ("unhealthy", "error")])
def test_an_instance_is_judged_by_its_own_health(health: str, level: str) -> None:
    [(found, what)] = judged(snapshot_of({"a": 1}, health=health, reason="the vault is locked"))
    assert (found, "the vault is locked" in what) == (level, health != "healthy")


def test_a_record_that_cannot_be_read_is_named() -> None:
    [told] = judge_unreadable({"netstacks:instance:ctrl-x": "it has no host"})
    assert (told.topic, told.level) == ("Cluster", "warning")
    assert told.what == "the record netstacks:instance:ctrl-x in Valkey cannot be read: it has no host"
    assert "find what else writes" in told.do


@pytest.mark.parametrize(
    ("changed", "clock_secs", "levels"),
    [
        ({}, 0.0, []),
        ({"role": "slave"}, 0.0, ["error"]),
        ({"aof_last_write_status": "err"}, 0.0, ["error"]),
        ({"maxmemory": 1000, "maxmemory_policy": "allkeys-lru"}, 0.0, ["warning"]),
        ({"maxmemory": 10_000, "maxmemory_policy": "noeviction"}, 0.0, []),
        ({"maxmemory": 1050, "maxmemory_policy": "noeviction"}, 0.0, ["warning"]),
        ({"aof_enabled": 0}, 0.0, ["ok"]),
        ({}, 60.0, ["warning"]),
    ],
)
def test_a_node_is_judged_by_its_info(changed: dict[str, Any], clock_secs: float, levels: list[str]) -> None:
    figures = read(INFO | changed, "valkey:6379", 0.001, "")
    assert [each.level for each in judge_server(figures, "no", clock_secs)] == levels


REPLICA: dict[str, Any] = {
    "ip": "10.0.0.2",
    "port": 6379,
    "is_sdown": False,
    "is_disconnected": False,
    "master-link-status": "ok",
}
PRIMARY = ("10.0.0.1", 6379)


@pytest.mark.parametrize(
    ("reports", "told"),
    [
        ([Report(PRIMARY, 3, "", (REPLICA, REPLICA))], []),
        ([Report(PRIMARY, 3, "", (REPLICA,)), Report(("10.0.0.9", 6379), 3, "", (REPLICA,))], ["different primaries"]),
        ([Report(PRIMARY, 3, "NOQUORUM 1 usable Sentinels", (REPLICA,))], ["NOQUORUM"]),
        ([Report(PRIMARY, 2, "", (REPLICA,))], ["there are only 2 Sentinels"]),
        ([Report(PRIMARY, 3, "", ())], ["know no replica"]),
        ([Report(PRIMARY, 3, "", (REPLICA | {"is_sdown": True}, REPLICA))], ["the Sentinels do not reach"]),
        ([Report(PRIMARY, 3, "", (REPLICA | {"master-link-status": "err"},))], ["does not follow the primary"]),
    ],
)
def test_sentinels_are_judged_by_what_they_report(reports: list[Report], told: list[str]) -> None:
    wrongs = [each for each in judge_reports(reports) if each.level != "ok"]
    assert [words in each.what for words, each in zip(told, wrongs, strict=True)] == [True] * len(told)


@contextmanager
def refusing(error: bytes) -> Iterator[int]:
    """The port of a server that answers every command with this error."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                connection.sendall((b"-" + error + b"\r\n") * data.count(b"*"))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def remedy(port: int) -> str:
    client = connect(f"redis://127.0.0.1:{port}")
    [finding] = examine_valkey(client, ValkeyRegistry(client))
    return finding.do


@pytest.mark.parametrize(
    "error",
    [
        b"ERR Timeout of this Connection is not permitted",
        b"NOAUTH Authentication required.",
        b"LOADING the dataset is loaded in memory",
    ],
)
def test_a_server_that_answers_with_an_error_is_not_to_be_started(error: bytes) -> None:
    with refusing(error) as port:
        assert remedy(port).startswith("correct that")
    assert remedy(port).startswith("start it")


def test_a_certificate_that_is_not_accepted_is_no_reason_to_start_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_patiently(monkeypatch)
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def shake_hands(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(ssl.SSLError), connection:
                context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=shake_hands, args=(listener,), daemon=True).start()
        client = connect(f"rediss://127.0.0.1:{listener.getsockname()[1]}")
        [found] = examine_valkey(client, ValkeyRegistry(client))
        listener.shutdown(socket.SHUT_RDWR)
    assert "its certificate is not accepted" in found.what
    assert found.do.startswith("correct that")


def test_a_primary_that_only_the_sentinels_reach_is_a_matter_of_their_announcement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait_patiently(monkeypatch)
    sentinel = Sentinel(free_port()).start()
    try:
        sentinels = Sentinels(addresses.parse(sentinel.url.removesuffix("/0")), "mymaster")
        client = connect_through(sentinels, None)
        [found] = examine_valkey(client, ValkeyRegistry(client, sentinels))
    finally:
        sentinel.destroy()
    assert "Connection refused" in found.what
    assert "announce-ip" in found.do
    assert "VALKEY_URL" not in found.do
