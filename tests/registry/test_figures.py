"""The figures of real servers and Sentinels, as operators see them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from netstacks.registry import figures
from netstacks.registry.addresses import parse
from netstacks.registry.base import RegistryStatus
from netstacks.registry.figures import Replica, SentinelFigures, ValkeyFigures, problems_of
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.cluster.facts import instance
from tests.ports import free_port
from tests.registry.answers import answered
from tests.valkey import SentinelCluster, Valkey
from tests.waits import until


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


@pytest.fixture(scope="module")
def cluster() -> Iterator[SentinelCluster]:
    servers = SentinelCluster().start().keep_primary()
    yield servers
    servers.destroy()


def figures_of(registry: ValkeyRegistry) -> ValkeyFigures:
    status = registry.status()
    assert status.error is None
    assert status.figures is not None
    return status.figures


def at(server: Valkey) -> ValkeyRegistry:
    return open_registry(server.url, None, "")


def test_the_figures_of_a_single_server(valkey: Valkey) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        version = client.info()["valkey_version"]
    found = figures_of(at(valkey))
    assert found.version == version
    assert (found.role, found.address, found.upstream) == ("primary", f"127.0.0.1:{valkey.port}", None)
    assert time.time() - 60 < found.up_since <= time.time() + 2
    assert 0 < found.latency_secs < 5
    assert 500_000 < found.memory_used_bytes < found.memory_limit_bytes == 64 * 1024 * 1024
    assert found.memory_policy == "allkeys-lru"
    assert found.clients >= 1
    assert (found.persistence, found.persistence_problem, found.last_save_at) == ("append-only file", None, None)
    assert found.persistence_state == "last write ok"
    assert found.replicas == ()


def test_a_snapshot_of_a_server_with_an_append_only_file_is_told(valkey: Valkey) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.save()
    found = figures_of(at(valkey))
    assert found.persistence == "append-only file"
    assert found.last_save_at is not None
    assert time.time() - 60 < found.last_save_at <= time.time() + 2


def test_persistence_is_told_with_its_problem(valkey: Valkey) -> None:
    registry = at(valkey)
    with redis.Redis(port=valkey.port) as client:
        client.config_set("appendonly", "no")
        assert figures_of(registry).persistence == "none"
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], "the snapshot")
    found = figures_of(registry)
    assert (found.persistence, found.persistence_problem) == ("snapshots", None)
    assert found.last_save_at is not None
    assert time.time() - 60 < found.last_save_at <= time.time() + 2


def test_a_failed_write_to_the_disk_is_a_problem() -> None:
    info = {
        "redis_version": "7",
        "role": "master",
        "uptime_in_seconds": 1,
        "used_memory": 1,
        "connected_clients": 1,
        "rdb_last_save_time": 1000,
    }
    whole = figures.read(info, "h:1", 0.0, "3600 1")
    assert (whole.persistence, whole.persistence_problem) == ("snapshots", None)
    assert whole.persistence_state == "last snapshot ok"
    for problem, state, change in (
        ("snapshot failed", "last snapshot failed", {"rdb_last_bgsave_status": "err"}),
        ("file cannot be written", "last write failed", {"aof_enabled": 1, "aof_last_write_status": "err"}),
        (
            "could not be rewritten",
            "last write ok, last rewrite failed",
            {"aof_enabled": 1, "aof_last_bgrewrite_status": "err"},
        ),
    ):
        found = figures.read(info | change, "h:1", 0.0, "3600 1")
        assert problem in (found.persistence_problem or "")
        assert found.persistence_state == state
    rewriting = figures.read(info | {"aof_enabled": 1, "aof_rewrite_in_progress": 1}, "h:1", 0.0, "")
    assert rewriting.persistence_state == "last write ok, rewrite under way"
    assert figures.read(info | {"rdb_bgsave_in_progress": 1}, "h:1", 0.0, "1 1").persistence_state == (
        "snapshot under way"
    )
    assert figures.read(info, "h:1", 0.0, "").persistence_state is None


def test_a_failed_snapshot_is_a_problem_beside_an_append_only_file() -> None:
    """As Valkey is with `--appendonly yes` alone: its own save points stay, and it refuses changes when one fails."""
    server = Valkey("--save", "3600 1").start()
    try:
        registry = at(server)
        assert figures_of(registry).persistence_problem is None
        with redis.Redis(port=server.port) as client:
            # The snapshot cannot replace a folder.
            (Path(client.config_get("dir")["dir"]) / "dump.rdb").mkdir()
            client.bgsave()
            until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the failure")
            with pytest.raises(redis.ResponseError, match="MISCONF"):
                client.set("key", "value")
            found = figures_of(registry)
            assert found.persistence == "append-only file"
            assert "the last snapshot failed" in (found.persistence_problem or "")
            assert found.persistence_state == "last write ok, last snapshot failed"
            # A snapshot for a replica, without save points, refuses nothing.
            client.config_set("save", "")
            found = figures_of(registry)
            assert (found.persistence_problem, found.persistence_state) == (None, "last write ok")
    finally:
        server.destroy()


WELL = ValkeyFigures(
    version="8",
    role="primary",
    address="h:1",
    up_since=0.0,
    latency_secs=0.0,
    memory_used_bytes=90 << 20,
    memory_limit_bytes=100 << 20,
    memory_policy="noeviction",
    clients=1,
    persistence="append-only file",
    persistence_problem=None,
    last_save_at=None,
    replicas=(Replica("h:2", "online", 0, 0),),
    upstream=None,
)
WHOLE = SentinelFigures("mymaster", 2, None, ())


def test_a_server_that_is_well_has_no_problems() -> None:
    assert problems_of(WELL, WHOLE) == []
    assert problems_of(replace(WELL, replicas=()), None) == []
    assert problems_of(replace(WELL, memory_limit_bytes=0), None) == []
    assert problems_of(None, WHOLE) == problems_of(None, None) == []


def test_what_threatens_the_cluster_is_a_problem_while_valkey_answers() -> None:
    [full] = problems_of(replace(WELL, memory_used_bytes=(90 << 20) + 1), None)
    assert full == "Valkey uses more than 90 % of its memory limit of 100 MiB: when it is full, it refuses heartbeats"
    [evicting] = problems_of(replace(WELL, memory_used_bytes=95 << 20, memory_policy="allkeys-lru"), None)
    assert "allkeys-lru removes instances and sessions" in evicting
    assert problems_of(replace(WELL, persistence_problem="the disk is full"), None) == [
        "Valkey's persistence fails: the disk is full"
    ]
    [alone] = problems_of(replace(WELL, replicas=()), WHOLE)
    assert alone == "Sentinel cannot replace Valkey's primary: it has no replica"
    for figures_now in (WELL, None):
        [split] = problems_of(figures_now, replace(WHOLE, quorum_problem="NOQUORUM"))
        assert split == "Sentinel cannot replace Valkey's primary: NOQUORUM"


def test_a_server_that_keeps_its_settings_to_itself_is_still_told_apart() -> None:
    server = Valkey("--rename-command", "CONFIG", "hidden").start()
    try:
        registry = at(server)
        with redis.Redis(port=server.port) as client:
            client.execute_command("hidden", "SET", "appendonly", "no")
            assert figures_of(registry).persistence == "none"
            client.save()
        assert figures_of(registry).persistence == "snapshots"
    finally:
        server.destroy()


def test_a_replica_names_its_primary_and_the_primary_its_replica(valkey: Valkey) -> None:
    replica = Valkey("--replicaof", f"127.0.0.1 {valkey.port}").start()
    try:
        primary = at(valkey)
        until(lambda: [each.state for each in figures_of(primary).replicas] == ["online"], "the replica")
        [seen] = figures_of(primary).replicas
        assert seen.address == f"127.0.0.1:{replica.port}"
        assert seen.lag_secs is not None
        assert seen.behind_bytes is not None
        upstream = f"127.0.0.1:{valkey.port}, link up"
        until(lambda: figures_of(at(replica)).upstream == upstream, "the link that the replica tells")
        assert figures_of(at(replica)).role == "replica"
    finally:
        replica.destroy()


def test_a_server_that_is_away_has_no_figures(valkey: Valkey) -> None:
    registry = at(valkey)
    valkey.stop()
    status = registry.status()
    assert (status.connection, status.mode, status.figures, status.sentinels) == ("disconnected", "plain", None, None)
    assert f"127.0.0.1:{valkey.port}" in (status.error or "")


@pytest.mark.parametrize("info", [{}, {"redis_version": "7", "role": "sentinel"}])
def test_a_malformed_info_reply_makes_it_unreachable(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, info: dict[str, str]
) -> None:
    registry = at(valkey)
    monkeypatch.setattr(redis.client.Pipeline, "execute", lambda *_, **__: [info, {"save": ""}])
    status = registry.status()
    assert status.connection == "disconnected"
    assert "INFO reply is malformed" in (status.error or "")


def through(cluster: SentinelCluster, *more: str) -> ValkeyRegistry:
    return open_registry(None, ",".join([cluster.url, *more]), SentinelCluster.MASTER_NAME)


def test_every_sentinel_is_asked_for_its_view(cluster: SentinelCluster) -> None:
    absent = f"127.0.0.1:{free_port()}"
    registry = through(cluster, absent)
    answered(lambda: registry.register(instance("a")))
    status = with_views(registry)
    primary = f"127.0.0.1:{cluster.primary().port}"
    assert status.figures is not None
    assert status.mode == "sentinel"
    assert status.figures.address == answered(lambda: registry.heartbeat("a")).address == primary
    assert {each.state for each in status.figures.replicas} == {"online"}
    assert len(status.figures.replicas) == 2
    assert status.sentinels is not None
    assert (status.sentinels.master_name, status.sentinels.quorum) == (SentinelCluster.MASTER_NAME, 2)
    assert status.sentinels.quorum_problem is None
    views = {each.address: each for each in status.sentinels.views}
    for sentinel in cluster.sentinels:
        view = views[f"127.0.0.1:{sentinel.port}"]
        assert (view.primary, view.problem) == (primary, None)
    assert views[absent].primary is None
    assert "unreachable" in (views[absent].problem or "")


def with_views(registry: ValkeyRegistry) -> RegistryStatus:
    """The status with the Sentinels' views: a slow machine may take longer than the first call waits for them."""
    until(lambda: registry.status().sentinels is not None, "the views of the Sentinels")
    return registry.status()


def test_a_majority_that_is_missing_is_a_problem_of_the_quorum() -> None:
    servers = SentinelCluster().start()
    try:
        for sentinel in servers.sentinels[1:]:
            sentinel.kill()
        first = Sentinels(parse(servers.url), SentinelCluster.MASTER_NAME)

        def problem() -> str | None:
            first._figured_at = 0.0
            found = first.figures()
            return found.quorum_problem if found else None

        # The last Sentinel notices the loss of the others after DOWN_AFTER_MS.
        until(lambda: "NOQUORUM" in (problem() or ""), "the missing majority", SentinelCluster.FAILOVER_SECS)
    finally:
        servers.destroy()


def test_sentinels_that_are_all_silent_are_a_problem_from_the_second_round_on() -> None:
    absent = f"127.0.0.1:{free_port()}"
    silent = Sentinels(parse(f"redis://{absent}"), SentinelCluster.MASTER_NAME)
    problems = []
    for _ in range(2):
        silent._figure()
        assert silent._figures is not None
        assert silent._figures.quorum is None
        problems.append(silent._figures.quorum_problem)
    assert problems[0] is None
    assert f"no Sentinel names a primary (Sentinel {absent} is unreachable" in (problems[1] or "")


def test_one_sentinel_that_could_start_a_failover_is_enough(
    cluster: SentinelCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = parse(cluster.url)
    sentinels = Sentinels(endpoints, SentinelCluster.MASTER_NAME)
    cut_off = [figures.SentinelView(str(endpoints[0]), "h:1", None), 2, "NOQUORUM"]
    view = sentinels._view
    monkeypatch.setattr(sentinels, "_view", lambda each: cut_off if each == endpoints[0] else view(each))
    sentinels._figure()
    assert sentinels._figures is not None
    assert (sentinels._figures.quorum, sentinels._figures.quorum_problem) == (2, None)
    monkeypatch.setattr(sentinels, "_view", lambda each: cut_off)
    sentinels._figure()
    assert sentinels._figures.quorum_problem == "NOQUORUM"
