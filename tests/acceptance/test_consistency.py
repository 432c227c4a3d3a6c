"""Instances on one database find out where they do not agree, and report nothing while they only come and go."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, Cluster
from tests.acceptance.diagnosis import doctor, fault
from tests.acceptance.ha import command, events
from tests.certificates import Authority
from tests.controller import Api, Controller, until
from tests.postgres import Postgres
from tests.valkey import Valkey

# Rows are renewed at every second heartbeat; after a first sight and a renewal, two looks must agree.
_WAIT_SECS = 120
# Longer than it takes to report an inconsistency.
_QUIET_SECS = 11.0 * HEARTBEAT_SECS
_TIMES = {"HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS), "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS)}
# A documentation address: no host has it.
_NOWHERE = "192.0.2.1"


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    """Two instances that agree; tests add another one and take it away again."""
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Api:
    return cluster.controllers[0].login()


@contextmanager
def another(cluster: Cluster, *without: str, **settings: str) -> Iterator[Controller]:
    """One more instance on the database of the cluster, with its settings except some."""
    given = {name: value for name, value in (cluster.settings | settings).items() if name not in without}
    controller = Controller(cluster.database_url, **given)
    try:
        yield controller.start()
    finally:
        controller.stop()


def name(controller: Controller) -> str:
    return str(controller.health()["instance_id"])


def reason(controller: Controller) -> str:
    return str(controller.health().get("reason", ""))


def reported(controllers: list[Controller], *parts: str) -> None:
    """Waits until the health of each of them names all this, and checks that they all stay ready."""
    until(
        lambda: all(part in reason(each) for each in controllers for part in parts),
        f"{parts} as the reason, which is {[reason(each) for each in controllers]}",
        _WAIT_SECS,
    )
    for each in controllers:
        # A busy host is late with a heartbeat now and then, which is another reason for a moment.
        until(lambda each=each: each.health().get("degraded") == ["consistency"], "no other reason")
        for path in ("health", "health/ready"):
            assert requests.get(f"{each.url}/api/v1/{path}", timeout=30).status_code == 200


def cleared(controllers: list[Controller]) -> None:
    until(lambda: all(each.health()["status"] == "healthy" for each in controllers), "healthy again", _WAIT_SECS)


def shown(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/api/v1/ha/status")["inconsistencies"]
    return found


def inconsistent_events(api: Api) -> list[str]:
    return [about for kind, about in events(api) if kind == "inconsistent"]


def test_an_instance_without_valkey_beside_a_cluster(cluster: Cluster, api: Api) -> None:
    recorded = len(inconsistent_events(api))
    with another(cluster, "VALKEY_URL") as single:
        three = [*cluster.controllers, single]
        reported(three, *(f"{name(each)} on " for each in three), "share one Valkey", "uses no Valkey")
        [found] = shown(api)
        assert found["kind"] == "registry"
        assert "VALKEY_URL" in found["remedy"]
        assert set(found["instances"]) == {name(each) for each in three}
        until(lambda: len(inconsistent_events(api)) == recorded + 1, "the event")
        single.terminate()
        cleared(cluster.controllers)
    assert shown(api) == []
    assert len(inconsistent_events(api)) == recorded + 1
    for each in cluster.controllers:
        assert each.log().count("consistency.differs") == each.log().count("consistency.agrees")


def test_two_instances_on_different_valkeys(cluster: Cluster) -> None:
    valkey = Valkey().start()
    try:
        with another(cluster, VALKEY_URL=valkey.url) as lonely:
            reported([*cluster.controllers, lonely], f"{name(lonely)} on ", "uses another Valkey")
            lonely.kill()
            cleared(cluster.controllers)
    finally:
        valkey.destroy()


def test_an_instance_on_another_database_beside_a_cluster(cluster: Cluster, api: Api, postgres: Postgres) -> None:
    lonely = Controller(postgres.create_database(), **cluster.settings)
    try:
        lonely.start()
        three = [*cluster.controllers, lonely]
        reported(three, *(f"{name(each)} on " for each in three), "share one Valkey and use different databases")
        for seen_by in (api, lonely.login()):
            [found] = shown(seen_by)
            assert found["kind"] == "database"
            assert "set the same DATABASE_URL" in found["remedy"]
        for environment in (cluster.controllers[0], lonely):
            fault(doctor(environment), "Consistency", "use different databases", "set the same DATABASE_URL")
            told = command(environment, "ha", "status")
            assert told.returncode == 1
            assert "share one Valkey and use different databases" in told.stdout
        lonely.terminate()
        cleared(cluster.controllers)
    finally:
        lonely.stop()


def test_settings_that_differ_are_named_until_the_instance_has_them_right(cluster: Cluster, api: Api) -> None:
    wrong = {
        "HA_STALE_INSTANCE_TTL_SECS": "16",
        "HA_HEARTBEAT_INTERVAL_SECS": "1",
        "SESSION_DETACH_TTL_SECS": "90",
        "HA_EXPECTED_INSTANCES": "7",
        "RECORDING_RETENTION_DAYS": "400",
        "ALLOWED_ORIGINS": "https://elsewhere.example",
    }
    with another(cluster, **wrong) as other:
        reported(
            [*cluster.controllers, other],
            f"have HA_STALE_INSTANCE_TTL_SECS {TTL_SECS}, {name(other)} on ",
            f"have HA_HEARTBEAT_INTERVAL_SECS {HEARTBEAT_SECS}, {name(other)} on ",
            "have SESSION_DETACH_TTL_SECS 60, ",
            "have HA_EXPECTED_INSTANCES 0, ",
            "has 7: ",
            "have RECORDING_RETENTION_DAYS 0, ",
            "has 400: ",
            "has https://elsewhere.example: ",
        )
        assert [each["kind"] for each in shown(api)] == ["setting"] * len(wrong)
        other.terminate()
        until(lambda: not other.is_running, "its end")
        for setting in wrong:
            other.environ.pop(setting)
        other.environ |= cluster.settings
        other.start()
        cleared([*cluster.controllers, other])


def test_an_address_at_which_peers_do_not_reach_an_instance(cluster: Cluster, api: Api) -> None:
    with another(cluster, HA_ADVERTISE_HOST=_NOWHERE) as lost:
        reported([*cluster.controllers, lost], f"{name(lost)} on ", f"advertises the address {_NOWHERE}:")
        [found] = shown(api)
        assert "set HA_ADVERTISE_HOST on " in found["remedy"]
        until(lambda: name(lost) in inconsistent_events(api), "the event")
        lost.kill()
        cleared(cluster.controllers)


def test_a_certificate_that_peers_do_not_accept(postgres: Postgres, tmp_path: Path) -> None:
    def tls(folder: Path) -> dict[str, str]:
        folder.mkdir()
        authority = Authority(folder)
        cert, key = authority.issue("127.0.0.1")
        return {"HA_PEER_TLS_CERT": str(cert), "HA_PEER_TLS_KEY": str(key), "HA_PEER_TLS_CA": str(authority.ca)}

    with (
        Cluster(postgres, 2, **tls(tmp_path / "theirs")) as cluster,
        another(cluster, **tls(tmp_path / "its")) as other,
    ):
        reported([*cluster.controllers, other], f"{name(other)} on ", "TLS fails: ", "certificate")
        [found] = shown(cluster.controllers[0].login())
        assert "HA_PEER_TLS_CA" in found["remedy"]


def test_other_secrets_are_the_unhealthy_ones_problem_and_shown_to_all(cluster: Cluster, api: Api) -> None:
    given = {**cluster.settings, "JWT_SECRET": "another secret that is long enough as well"}
    other = Controller(cluster.database_url, **given)
    try:
        other.start(wait_for="unhealthy")
        until(lambda: [each["kind"] for each in shown(api)] == ["secrets"], "the inconsistency", _WAIT_SECS)
        until(lambda: "JWT_SECRET" in reason(other), "the reason", _WAIT_SECS)
        assert [each.health()["status"] for each in cluster.controllers] == ["healthy", "healthy"]
    finally:
        other.stop()
    until(lambda: shown(api) == [], "its end", _WAIT_SECS)


def test_other_secrets_beside_another_valkey_are_named_by_the_health_of_that_instance(cluster: Cluster) -> None:
    valkey = Valkey().start()
    try:
        with another(cluster, VALKEY_URL=valkey.url, JWT_SECRET="another secret that is long enough as well") as lonely:
            until(lambda: "another VAULT_MASTER_KEY or JWT_SECRET" in reason(lonely), "the reason", _WAIT_SECS)
            reported(cluster.controllers, f"{name(lonely)} on ", "uses another Valkey")
            assert not any("JWT_SECRET" in reason(each) for each in cluster.controllers)
            lonely.kill()
            cleared(cluster.controllers)
    finally:
        valkey.destroy()


def test_two_single_instances_on_one_database(postgres: Postgres) -> None:
    url = postgres.create_database()
    pair = [Controller(url, **_TIMES), Controller(url, **_TIMES)]
    try:
        for each in pair:
            each.start()
        reported(pair, "use no Valkey", "do not know each other")
        pair[1].terminate()
        cleared(pair[:1])
    finally:
        for each in pair:
            each.stop()


def quiet(controllers: list[Controller], secs: float = _QUIET_SECS) -> None:
    """Watches the health and the logs of all of them for a while: nothing is inconsistent."""
    ends_at = time.monotonic() + secs
    while time.monotonic() < ends_at:
        for each in controllers:
            assert "consistency" not in each.health().get("degraded", ())
            assert "consistency.differs" not in each.log()
        time.sleep(1)


def test_a_single_instance_that_is_killed_and_started_again_is_consistent(postgres: Postgres) -> None:
    controller = Controller(postgres.create_database(), **_TIMES)
    try:
        for _ in range(3):
            controller.start()
            quiet([controller], 3 * HEARTBEAT_SECS)
            controller.kill()
        controller.start()
        quiet([controller])
    finally:
        controller.stop()


def _killed(cluster: Cluster) -> None:
    for each in cluster.controllers:
        each.kill()
        each.start()


def _rolled(cluster: Cluster) -> None:
    for each in cluster.controllers:
        each.terminate()
        until(lambda each=each: not each.is_running, "its end")
        each.start()


def _without_valkey(cluster: Cluster) -> None:
    cluster.valkey.kill()
    quiet(cluster.controllers, 2.5 * TTL_SECS)
    cluster.valkey.start()


def _with_an_empty_valkey(cluster: Cluster) -> None:
    cluster.valkey.kill()
    cluster.valkey.wipe()
    cluster.valkey.start()


def _frozen(cluster: Cluster) -> None:
    cluster.controllers[0].freeze()
    quiet(cluster.controllers[1:], 3 * TTL_SECS)
    cluster.controllers[0].thaw()


@pytest.mark.parametrize("fault", [_killed, _rolled, _without_valkey, _with_an_empty_valkey, _frozen])
def test_a_cluster_that_agrees_is_consistent_whatever_happens_to_it(
    postgres: Postgres, fault: Callable[[Cluster], None]
) -> None:
    with Cluster(postgres, 3) as cluster:
        fault(cluster)
        cluster.gathered(3)
        quiet(cluster.controllers)
        assert inconsistent_events(cluster.controllers[0].login()) == []
