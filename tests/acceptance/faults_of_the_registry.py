"""Faults of Valkey, of settings and of instances, as the troubleshooting chapter lists them."""

import re
from dataclasses import dataclass
from functools import cache

import pytest
import redis
import requests

from netstacks.peer.address import address_towards
from tests.acceptance.bench_of_faults import Bench
from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.diagnosis import Finding, doctor, fault, reason
from tests.acceptance.ha import command
from tests.acceptance.sharing import opened
from tests.controller import ROOT, Controller, until
from tests.valkey import Valkey


def valkey_url_unset_or_unreachable(bench: Bench) -> None:
    fault(doctor(bench.first, VALKEY_URL="redis://127.0.0.1:1"), "Valkey", "Connection refused", "VALKEY_URL")
    found = doctor(bench.first, VALKEY_URL="")
    fault(found, "Consistency", "this environment", "set the same VALKEY_URL")


def connection_errors_in_the_log(bench: Bench) -> None:
    with bench.started("degraded", VALKEY_URL="redis://127.0.0.1:1") as controller:
        reason(controller, "Connection refused")
        until(lambda: "Connection refused" in controller.log(), "the line of the log")
    valkey = Valkey("--requirepass", "the right one").start()
    try:
        with bench.started("degraded", VALKEY_URL=f"redis://:a-wrong-one@127.0.0.1:{valkey.port}") as controller:
            reason(controller, "refuses the password", "VALKEY_URL must have")
            fault(doctor(controller), "Valkey", "refuses the password", "VALKEY_URL must have")
            assert "a-wrong-one" not in controller.log()
        with bench.started("degraded", VALKEY_URL=valkey.url) as controller:
            reason(controller, "asks for a password", "VALKEY_URL must have")
        valkey.freeze()
        fault(doctor(bench.first, VALKEY_URL=valkey.url), "Valkey", "Timeout", "start it")
        with bench.started("degraded", VALKEY_URL=valkey.url) as controller:
            reason(controller, "Timeout")
            until(lambda: "Timeout" in controller.log(), "the line of the log")
    finally:
        valkey.thaw()
        valkey.destroy()


def not_on_one_network(bench: Bench) -> None:
    found = doctor(bench.first, VALKEY_URL="redis://valkey.invalid:6379")
    fault(found, "Valkey", "valkey.invalid", "containers must be on one network")


def protected_mode(bench: Bench) -> None:
    own = address_towards("192.0.2.1", 9)
    if own.startswith("127.") or not own[0].isdigit():
        pytest.skip("needs an address other than loopback")
    valkey = Valkey("--bind", "0.0.0.0", "--protected-mode", "yes").start()
    try:
        with bench.started("degraded", VALKEY_URL=f"redis://{own}:{valkey.port}") as controller:
            reason(controller, "protected mode", "requirepass")
            fault(doctor(controller), "Valkey", "protected mode", "requirepass")
    finally:
        valkey.destroy()


def heartbeat_too_close_to_the_ttl(bench: Bench) -> None:
    found = doctor(bench.first, HA_HEARTBEAT_INTERVAL_SECS="20", HA_STALE_INSTANCE_TTL_SECS="30")
    fault(found, "Settings", "HA_HEARTBEAT_INTERVAL_SECS=20: must be at most a third", "docs/settings.md")
    with pytest.raises(RuntimeError, match="must be at most a third of HA_STALE_INSTANCE_TTL_SECS"):
        Controller(bench.cluster.database_url, HA_HEARTBEAT_INTERVAL_SECS="20", HA_STALE_INSTANCE_TTL_SECS="30").start()
    found = doctor(bench.first, HA_STALE_INSTANCE_TTL_SECS="60")
    fault(found, "Consistency", "HA_STALE_INSTANCE_TTL_SECS", "to the same value on every instance")


def keys_by_hand(bench: Bench) -> None:
    """Every key of the documented table that a running cluster has is of the type that the table says."""
    terminal = opened(bench.cluster.lab(bench.sshd))
    until(lambda: bench.cluster.keys(f"netstacks:session:{terminal.info['session_id']}"), "the session in Valkey")
    text = (ROOT / "docs/troubleshooting.md").read_text()
    table: dict[str, str] = dict(re.findall(r"^\| `(netstacks:[^`]+)` \| ([a-z ]+) \|", text, re.MULTILINE))
    types = {"sorted set": "zset"}
    with redis.Redis.from_url(bench.cluster.valkey.url, decode_responses=True) as client:
        found = {key: client.type(key) for key in client.scan_iter("netstacks:*")}
    # A key may expire between the two commands.
    present = {key: kind for key, kind in found.items() if kind != "none"}
    for key, kind in present.items():
        fitting = [each for each in table if re.fullmatch(re.sub(r"[A-Z]+$", "[^:]+", each), key)]
        assert len(fitting) == 1, f"{key} is in the table as {fitting}"
        [documented] = fitting
        assert types.get(table[documented], table[documented]) == kind, key
    assert {"netstacks:instances", f"netstacks:session:{terminal.info['session_id']}"} <= set(present)
    assert terminal.info["session_id"] in command(bench.first, "ha", "sessions").stdout
    terminal.leave()


def different_secrets(bench: Bench) -> None:
    settings = bench.cluster.settings | {"DATABASE_URL": bench.cluster.database_url}
    with bench.started("unhealthy", **settings, JWT_SECRET="another secret of the tests, long enough") as controller:
        reason(controller, "JWT_SECRET")
        fault(doctor(bench.first), "Peers", "JWT_SECRET", "fix what it reports")
        fault(doctor(controller), "Cluster", "JWT_SECRET here differs", "set the same value for every instance")
        instance_id = controller.health()["instance_id"]
        controller.terminate()
        until(lambda: not controller.is_running, "its end")
    until(lambda: instance_id not in str(doctor(bench.first)), "a list without it", 60)


@dataclass(frozen=True)
class Dead:
    """What was said of an instance with one session that froze, and where that session went on."""

    before_ttl: list[Finding]
    after_ttl: list[Finding]
    instance_id: str
    direct: str
    session_id: str
    resumed_id: str


@cache
def dead_instance(bench: Bench) -> Dead:
    """Freezes an instance of a cluster of two until it is declared dead. The points about it share this."""
    # The doctor has a look before the TTL has passed, and may need 10 s for it.
    with Cluster(bench.postgres, 2, HA_STALE_INSTANCE_TTL_SECS="20") as cluster:
        terminal = opened(cluster.lab(bench.sshd))
        frozen, other = cluster.controllers
        instance_id = frozen.health()["instance_id"]
        frozen.freeze()
        before = doctor(other)
        until(lambda: other.health().get("cluster", {}).get("registered_instances") == 1, "the reaping", 90)
        after = doctor(other)
        try:
            requests.get(f"{frozen.url}/api/v1/health", timeout=2)
            direct = "answers"
        except requests.Timeout:
            direct = "silent"
        again = come_back(terminal, other)
        again.leave()
        return Dead(before, after, instance_id, direct, terminal.info["session_id"], again.info["session_id"])


def stale_sessions_are_cleaned_up(bench: Bench) -> None:
    """Nothing has to be done but to wait for the TTL; then the doctor says what has become of the sessions."""
    dead = dead_instance(bench)
    fault(dead.before_ttl, "Peers", f"{dead.instance_id} is not reached", "HA_ADVERTISE_HOST")
    told = fault(dead.after_ttl, "Cluster", f"{dead.instance_id} on", "start it again")
    assert "its 1 session: 1 waiting for its user" in told["what"]


def failed_instance_is_removed(bench: Bench) -> None:
    dead = dead_instance(bench)
    assert not any("is gone since" in each["what"] for each in dead.before_ttl)
    told = fault(dead.after_ttl, "Cluster", f"{dead.instance_id} on", "dismiss it on the page HA status")
    assert "it sent no heartbeat for" in told["what"]


def clients_reconnect_through_the_load_balancer(bench: Bench) -> None:
    """The address of the dead instance answers no client; through another instance the session goes on."""
    dead = dead_instance(bench)
    assert dead.direct == "silent"
    assert dead.resumed_id == dead.session_id
    told = fault(dead.after_ttl, "Cluster", dead.instance_id, "start it again")
    assert "when its user reconnects through the load balancer" in told["why"]
